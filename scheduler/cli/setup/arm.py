"""Commands that move a program from shadow to enforce and back, and report the effect."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from quotas.book import Book
from quotas.book.actions.notices import last_tested_s
from quotas.book.actions.overrides import set_override
from quotas.book.cycle.state import load_state
from quotas.book.reads.overrides import read_shadow_stops, shadow_since_s
from quotas.model.program import Program
from quotas.model.units import DAY_S, format_duration, format_instant
from quotas.state.overrides import EVERYONE, Overrides, with_effective_mode
from scheduler.cli.options import DEFAULT_STATE, REFUSED, Json, Reason, State, fail, print_json
from scheduler.cli.stops.overrides import make_override, order_and_print, print_answer
from scheduler.clock import SystemClock

SHADOW_FIRST_S = 7 * DAY_S

app = typer.Typer()


@app.command()
def arm(
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Arm even if a condition of arming is not met.")
    ] = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Switch from shadow to enforce mode, and list the servers that will be stopped.

    Each server gets its full notice first. Conditions: seven days of shadow mode without a
    break, and a test notice that each startup acknowledged.
    """
    book = Book.open_existing(state)
    current, now_s = load_state(book), SystemClock().now_s()
    if current.program is None:
        fail("no program is applied yet: 'cohortd apply --program FILE' does", REFUSED)
    if current.program.mode == "off":
        fail('the program file says mode = "off": write "shadow" and apply it first', REFUSED)
    overrides = Overrides(current.enforcement.overrides, now_s)
    if with_effective_mode(current.program, overrides).mode == "enforce":
        fail("it is armed already; 'cohortd disarm' goes back to shadow", REFUSED)
    missing = _missing_preconditions(book, current.program, now_s)
    if missing and not force:
        fail(f"{'; '.join(missing)}; or give --force", REFUSED)
    due = [notice for notice in current.notices if notice.server_id]
    minimum = format_duration(current.program.policy.minimum_notice_s)
    if not as_json:
        for notice in due:
            typer.echo(f"would stop {notice.server_name} of {notice.startup}: {notice.text}")
        typer.echo(f"{len(due)} servers; each gets a notice of at least {minimum} from now")
    override = set_override(book, make_override("mode", EVERYONE, "enforce", reason))
    print_answer("armed: the next cycle enforces", [override], as_json)


def _missing_preconditions(book: Book, program: Program, now_s: int) -> list[str]:
    """The conditions of arming that are not met: a week of shadow, and notices that are read."""
    since_s, found = shadow_since_s(book), []
    short_s = SHADOW_FIRST_S - (now_s - (now_s if since_s is None else since_s))
    if short_s > 0:
        began = "now" if since_s is None else f"at {format_instant(since_s)}"
        found.append(
            f"shadow began {began}, and seven days of it without a break are wanted: wait "
            f"{format_duration(short_s)}"
        )
    untested = [each.name for each in program.startups() if last_tested_s(book, each.name) is None]
    if untested:
        found.append(
            f"nobody acknowledged a test notice of {', '.join(untested)}: send one with "
            f"'cohortd notice test {untested[0]}'"
        )
    return found


@app.command()
def disarm(reason: Reason, state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """Switch back to shadow mode: cohortd cancels every notice and acts on nothing."""
    order_and_print(state, make_override("mode", EVERYONE, "shadow", reason), as_json)


@app.command()
def shadow(state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """List the stops that enforce mode would have made while the program was in shadow mode."""
    rows = read_shadow_stops(Book.open_existing(state))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['at']} {row['startup']} {row['server_id']}: {row['reason']}")
    for startup, count in sorted(Counter(row["startup"] for row in rows).items()):
        typer.echo(f"{startup}: {count} servers would have been stopped")
    typer.echo(f"{len(rows)} stops in shadow")

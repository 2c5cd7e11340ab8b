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
from quotas.messages.catalogue import notice_text, reason_text
from quotas.model.program import Mode, Program
from quotas.model.units import DAY_S, format_duration, format_instant
from quotas.state.overrides import EVERYONE, Overrides, with_effective_mode
from scheduler.cli.options import DEFAULT_STATE, Json, State, print_json
from scheduler.cli.stops.overrides import (
    REFUSED,
    Reason,
    make_override,
    print_answer,
    refuse,
    set_and_print,
)
from scheduler.clock import SystemClock

SHADOW_FIRST_S = 7 * DAY_S


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (arm, disarm, shadow):
        app.command()(command)


def arm(
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Without what arming wants to see.")
    ] = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Switch from shadow to enforce, and print the stops; each gets its full notice first."""
    book = Book.open_existing(state)
    current, now_s = load_state(book), SystemClock().now_s()
    if current.program is None:
        refuse("no program is applied yet: 'cohortd apply --program FILE' does", REFUSED)
    if current.program.mode is Mode.OFF:
        refuse('the program file says mode = "off": write "shadow" and apply it first', REFUSED)
    if (
        with_effective_mode(current.program, Overrides(current.enforcement.overrides, now_s)).mode
        is Mode.ENFORCE
    ):
        refuse("it is armed already; 'cohortd disarm' goes back to shadow", REFUSED)
    missing = _missing_preconditions(book, current.program, now_s)
    if missing and not force:
        refuse(f"{'; '.join(missing)}; or give --force", REFUSED)
    due = [notice for notice in current.notices if notice.server_id]
    minimum = format_duration(current.program.policy.minimum_notice_s)
    if not as_json:
        for notice in due:
            typer.echo(
                f"would stop {notice.server_name} of {notice.startup}: {notice_text(notice)}"
            )
        typer.echo(f"{len(due)} servers; each gets a notice of at least {minimum} from now")
    override = set_override(book, make_override("mode", EVERYONE, Mode.ENFORCE, reason, None))
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


def disarm(reason: Reason, state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """Switch back to shadow: decide and record, act on nothing; every notice is cancelled."""
    book = Book.open_existing(state)
    set_and_print(book, "mode", EVERYONE, Mode.SHADOW, reason, None, as_json)


def shadow(
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Report the stops that would have happened while the program was in shadow."""
    rows = [
        {**row, "reason": reason_text(row["rule"], row["verb"], row["inputs"])}
        for row in read_shadow_stops(Book.open_existing(state))
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['at']} {row['startup']} {row['server_id']}: {row['reason']}")
    for startup, count in sorted(Counter(row["startup"] for row in rows).items()):
        typer.echo(f"{startup}: {count} servers would have been stopped")
    typer.echo(f"{len(rows)} stops in shadow")

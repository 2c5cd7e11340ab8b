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
from scheduler.cli.commands import Answer, answer_command
from scheduler.cli.options import REFUSED, Reason, fail
from scheduler.cli.stops.overrides import make_override, order, overrides_answer
from scheduler.clock import SystemClock

SHADOW_FIRST_S = 7 * DAY_S

Force = Annotated[bool, typer.Option("--force", help="Arm although a condition is not met.")]

app = typer.Typer()


@answer_command(app)
def arm(book: Book, reason: Reason, force: Force = False) -> Answer:
    """Switch from shadow to enforce mode, and list the servers that will be stopped.

    Each server gets its full notice first.

    Conditions: seven days in shadow mode without a break, and
    each startup has acknowledged a test notice.
    """
    current, now_s = load_state(book), SystemClock().now_s()
    if current.program is None:
        fail("no program is applied yet: 'cohortd apply --program FILE' does", REFUSED)
    if current.program.mode is Mode.OFF:
        fail('the program file says mode = "off": write "shadow" and apply it first', REFUSED)
    overrides = Overrides(current.enforcement.overrides, now_s)
    if with_effective_mode(current.program, overrides).mode is Mode.ENFORCE:
        fail("it is armed already; 'cohortd disarm' goes back to shadow", REFUSED)
    missing = _missing_preconditions(book, current.program, now_s)
    if missing and not force:
        fail(f"{'; '.join(missing)}; or give --force", REFUSED)
    due = [notice for notice in current.notices if notice.server_id]
    minimum = format_duration(current.program.policy.minimum_notice_s)
    lines = []
    for notice in due:
        lines.append(f"would stop {notice.server_name} of {notice.startup}: {notice_text(notice)}")
    lines.append(f"{len(due)} servers; each gets a notice of at least {minimum} from now")
    override = set_override(book, make_override("mode", EVERYONE, Mode.ENFORCE, reason))
    answer, sentence = overrides_answer("armed: the next cycle enforces", [override])
    return answer, [*lines, *sentence]


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


@answer_command(app)
def disarm(book: Book, reason: Reason) -> Answer:
    """Switch back to shadow mode: cohortd cancels every notice and acts on nothing."""
    return order(book, make_override("mode", EVERYONE, Mode.SHADOW, reason))


@answer_command(app)
def shadow(book: Book) -> Answer:
    """List the stops that enforce mode would have made while the program was in shadow mode."""
    rows = [
        {**row, "reason": reason_text(row["rule"], row["verb"], row["inputs"])}
        for row in read_shadow_stops(book)
    ]
    lines = [f"{row['at']} {row['startup']} {row['server_id']}: {row['reason']}" for row in rows]
    for startup, count in sorted(Counter(row["startup"] for row in rows).items()):
        lines.append(f"{startup}: {count} servers would have been stopped")
    return rows, [*lines, f"{len(rows)} stops in shadow"]

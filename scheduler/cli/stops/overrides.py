"""Commands with which an operator steers stops: each sets one override, with a reason.

Every override is kept in the audit log. No command writes an intent or an instant: the next cycle
reads the overrides and acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import typer

from quotas.book import Book
from quotas.book.actions.overrides import approve_stops, order_override
from quotas.book.actions.overrides import undo as undo_stop
from quotas.book.reads.overrides import read_operator_actions
from quotas.ledger.corrections import Refused
from quotas.messages.catalogue.rules import override_text
from quotas.model.units import format_instant, parse_duration
from quotas.state.overrides import EVERYONE, UNDONE_FOR_S, Override
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, print_json
from scheduler.clock import SystemClock

REFUSED, BAD_INPUT = 1, 2
MAX_REASON_LENGTH = 500
MAX_OVERRIDE_S = 366 * 86_400

Reason = Annotated[str, typer.Option("--reason", help="Why. The audit log keeps it.")]
For = Annotated[str | None, typer.Option("--for", help="How long, such as 2h or 1d.")]
End = Annotated[bool, typer.Option("--end", help="End it now.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(level)
    for timed in TIMED_OVERRIDES:
        app.command(timed.name, help=timed.help)(timed.command())
    for command in (approve, undo, audit):
        app.command()(command)


def level(
    startup: Annotated[str, typer.Argument(help="A startup of the program.")],
    to: Annotated[str, typer.Argument(help="open, closed or stopped.")],
    reason: Reason,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Close a startup (no new servers), stop it (all servers, after notice), or open it."""
    if to not in {"open", "closed", "stopped"}:
        refuse(f"{to!r} is no level to set; write open, closed or stopped", BAD_INPUT)
    book = Book.open_existing(state)
    set_and_print(book, "level", startup, to, reason, None, as_json)


@dataclass(frozen=True, slots=True)
class TimedOverride:
    """An override with a duration: its name, and its possible subjects.

    `subject` is the help of the argument; None if the override always applies to everyone.
    """

    name: str
    help: str
    subject: str | None
    default: Any = ...

    def command(self) -> Callable[..., None]:
        """The command that sets it; all of them have the same options."""

        def of_one(
            reason: Reason,
            subject: str = self.default,
            for_: For = None,
            end: End = False,
            state: State = DEFAULT_STATE,
            as_json: Json = False,
        ) -> None:
            book = Book.open_existing(state)
            period = _OverridePeriod(for_, end)
            until_s = None if period.seconds is None else SystemClock().now_s() + period.seconds
            set_and_print(book, self.name, subject, period.value, reason, until_s, as_json)

        def of_everyone(
            reason: Reason,
            for_: For = None,
            end: End = False,
            state: State = DEFAULT_STATE,
            as_json: Json = False,
        ) -> None:
            of_one(reason, EVERYONE, for_, end, state, as_json)

        if self.subject is None:
            return of_everyone
        of_one.__annotations__["subject"] = Annotated[str, typer.Argument(help=self.subject)]
        return of_one


def undo(
    decision: Annotated[int, typer.Argument(help="Number of a decision to stop a server.")],
    reason: Reason,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Undo a stop: offer the server back, refund its notice, exempt it for a day."""
    given = make_override("undo", "", "", reason, None)
    try:
        done = undo_stop(Book.open_existing(state), decision, given.actor, given.reason, given.at_s)
    except Refused as refused:
        refuse(str(refused), REFUSED)
    sentence = (
        f"{done.notice.server_name} of {done.notice.startup} is offered back and exempt until "
        f"{format_instant(done.override.at_s + UNDONE_FOR_S)}; {done.refund}"
    )
    print_answer(sentence, [done.override], as_json)


def approve(
    reason: Reason,
    decision: Annotated[int | None, typer.Argument(help="Number of a deferred decision.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every deferred stop.")] = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Let stops pass that wait for the disruption budget."""
    if (decision is None) == (not all_):
        refuse("name one deferred decision, or give --all", BAD_INPUT)
    given = make_override("approve", "", "", reason, None)
    by = (given.actor, given.reason, given.at_s)
    try:
        kept = approve_stops(Book.open_existing(state), decision, *by)
    except Refused as refused:
        refuse(str(refused), REFUSED)
    names = ", ".join(f"{notice.server_name} of {notice.startup}" for notice, _ in kept)
    overrides = [override for _, override in kept]
    print_answer(f"approved: {names} will be stopped in the next cycle", overrides, as_json)


def audit(
    state: State = DEFAULT_STATE,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """List every operator action, newest first: who, when, what, why, before and after."""
    actions = read_operator_actions(Book.open_existing(state), limit)
    if as_json:
        print_json(actions)
        return
    for each in actions:
        before = f" (before: {each['before']})" if each["before"] else ""
        why = f" because {each['reason']}" if each["reason"] else ""
        typer.echo(
            f"{each['at']} {each['actor']} {each['command']} {each['subject']}: "
            f"{each['after']}{before}{why}"
        )


TIMED_OVERRIDES = (
    TimedOverride(
        "exempt",
        "Let no rule stop a startup or a server for a while; its notices are cancelled.",
        "A startup, or the id of a server.",
    ),
    TimedOverride(
        "freeze",
        "Delay every stop for a while. Notices are still given.",
        "A startup; everyone by default.",
        EVERYONE,
    ),
    TimedOverride(
        "maintenance",
        "Only observe, meter and charge for a while: act on nothing.",
        None,
    ),
    TimedOverride(
        "shortage",
        "Record that Scaleway has no GPUs of a pool: cohortd reclaims nothing in it for owners.",
        "A pool with backing on-demand.",
    ),
)


class _OverridePeriod:
    """How long an override lasts: --for, or --end to end it now."""

    def __init__(self, for_: str | None, end: bool) -> None:  # typer's flag
        if (for_ is None) == (not end):
            refuse("give --for 2h to say how long, or --end to end it now", BAD_INPUT)
        self.value = "off" if end else "on"
        self.seconds: int | None = None
        if for_ is not None:
            try:
                self.seconds = parse_duration(for_)
            except ValueError as error:
                refuse(f"--for: {error}", BAD_INPUT)
            if not 0 < self.seconds <= MAX_OVERRIDE_S:
                refuse(f"--for {for_}: give more than 0s and at most 366d", BAD_INPUT)


def set_and_print(
    book: Book,
    family: str,
    subject: str,
    value: str,
    reason: str,
    until_s: int | None,
    as_json: bool,
) -> None:
    """Set one override and print it."""
    try:
        override = order_override(book, make_override(family, subject, value, reason, until_s))
    except Refused as refused:
        refuse(str(refused), REFUSED)
    of = "" if subject == EVERYONE else f" of {subject}"
    print_answer(f"{family}{of}: {value}; {override_text(override.facts)}", [override], as_json)


def make_override(
    family: str, subject: str, value: str, reason: str, until_s: int | None
) -> Override:
    """An override by the user of this command, set now. Ends with exit 2 without a reason."""
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        refuse(f"--reason is one line of 1 to {MAX_REASON_LENGTH} characters", BAD_INPUT)
    now_s = SystemClock().now_s()
    return Override(family, subject, value, now_s, until_s, actor(), reason.strip())


def print_answer(sentence: str, overrides: list[Override], as_json: bool) -> None:
    """Print the answer, as a sentence or as JSON."""
    if as_json:
        print_json(
            {"sentence": sentence, "overrides": [_plain(override) for override in overrides]}
        )
    else:
        typer.echo(sentence)


def _plain(override: Override) -> Mapping[str, Any]:
    return {
        "kind": override.family,
        "subject": override.subject,
        "value": override.value,
        "actor": override.actor,
        "reason": override.reason,
        "at_s": override.at_s,
        "until_s": override.until_s,
    }


def refuse(sentence: str, code: int) -> NoReturn:
    """Print one sentence and exit with a code."""
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(code)

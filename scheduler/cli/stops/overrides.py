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
from quotas.book.actions.overrides import set_override
from quotas.book.actions.overrides import undo as undo_stop
from quotas.book.cycle.state import BookState, last_decisions, load_state
from quotas.book.reads.overrides import read_operator_actions
from quotas.decisions.overrides import EVERYONE, UNDONE_FOR_S, Override, Overrides
from quotas.ledger.corrections import Refused
from quotas.model.units import format_instant, parse_duration
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, print_json
from scheduler.clock import SystemClock

REFUSED, BAD_INPUT = 1, 2
MAX_REASON_LENGTH = 500
MAX_OVERRIDE_S = 366 * 86_400

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
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
    _member(load_state(book), startup)
    set_and_print(book, "level", startup, to, reason, None, as_json)


@dataclass(frozen=True, slots=True)
class TimedOverride:
    """An override with a duration: its name, and its possible subjects.

    `subject` is the help of the argument; None if the override always applies to everyone.
    """

    name: str
    help: str
    subject: str | None
    check: Callable[[BookState, str], None]
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
            self.check(load_state(book), subject)
            _set_for_a_while(book, self.name, subject, reason, _OverridePeriod(for_, end), as_json)

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
    book = Book.open_existing(state)
    deferred = [notice for notice in load_state(book).notices if notice.state == "deferred"]
    if decision is not None:
        row = next(iter(last_decisions(book, 1, id=decision)), None)
        subject = (row["startup"], row["server_id"], row["rule"]) if row else None
        deferred = [notice for notice in deferred if notice.subject == subject]
    if not deferred:
        refuse("no such stop is deferred; 'cohortd status' lists those that are", REFUSED)
    kept = [
        set_override(book, make_override("approve", str(n.id), "approved", reason, None))
        for n in deferred
    ]
    names = ", ".join(f"{notice.server_name} of {notice.startup}" for notice in deferred)
    print_answer(f"approved: {names} will be stopped in the next cycle", kept, as_json)


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


def _anyone(state: BookState, subject: str) -> None:
    if subject != EVERYONE:
        _member(state, subject)


def _member_or_server(state: BookState, subject: str) -> None:
    if subject not in {run.server_id for run in state.runs}:
        _member(state, subject)


def _pool(state: BookState, subject: str) -> None:
    pools = [each.name for each in state.program.pools] if state.program else []
    if subject not in pools:
        refuse(f"{subject!r} is no pool of the program; it has {', '.join(pools)}", REFUSED)


TIMED_OVERRIDES = (
    TimedOverride(
        "exempt",
        "Let no rule stop a startup or a server for a while; its notices are cancelled.",
        "A startup, or the id of a server.",
        _member_or_server,
    ),
    TimedOverride(
        "freeze",
        "Hold every stop for a while: notices are given, what is due waits for the end.",
        "A startup; everyone where left out.",
        _anyone,
        EVERYONE,
    ),
    TimedOverride(
        "maintenance",
        "Observe, meter and charge for a while, and act on nothing.",
        None,
        _anyone,
    ),
    TimedOverride(
        "shortage",
        "Say that Scaleway has no GPUs of a pool: nothing in it is reclaimed for an owner.",
        "A pool with backing on-demand.",
        _pool,
    ),
)


class _OverridePeriod:
    """How long an override lasts: --for, or --end to end it now."""

    def __init__(self, for_: str | None, end: bool) -> None:  # typer's flag
        if (for_ is None) == (not end):
            refuse("say how long with --for 2h, or --end to end it now", BAD_INPUT)
        self.value = "off" if end else "on"
        self.seconds: int | None = None
        if for_ is not None:
            try:
                self.seconds = parse_duration(for_)
            except ValueError as error:
                refuse(f"--for: {error}", BAD_INPUT)
            if not 0 < self.seconds <= MAX_OVERRIDE_S:
                refuse(f"--for {for_}: give more than 0s and at most 366d", BAD_INPUT)


def _set_for_a_while(
    book: Book, family: str, subject: str, reason: str, period: _OverridePeriod, as_json: bool
) -> None:
    now_s = SystemClock().now_s()
    if period.value == "off":
        if Overrides(load_state(book).enforcement.overrides, now_s).on(family, subject) is None:
            refuse(f"there is no {family} of {subject} to end", REFUSED)
        set_and_print(book, family, subject, "off", reason, None, as_json)
        return
    assert period.seconds is not None, "a span that is on has a length"
    set_and_print(book, family, subject, "on", reason, now_s + period.seconds, as_json)


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
    override = set_override(book, make_override(family, subject, value, reason, until_s))
    of = "" if subject == EVERYONE else f" of {subject}"
    print_answer(f"{family}{of}: {value}; {override.text}", [override], as_json)


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


def _member(state: BookState, name: str) -> None:
    known = [each.name for each in state.program.startups()] if state.program else []
    if name not in known:
        refuse(f"{name!r} is no startup of the program; it has {', '.join(known)}", REFUSED)


def refuse(sentence: str, code: int) -> NoReturn:
    """Print one sentence and exit with a code."""
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(code)

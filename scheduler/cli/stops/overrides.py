"""Commands with which an operator steers stops: each sets one override, with a reason.

Every override is kept in the audit log. No command writes an intent or an instant: the next cycle
reads the overrides and acts.
"""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book import Book
from quotas.book.actions.overrides import approve_stops, order_override
from quotas.book.actions.overrides import undo as undo_stop
from quotas.book.reads.overrides import read_operator_actions
from quotas.messages.catalogue.rules import override_text
from quotas.model.units import format_instant
from quotas.state.overrides import EVERYONE, UNDONE_FOR_S, Override
from scheduler.cli.commands import Answer, answer_command
from scheduler.cli.options import Reason, Startup, actor, fail, parse_duration_option, parse_reason
from scheduler.clock import SystemClock

LEVELS = ("open", "closed", "stopped")
SHOWN = ("subject", "value", "actor", "reason", "at_s", "until_s")

Level = Annotated[str, typer.Argument(help="One of open, closed, stopped.")]
StartupOrServer = Annotated[str, typer.Argument(help="A startup, or the id of a server.")]
OneOrAll = Annotated[str, typer.Argument(help="A startup. Default: every startup.")]
OnDemandPool = Annotated[str, typer.Argument(help="A pool whose backing is on-demand.")]
StopDecision = Annotated[int, typer.Argument(help="Number of the decision to stop a server.")]
Deferred = Annotated[int | None, typer.Argument(help="Number of a deferred decision.")]
All = Annotated[bool, typer.Option("--all", help="Every deferred stop.")]
For = Annotated[str | None, typer.Option("--for", help="How long from now on: 2h, 1d.")]
End = Annotated[bool, typer.Option("--end", help="End it now, before its time.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="The most to show.")]

app = typer.Typer()


@answer_command(app)
def level(book: Book, startup: Startup, to: Level, reason: Reason) -> Answer:
    """Forbid a startup new servers (closed), power off all of its servers (stopped), or reopen it.

    Servers are powered off after the usual notice.
    """
    if to not in LEVELS:
        fail(f"{to!r} is no level to set; write open, closed or stopped")
    return order(book, make_override("level", startup, to, reason))


@answer_command(app)
def exempt(
    book: Book, subject: StartupOrServer, reason: Reason, for_: For = None, end: End = False
) -> Answer:
    """Protect a startup or a server from every stop for a time, and cancel its notices."""
    return order(book, _timed("exempt", subject, reason, for_, end))


@answer_command(app)
def freeze(
    book: Book, reason: Reason, subject: OneOrAll = EVERYONE, for_: For = None, end: End = False
) -> Answer:
    """Stop no server for a time. Startups still get notices."""
    return order(book, _timed("freeze", subject, reason, for_, end))


@answer_command(app)
def maintenance(book: Book, reason: Reason, for_: For = None, end: End = False) -> Answer:
    """Suspend every action on Scaleway for a time. cohortd still meters and charges."""
    return order(book, _timed("maintenance", EVERYONE, reason, for_, end))


@answer_command(app)
def shortage(
    book: Book, subject: OnDemandPool, reason: Reason, for_: For = None, end: End = False
) -> Answer:
    """Record that Scaleway has no free GPUs for a pool. cohortd then reclaims none of its GPUs."""
    return order(book, _timed("shortage", subject, reason, for_, end))


@answer_command(app)
def undo(book: Book, decision: StopDecision, reason: Reason) -> Answer:
    """Undo a stop: offer to start the server, refund its notice, and exempt it for a day."""
    done = undo_stop(book, decision, actor(), parse_reason(reason), SystemClock().now_s())
    sentence = (
        f"{done.notice.server_name} of {done.notice.startup} is offered back and exempt until "
        f"{format_instant(done.override.at_s + UNDONE_FOR_S)}; {done.refund}"
    )
    return overrides_answer(sentence, [done.override])


@answer_command(app)
def approve(book: Book, reason: Reason, decision: Deferred = None, all_: All = False) -> Answer:
    """Let deferred stops happen now, although the disruption budget of this hour is used up."""
    if (decision is None) == (not all_):
        fail("name one deferred decision, or give --all")
    kept = approve_stops(book, decision, actor(), parse_reason(reason), SystemClock().now_s())
    names = ", ".join(f"{notice.server_name} of {notice.startup}" for notice, _ in kept)
    sentence = f"approved: {names} will be stopped in the next cycle"
    return overrides_answer(sentence, [override for _, override in kept])


@answer_command(app)
def audit(book: Book, limit: Limit = 100) -> Answer:
    """List every operator action, newest first: when, by whom, what changed and why."""
    lines, actions = [], read_operator_actions(book, limit)
    for each in actions:
        before = f" (before: {each['before']})" if each["before"] else ""
        why = f" because {each['reason']}" if each["reason"] else ""
        who = f"{each['at']} {each['actor']} {each['command']} {each['subject']}"
        lines.append(f"{who}: {each['after']}{before}{why}")
    return actions, lines


def _timed(family: str, subject: str, reason: str, for_: str | None, end: bool) -> Override:
    """An override that lasts for a time; with --end, the one that ends it now."""
    if (for_ is None) == (not end):
        fail("give --for 2h to say how long, or --end to end it now")
    length_s = None if for_ is None else parse_duration_option("--for", for_)
    return make_override(family, subject, "off" if end else "on", reason, length_s)


def make_override(
    family: str, subject: str, value: str, reason: str, length_s: int | None = None
) -> Override:
    """An override by the user of this command, from now on. Ends with exit 2 without a reason."""
    now_s = SystemClock().now_s()
    until_s = None if length_s is None else now_s + length_s
    return Override(family, subject, value, now_s, until_s, actor(), parse_reason(reason))


def order(book: Book, override: Override) -> Answer:
    """Keep one override. Raises Refused."""
    kept = order_override(book, override)
    of = "" if kept.subject == EVERYONE else f" of {kept.subject}"
    return overrides_answer(f"{kept.family}{of}: {kept.value}; {override_text(kept.facts)}", [kept])


def overrides_answer(sentence: str, overrides: list[Override]) -> Answer:
    """The answer of a command that keeps overrides."""
    shown = [
        {"kind": each.family, **{name: getattr(each, name) for name in SHOWN}} for each in overrides
    ]
    return {"sentence": sentence, "overrides": shown}, [sentence]

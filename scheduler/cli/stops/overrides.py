"""Commands with which an operator steers stops: each sets one override, with a reason.

Every override is kept in the audit log. No command writes an intent or an instant: the next cycle
reads the overrides and acts.
"""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book import Address, Book
from quotas.book.actions.overrides import approve_stops, order_override
from quotas.book.actions.overrides import undo as undo_stop
from quotas.book.reads.overrides import read_operator_actions
from quotas.model.units import format_instant
from quotas.state.overrides import EVERYONE, UNDONE_FOR_S, Override
from scheduler.cli.options import (
    DEFAULT_STATE,
    Json,
    Reason,
    Startup,
    State,
    actor,
    fail,
    parse_duration_option,
    parse_reason,
    print_json,
)
from scheduler.clock import SystemClock

LEVELS = ("open", "closed", "stopped")

For = Annotated[str | None, typer.Option("--for", help="How long from now on: 2h, 1d.")]
End = Annotated[bool, typer.Option("--end", help="End it now instead of starting it.")]

app = typer.Typer()


@app.command()
def level(
    startup: Startup,
    to: Annotated[str, typer.Argument(help="One of open, closed, stopped.")],
    reason: Reason,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Forbid a startup new servers (closed), power off all of its servers (stopped), or reopen it.

    Servers are powered off after the usual notice.
    """
    if to not in LEVELS:
        fail(f"{to!r} is no level to set; write open, closed or stopped")
    order_and_print(state, make_override("level", startup, to, reason), as_json)


@app.command()
def exempt(
    subject: Annotated[str, typer.Argument(help="A startup, or the id of a server.")],
    reason: Reason,
    for_: For = None,
    end: End = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Protect a startup or a server from every stop for a time, and cancel its notices."""
    order_and_print(state, _timed_override("exempt", subject, reason, for_, end), as_json)


@app.command()
def freeze(
    reason: Reason,
    subject: Annotated[str, typer.Argument(help="A startup. Default: every startup.")] = EVERYONE,
    for_: For = None,
    end: End = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Stop no server for a time. Startups still get notices."""
    order_and_print(state, _timed_override("freeze", subject, reason, for_, end), as_json)


@app.command()
def maintenance(
    reason: Reason,
    for_: For = None,
    end: End = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Suspend every action on Scaleway for a time. cohortd still meters and charges."""
    order_and_print(state, _timed_override("maintenance", EVERYONE, reason, for_, end), as_json)


@app.command()
def shortage(
    subject: Annotated[str, typer.Argument(help="A pool whose backing is on-demand.")],
    reason: Reason,
    for_: For = None,
    end: End = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Record that Scaleway has no free GPUs for a pool. cohortd then reclaims none of its GPUs."""
    order_and_print(state, _timed_override("shortage", subject, reason, for_, end), as_json)


@app.command()
def undo(
    decision: Annotated[int, typer.Argument(help="Number of the decision to stop a server.")],
    reason: Reason,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Undo a stop: offer to start the server, refund its notice, and exempt it for a day."""
    now_s, why = SystemClock().now_s(), parse_reason(reason)
    done = undo_stop(Book.open_existing(state), decision, actor(), why, now_s)
    sentence = (
        f"{done.notice.server_name} of {done.notice.startup} is offered back and exempt until "
        f"{format_instant(done.override.at_s + UNDONE_FOR_S)}; {done.refund}"
    )
    print_answer(sentence, [done.override], as_json)


@app.command()
def approve(
    reason: Reason,
    decision: Annotated[int | None, typer.Argument(help="Number of a deferred decision.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every deferred stop.")] = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Let deferred stops happen now, although the disruption budget of this hour is used up."""
    if (decision is None) == (not all_):
        fail("name one deferred decision, or give --all")
    now_s, why = SystemClock().now_s(), parse_reason(reason)
    kept = approve_stops(Book.open_existing(state), decision, actor(), why, now_s)
    names = ", ".join(f"{notice.server_name} of {notice.startup}" for notice, _ in kept)
    overrides = [override for _, override in kept]
    print_answer(f"approved: {names} will be stopped in the next cycle", overrides, as_json)


@app.command()
def audit(
    state: State = DEFAULT_STATE,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most to show.")] = 100,
    as_json: Json = False,
) -> None:
    """List every operator action, newest first: when, by whom, what changed and why."""
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


def _timed_override(
    family: str, subject: str, reason: str, for_: str | None, end: bool
) -> Override:
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


def order_and_print(state: Address, override: Override, as_json: bool) -> None:
    """Keep one override and print it. Raises Refused."""
    kept = order_override(Book.open_existing(state), override)
    of = "" if kept.subject == EVERYONE else f" of {kept.subject}"
    print_answer(f"{kept.family}{of}: {kept.value}; {kept.text}", [kept], as_json)


def print_answer(sentence: str, overrides: list[Override], as_json: bool) -> None:
    """Print the answer, as a sentence or as JSON."""
    if not as_json:
        typer.echo(sentence)
        return
    names = ("subject", "value", "actor", "reason", "at_s", "until_s")
    shown = [
        {"kind": each.family, **{name: getattr(each, name) for name in names}} for each in overrides
    ]
    print_json({"sentence": sentence, "overrides": shown})

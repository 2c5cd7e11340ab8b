"""The text of `cohortd status` on a terminal: the sentence first, then the details."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from quotas.model.text import clean_lines
from quotas.state.overrides import EVERYONE
from scheduler.clock import pause

REFRESH_EVERY_S = 5
LEVELS = {"paced": "at limit", "closed": "no new servers", "stopped": "powering off"}
"""The levels as people read them; "open" is its own word."""


def watch_live(read: Callable[[], Sequence[str]]) -> None:
    """Show the text again every few seconds, until ^C."""
    console = Console()
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                live.update(Text(clean_lines("\n".join(read()))), refresh=True)
                pause(REFRESH_EVERY_S)
    except KeyboardInterrupt:
        return


def status_lines(found: Mapping[str, Any]) -> list[str]:
    """A status as the lines that a terminal shows, the cycle's sentence first."""
    return [found["sentence"], *_startups(found), *_shares(found), *_notices_and_overrides(found)]


def past_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The credits of every startup at a past instant, the sentence first."""
    yield found["sentence"]
    names = ("posted", "accrued", "held", "reserve", "available", "unconfirmed")
    yield f"{'startup':24} {'GPUs':>5}" + "".join(f" {name:>16}" for name in names)
    for line in found["startups"]:
        amounts = "".join(f" {line[name]:>16}" for name in names)
        yield f"{line['name']:24} {line['gpus']:>5}{amounts}"


def _startups(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'startup':24} {'level':14} {'GPUs':>5} {'available':>14} {'burn/h':>10}  lasts"
    for line in found["startups"]:
        yield (
            f"{line['name']:24} {LEVELS.get(line['level'], line['level']):14} {line['gpus']:>5} "
            f"{line['available']:>14} {line['burn_per_hour']:>10}  {line['runway'] or '-'}"
        )
    for line in found["startups"]:
        if line["pace"]:
            yield f"{line['name']:24} pace: {line['pace']['text']}"


def _shares(found: Mapping[str, Any]) -> Iterator[str]:
    for share in found["shares"]:
        if share["usage"] or share["nominal"]:
            yield (
                f"{share['startup']:24} {share['pool']:8} {share['usage']:>5} GPUs run, "
                f"nominal {share['nominal']}, share {share['share']}, ceiling {share['ceiling']}, "
                f"borrowed {share['borrowed']}, lent {share['lent']}"
            )
    for request in found["requests"]:
        yield (
            f"request {request['id']}: {request['startup']} asks for {request['gpus']} GPUs of "
            f"{request['pool']}: {request['text']}"
        )
    for overuse in found["overuse"]:
        yield f"overuse: {overuse['reason']}, not before {overuse['deadline']}"


def _notices_and_overrides(found: Mapping[str, Any]) -> Iterator[str]:
    for closing in found["closings"]:
        if closing["state"] != "open" or closing["rules_revoked"]:
            yield f"IAM: {closing['startup']} {closing['state']}: {closing['detail']}"
    for notice in found["notices"]:
        yield f"notice: {notice['text']}"
    for override in found["overrides"]:
        until = f" until {override['until']}" if override["until"] else ""
        by = f"{override['actor']}: {override['reason']}"
        of = "" if override["subject"] == EVERYONE else f" of {override['subject']}"
        yield f"{override['kind']}{of}: {override['value']}{until}, {by}"
    if found["deferred"]:
        yield f"{found['deferred']} stops are deferred; 'cohortd approve' lets them happen now"
    messages = found["messages"]
    if messages["unsent"] or messages["failed"]:
        yield (
            f"messages: {messages['unsent']} due and not sent, {messages['failed']} given up; "
            "see 'cohortd notice list'"
        )
    for zone in found["zones"]:
        if zone["outcome"] != "complete":
            yield f"zone {zone['name']}: {zone['outcome']} {zone['detail']}"

"""Which notices concern this server, and whose hook is due? Values; no clock, no network.

A notice is waiting until its hook is begun, then begun, then done or failed. A hook that was
begun and never ended (the machine died) is run again while its notice holds: a checkpoint
too many costs less than one too few. One that ended is never run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quotas.model.units import parse_instant

DUE = frozenset({"waiting", "begun"})
FINISHED_KEPT = 200
"""Notices whose end is remembered; live ones always are."""


@dataclass(frozen=True, slots=True)
class WatchedNotice:
    """A notice as this machine knows it, and what became of its hook and its answer here."""

    id: int
    deadline_s: int
    reason: str
    rule: str
    server: str
    state: str = "waiting"
    acknowledgement: str = "pending"

    @property
    def needs_acknowledgement(self) -> bool:
        """Whether its hook went well and the API has not heard so."""
        return self.state == "done" and self.acknowledgement == "pending"


def concerns(notice: Mapping[str, Any], names: frozenset[str]) -> bool:
    """Whether a notice will stop a server of these names, or everything of the startup."""
    if notice["mode"] != "enforce":
        return False  # in shadow mode nothing is stopped
    return notice["server"] is None or bool({notice["server"], notice["server_name"]} & names)


def merge_live(
    known: Iterable[WatchedNotice], live: Iterable[Mapping[str, Any]], names: frozenset[str]
) -> tuple[WatchedNotice, ...]:
    """What is known once the live notices were read: moved deadlines, new ones, ended ones."""
    before = {each.id: each for each in known}
    found: dict[int, WatchedNotice] = {}
    for notice in live:
        if not concerns(notice, names):
            continue
        deadline_s = parse_instant(notice["deadline"])
        server = notice["server_name"] or ""
        new = WatchedNotice(notice["id"], deadline_s, notice["text"], notice["rule"], server)
        old = before.get(new.id, new)
        found[new.id] = replace(old, deadline_s=deadline_s, reason=new.reason)
    over = [each for id, each in before.items() if id not in found and each.state not in DUE]
    for each in sorted(over, key=lambda each: -each.id)[:FINISHED_KEPT]:
        found[each.id] = each
    return tuple(found[id] for id in sorted(found))


def next_due(known: Iterable[WatchedNotice], before_s: int, now_s: int) -> WatchedNotice | None:
    """The notice whose hook is to be run now: the one with the first deadline."""
    ready = [each for each in known if each.state in DUE and each.deadline_s - before_s <= now_s]
    return min(ready, key=lambda each: (each.deadline_s, each.id), default=None)


def quiet_for_s(known: Iterable[WatchedNotice], before_s: int, now_s: int, most_s: int) -> int:
    """For how long nothing will be due, at most so long."""
    ahead = [each.deadline_s - before_s - now_s for each in known if each.state in DUE]
    return max(0, min([most_s, *ahead]))


def with_replaced(known: Iterable[WatchedNotice], new: WatchedNotice) -> tuple[WatchedNotice, ...]:
    """The same, with one replaced."""
    return tuple(new if each.id == new.id else each for each in known)

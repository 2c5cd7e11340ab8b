"""The notices about this server, and the state of the hook of each. Pure values.

A notice is waiting until its hook begins, then begun, then done or failed. A hook that began and
never ended (the machine died) runs again while its notice is live: one checkpoint too many costs
less than one too few. A hook that ended never runs again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from exporters.ctl.on_notice.identity import Identity
from quotas.model.units import parse_instant

DUE = frozenset({"waiting", "begun"})
FINISHED_KEPT = 200
"""Notices that ended and are remembered; live ones always are."""


@dataclass(frozen=True, slots=True)
class WatchedNotice:
    """A notice as this machine knows it, with the state of its hook and its acknowledgement."""

    id: int
    deadline_s: int
    reason: str
    rule: str
    server: str
    state: str = "waiting"
    acknowledgement: str = "pending"

    @property
    def needs_acknowledgement(self) -> bool:
        """Whether its hook succeeded and its acknowledgement is not sent yet."""
        return self.state == "done" and self.acknowledgement == "pending"


def concerns(notice: Mapping[str, Any], identity: Identity) -> bool:
    """Whether a notice will stop this machine, or every server of the startup."""
    if notice["mode"] != "enforce":
        return False  # in shadow mode nothing is stopped
    server, name = notice["server"], notice["server_name"]
    return server is None or identity.matches(server, name)


def merge_live(
    known: Iterable[WatchedNotice], live: Iterable[Mapping[str, Any]], identity: Identity
) -> tuple[WatchedNotice, ...]:
    """The known notices, updated by the live ones: moved deadlines, new ones, ended ones."""
    before = {each.id: each for each in known}
    found: dict[int, WatchedNotice] = {}
    for notice in live:
        if not concerns(notice, identity):
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
    """The notice whose hook is due: the one with the earliest deadline."""
    ready = [each for each in known if each.state in DUE and each.deadline_s - before_s <= now_s]
    return min(ready, key=lambda each: (each.deadline_s, each.id), default=None)


def quiet_for_s(known: Iterable[WatchedNotice], before_s: int, now_s: int, most_s: int) -> int:
    """Seconds until a hook is due, up to a maximum."""
    ahead = [each.deadline_s - before_s - now_s for each in known if each.state in DUE]
    return max(0, min([most_s, *ahead]))


def with_replaced(known: Iterable[WatchedNotice], new: WatchedNotice) -> tuple[WatchedNotice, ...]:
    """The same notices with one replaced."""
    return tuple(new if each.id == new.id else each for each in known)

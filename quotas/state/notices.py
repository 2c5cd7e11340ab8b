"""Notices and intents: each announced stop, and the provider calls that carry it out.

A notice is open until its cause ends (cancelled), its deadline passes in shadow mode
(shadow), or its server is confirmed stopped (executed). One that is due and that the
guard holds back is held. A stop that was taken back is restored. Once its server runs again
with nothing against it, an ended notice is over: none goes on with it. A forecast is told once.
An intent is pending, then sent, and ends confirmed, failed, expired or abandoned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from quotas.model.observation import Complete, Server, Sweep

LIVE_NOTICES = frozenset({"open", "deferred", "executing", "shadow"})
NOTICES_WITH_INTENTS = LIVE_NOTICES | {"restarting"}
"""Notices whose intents a cycle reads: ended ones time the retries."""
LIVE_INTENTS = frozenset({"pending", "sent"})
SEND_WITHIN_S = 300
"""An intent not sent by then expires: the world has moved on, decide again."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A promise to one startup, about one server ("" for the whole startup).

    `off_s` is when its server was seen off; a notice that goes on later has what was left.
    `reminded_s` is the last reminder given, in seconds before the deadline; `snoozed_s`
    by how much the deadline was moved in all; `is_broken` that it was not kept.
    """

    startup: str
    server_id: str
    server_name: str
    zone: str
    rule: str
    episode: str
    mode: str
    opened_s: int
    deadline_s: int
    text: str
    state: str = "open"
    id: int | None = None
    off_s: int | None = None
    reminded_s: int | None = None
    snoozed_s: int = 0
    acknowledged_s: int | None = None
    acknowledged_by: str = ""
    is_breached: bool = False

    @property
    def subject(self) -> tuple[str, str, str]:
        """What makes a live notice unique: startup, server and rule."""
        return (self.startup, self.server_id, self.rule)


@dataclass(frozen=True, slots=True)
class Intent:
    """An action on a server, or (server "") on a whole startup; `replaces` is what was there.

    poweroff is for a notice; close and reopen are for a startup's level.
    """

    notice_id: int | None
    server_id: str
    zone: str
    replaces: str
    decided_s: int
    not_after_s: int
    state: str = "pending"
    sent_s: int | None = None
    ended_s: int | None = None
    detail: str = ""
    action: str = "poweroff"
    startup: str = ""
    id: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may still change anything."""
        return self.state in LIVE_INTENTS


def servers_seen(sweeps: Iterable[Sweep]) -> dict[str, Server]:
    """Every server of the zones that answered Complete, by id."""
    complete = (sweep for sweep in sweeps if isinstance(sweep, Complete))
    return {server.id: server for sweep in complete for server in sweep.servers}


def resolve_intents(
    intents: Iterable[Intent],
    sweeps: Mapping[str, Sweep],
    latency_s: int,
    now_s: int,
) -> tuple[Intent, ...]:
    """The live intents that this cycle's observation ends.

    Sent and seen off: confirmed. Sent, and billable `latency_s` later: failed. Never
    sent in time: expired. A zone that is not Complete ends nothing but an expiry.
    """
    seen = servers_seen(sweeps.values())
    ended = (_resolve_intent(intent, sweeps, seen, latency_s, now_s) for intent in intents)
    return tuple(intent for intent in ended if intent is not None)


def _resolve_intent(
    intent: Intent,
    sweeps: Mapping[str, Sweep],
    seen: Mapping[str, Server],
    latency_s: int,
    now_s: int,
) -> Intent | None:
    if not intent.is_live:
        return None  # it ended before, and only times the retries
    sweep = sweeps.get(intent.zone)
    if isinstance(sweep, Complete) and sweep.at_s >= (intent.sent_s or intent.decided_s):
        server = seen.get(intent.server_id)
        if intent.action == "poweron":
            return _powered_on(intent, server, latency_s, now_s)
        if server is None or not server.is_billable:
            state = server.state if server else "gone"
            return replace(intent, state="confirmed", ended_s=now_s, detail=f"seen {state}")
        if intent.state == "sent" and now_s > (intent.sent_s or 0) + latency_s:
            detail = f"still {server.state} {now_s - (intent.sent_s or 0)} s after poweroff"
            return replace(intent, state="failed", ended_s=now_s, detail=detail)
    return _expired(intent, now_s)


def _powered_on(intent: Intent, server: Server | None, latency_s: int, now_s: int) -> Intent | None:
    if server is not None and server.is_billable:
        return replace(intent, state="confirmed", ended_s=now_s, detail=f"seen {server.state}")
    if server is None or (intent.sent_s is not None and now_s > intent.sent_s + latency_s):
        detail = f"still {server.state} after poweron" if server else "the server is gone"
        return replace(intent, state="failed", ended_s=now_s, detail=detail)
    return _expired(intent, now_s)


def _expired(intent: Intent, now_s: int) -> Intent | None:
    if intent.state == "pending" and now_s > intent.not_after_s:
        return replace(intent, state="expired", ended_s=now_s, detail="not sent in time")
    return None

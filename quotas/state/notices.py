"""What was promised before a stop, and what is being done about it? Notices and intents.

A notice is open until its cause ends (cancelled), its deadline passes in shadow mode
(shadow), or its server is confirmed stopped (executed). One that is due and that the
guard holds back is held. A stop that was taken back is restored. Once its server runs again
with nothing against it, an ended notice is over: none goes on with it. A forecast is told once.
An intent is pending, then sent, and ends confirmed, failed, expired or abandoned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from quotas.model.observation import Complete, Server, Sweep
from quotas.state.facts import FactsJson

LIVE_NOTICES = frozenset({"open", "deferred", "executing", "shadow"})
NOTICES_WITH_INTENTS = LIVE_NOTICES | {"restarting"}
"""Notices whose intents a cycle reads: ended ones time the retries."""
LIVE_INTENTS = frozenset({"pending", "sent"})
SEND_WITHIN_S = 300
"""An intent not sent by then expires: the world has moved on, decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTerms:
    """What the notice of a stop says beside its rule's facts; both are in the notice's `facts`.

    The stop erases the scratch disk and keeps the slot if it is reserved; `scratch_bytes` is None
    where the catalogue does not list the flavor. `goes_on_s` is when the older notice began that
    this one continues. A notice that fell due while stops waited also has `was_due_s` and
    `resumed_s`.
    """

    flavor: str
    scratch_bytes: int | None = None
    is_reserved: bool
    goes_on_s: int | None = None
    was_due_s: int | None = None
    resumed_s: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A promise to one startup, about one server ("" for the whole startup).

    `facts` are those of the decision that opened it, with `StopTerms` if it announces a stop.

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
    facts: FactsJson
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


class IntentCode(StrEnum):
    """Why an intent is in its state."""

    # Seen in a later observation.
    SEEN = "seen"
    STILL_ON = "still-on"
    STILL_OFF = "still-off"
    SERVER_GONE = "server-gone"
    # Never sent.
    NOT_SENT = "not-sent"
    ZONE_UNKNOWN = "zone-unknown"
    STOCK_UNREAD = "stock-unread"
    STOPS_WAIT = "stops-wait"
    EXTENDED = "extended"
    SERVER_ENDED = "server-ended"
    CLOSE_INSTEAD = "close-instead"
    REOPEN_INSTEAD = "reopen-instead"
    # Answered by the provider.
    REFUSED = "refused"
    UNSURE = "unsure"
    POLICIES = "policies"
    # Ordered by `cohortd release-all`.
    RELEASE = "release"
    RELEASE_INTERRUPTED = "release-interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentResult:
    """Why an intent is in its state: a code, and what its text names.

    `error` is what the provider answered, `reason` an operator's own words. `policies` are names
    of IAM policies by what became of them.
    """

    code: IntentCode
    server_state: str = ""
    after_s: int | None = None
    error: str = ""
    policies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    actor: str = ""
    reason: str = ""


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
    result: IntentResult | None = None
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
            result = IntentResult(
                code=IntentCode.SEEN, server_state=server.state if server else "gone"
            )
            return replace(intent, state="confirmed", ended_s=now_s, result=result)
        after_s = now_s - (intent.sent_s or 0)
        if intent.state == "sent" and after_s > latency_s:
            result = IntentResult(
                code=IntentCode.STILL_ON, server_state=server.state, after_s=after_s
            )
            return replace(intent, state="failed", ended_s=now_s, result=result)
    return _expired(intent, now_s)


def _powered_on(intent: Intent, server: Server | None, latency_s: int, now_s: int) -> Intent | None:
    if server is None:
        result = IntentResult(code=IntentCode.SERVER_GONE)
        return replace(intent, state="failed", ended_s=now_s, result=result)
    if server.is_billable:
        result = IntentResult(code=IntentCode.SEEN, server_state=server.state)
        return replace(intent, state="confirmed", ended_s=now_s, result=result)
    if intent.sent_s is not None and now_s > intent.sent_s + latency_s:
        result = IntentResult(code=IntentCode.STILL_OFF, server_state=server.state)
        return replace(intent, state="failed", ended_s=now_s, result=result)
    return _expired(intent, now_s)


def _expired(intent: Intent, now_s: int) -> Intent | None:
    if intent.state == "pending" and now_s > intent.not_after_s:
        result = IntentResult(code=IntentCode.NOT_SENT)
        return replace(intent, state="expired", ended_s=now_s, result=result)
    return None

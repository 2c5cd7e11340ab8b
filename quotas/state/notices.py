"""Notices and intents: their states, and how an observation ends an intent.

A notice is a promise to a startup before a stop, or one announcement. An intent is one action on
a server or on a startup's permissions. The tables `NOTICES` and `INTENTS` have every change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from quotas.model.machine import Machine, Stateful
from quotas.model.observation import Complete, Server, Sweep
from quotas.model.program import Mode
from quotas.state.facts import FactsJson


class NoticeState(StrEnum):
    """The states of a notice."""

    OPEN = "open"
    DEFERRED = "deferred"
    EXECUTING = "executing"
    SHADOW = "shadow"
    EXECUTED = "executed"
    CANCELLED = "cancelled"
    RESTARTING = "restarting"
    RESTARTED = "restarted"
    FINISHED = "finished"
    ANNOUNCED = "announced"


_RELEASED = "the violation is gone, or the server is off without our stop"
_RESUMED = "a freeze ended, and the minimum notice runs again"
NOTICES = Machine(
    "a notice",
    NoticeState,
    {NoticeState.OPEN: "a stop is announced", NoticeState.ANNOUNCED: "a fact is announced"},
    {
        NoticeState.OPEN: {
            NoticeState.OPEN: _RESUMED,
            NoticeState.EXECUTING: "due",
            NoticeState.DEFERRED: "due, but the disruption budget is used up",
            NoticeState.SHADOW: "due in shadow mode",
            NoticeState.CANCELLED: _RELEASED,
        },
        NoticeState.DEFERRED: {
            NoticeState.OPEN: _RESUMED,
            NoticeState.EXECUTING: "the budget has room",
            NoticeState.CANCELLED: _RELEASED,
        },
        NoticeState.EXECUTING: {
            NoticeState.OPEN: _RESUMED,
            NoticeState.DEFERRED: "the stop failed, and the budget is used up",
            NoticeState.EXECUTED: "the server is off",
            NoticeState.CANCELLED: "the violation is gone before a stop was sent",
        },
        NoticeState.SHADOW: {NoticeState.CANCELLED: _RELEASED},
        NoticeState.EXECUTED: {
            NoticeState.RESTARTING: "the stop is undone, or auto_resume",
            NoticeState.FINISHED: "the server runs, and no rule objects",
        },
        NoticeState.CANCELLED: {NoticeState.FINISHED: "the server runs, and no rule objects"},
        NoticeState.RESTARTING: {
            NoticeState.RESTARTED: "the server is on",
            NoticeState.EXECUTED: "the restart is no longer wanted",
        },
        NoticeState.RESTARTED: {},
        NoticeState.FINISHED: {},
        NoticeState.ANNOUNCED: {},
    },
)


class IntentState(StrEnum):
    """The states of an intent."""

    PENDING = "pending"
    SENT = "sent"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    EXPIRED = "expired"
    ABANDONED = "abandoned"


INTENTS = Machine(
    "an intent",
    IntentState,
    {IntentState.PENDING: "decided"},
    {
        IntentState.PENDING: {
            IntentState.SENT: "the call was made",
            IntentState.CONFIRMED: "the effect is observed",
            IntentState.FAILED: "refused, or the server is gone",
            IntentState.EXPIRED: "not sent in time",
            IntentState.ABANDONED: "no longer wanted",
        },
        IntentState.SENT: {
            IntentState.CONFIRMED: "the effect is observed",
            IntentState.FAILED: "no effect within the longest time of a stop",
        },
        IntentState.CONFIRMED: {},
        IntentState.FAILED: {},
        IntentState.EXPIRED: {},
        IntentState.ABANDONED: {},
    },
)

LIVE_NOTICES = frozenset(
    {NoticeState.OPEN, NoticeState.DEFERRED, NoticeState.EXECUTING, NoticeState.SHADOW}
)
NOTICES_WITH_INTENTS = LIVE_NOTICES | {NoticeState.RESTARTING}
"""Notices whose intents a cycle reads: ended ones time the retries."""
LIVE_INTENTS = frozenset({IntentState.PENDING, IntentState.SENT})
FAILED = frozenset({IntentState.FAILED, IntentState.EXPIRED})
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
class Notice(Stateful[NoticeState]):
    """A promise to one startup, about one server ("" for the whole startup).

    `facts` are those of the decision that opened it, with `StopTerms` if it announces a stop.

    `off_s` is when its server was seen off; a notice that goes on later has what was left.
    `reminded_s` is the last reminder given, in seconds before the deadline; `snoozed_s`
    by how much the deadline was moved in all; `is_broken` that it was not kept.
    """

    machine: ClassVar = NOTICES
    startup: str
    server_id: str
    server_name: str
    zone: str
    rule: str
    episode: str
    mode: Mode
    opened_s: int
    deadline_s: int
    facts: FactsJson
    state: NoticeState = NoticeState.OPEN
    id: int | None = None
    off_s: int | None = None
    reminded_s: int | None = None
    snoozed_s: int = 0
    acknowledged_s: int | None = None
    acknowledged_by: str = ""
    is_breached: bool = False

    def __post_init__(self) -> None:
        """Turn the texts of a row into the state and the mode. Raises ValueError."""
        Stateful.__post_init__(self)
        object.__setattr__(self, "mode", Mode(self.mode))

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
class Intent(Stateful[IntentState]):
    """An action on a server, or (server "") on a whole startup; `replaces` is what was there.

    poweroff is for a notice; close and reopen are for a startup's level.
    """

    machine: ClassVar = INTENTS
    notice_id: int | None
    server_id: str
    zone: str
    replaces: str
    decided_s: int
    not_after_s: int
    state: IntentState = IntentState.PENDING
    sent_s: int | None = None
    ended_s: int | None = None
    result: IntentResult | None = None
    action: str = "poweroff"
    startup: str = ""
    id: int | None = None

    def ended(self, state: IntentState, code: IntentCode, now_s: int, **facts: Any) -> Intent:
        """The intent as it ended, and why. Raises IllegalTransition."""
        return self.to(state, ended_s=now_s, result=IntentResult(code=code, **facts))

    @property
    def is_live(self) -> bool:
        """Whether it may still change anything."""
        return self.state in LIVE_INTENTS


def servers_seen(sweeps: Iterable[Sweep]) -> dict[str, Server]:
    """Every server of the zones that answered Complete, by id."""
    complete = (sweep for sweep in sweeps if isinstance(sweep, Complete))
    return {server.id: server for sweep in complete for server in sweep.servers}


def resolve_intents(
    intents: Iterable[Intent], sweeps: Mapping[str, Sweep], latency_s: int, now_s: int
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
            return intent.ended(IntentState.CONFIRMED, IntentCode.SEEN, now_s, server_state=state)
        after_s = now_s - (intent.sent_s or 0)
        if intent.state is IntentState.SENT and after_s > latency_s:
            still_on = {"server_state": server.state, "after_s": after_s}
            return intent.ended(IntentState.FAILED, IntentCode.STILL_ON, now_s, **still_on)
    return _expired(intent, now_s)


def _powered_on(intent: Intent, server: Server | None, latency_s: int, now_s: int) -> Intent | None:
    if server is None:
        return intent.ended(IntentState.FAILED, IntentCode.SERVER_GONE, now_s)
    seen = {"server_state": server.state}
    if server.is_billable:
        return intent.ended(IntentState.CONFIRMED, IntentCode.SEEN, now_s, **seen)
    if intent.sent_s is not None and now_s > intent.sent_s + latency_s:
        return intent.ended(IntentState.FAILED, IntentCode.STILL_OFF, now_s, **seen)
    return _expired(intent, now_s)


def _expired(intent: Intent, now_s: int) -> Intent | None:
    if intent.state is IntentState.PENDING and now_s > intent.not_after_s:
        return intent.ended(IntentState.EXPIRED, IntentCode.NOT_SENT, now_s)
    return None

"""Verbs: the facts of decisions that follow a notice's course or answer a person.

A decision has a rule and a verb. For the verbs notify, stop, would-stop and announce the facts
are the rule's own (`quotas.rules`). The other kinds are here: each has its facts, and a
condition under which the facts hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quotas.model.units import HOUR_S
from quotas.state.facts import OVERRIDE_PART, DecisionFacts, OverrideFacts

RELEASES = frozenset({"", "resolved", "mode", "unwanted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(DecisionFacts):
    """How a notice ended: the state in which its server was seen, and what released it."""

    server: str
    state: str
    ended_by: str = ""
    mode: str | None = None
    was: str | None = None

    def holds(self) -> bool:
        """Whether the release is a known one, and names the modes where the mode released it."""
        is_complete = self.ended_by != "mode" or (self.mode is not None and self.mode != self.was)
        return self.ended_by in RELEASES and is_complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral(DecisionFacts):
    """A stop for which the disruption budget of the hour has no room."""

    server: str
    gpus: int
    counted_gpus: int
    most_gpus: int

    def holds(self) -> bool:
        """Whether the stop would exceed the budget."""
        return self.counted_gpus + self.gpus > self.most_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension(DecisionFacts):
    """A notice that fell due while stops waited, and has the minimum notice again."""

    server: str
    was_due_s: int
    resumed_s: int
    deadline_s: int

    def holds(self) -> bool:
        """Whether stops resumed after the notice was due, and the new deadline is later."""
        return self.was_due_s < self.resumed_s < self.deadline_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(DecisionFacts):
    """Why a server is powered on again: an undone stop, or `auto_resume`.

    `override` undid the stop. The last three fields are there for `auto_resume`.
    """

    startup: str
    server: str
    by: str
    override: OverrideFacts | None = field(default=None, metadata=OVERRIDE_PART)
    available_ucr: int | None = None
    rates_ucr_per_h: int | None = None
    carry_s: int | None = None

    def holds(self) -> bool:
        """Whether an operator undid the stop, or the credits carry what `auto_resume` starts."""
        if self.by == "undo":
            return self.override is not None
        if self.available_ucr is None or self.rates_ucr_per_h is None or self.carry_s is None:
            return False
        carried = self.available_ucr * HOUR_S > self.rates_ucr_per_h * self.carry_s
        return self.by == "auto_resume" and carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder(DecisionFacts):
    """How long a notice still runs."""

    left_s: int

    def holds(self) -> bool:
        """Whether the deadline lies ahead."""
        return self.left_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach(DecisionFacts):
    """By how many seconds a notice was shorter than what the startup was promised.

    `sent_s` and `opened_s` are there where the stop was sent early; without them no channel
    took the notice before its deadline.
    """

    startup: str
    server: str
    notice: int
    deadline_s: int
    short_s: int
    sent_s: int | None = None
    opened_s: int | None = None

    def holds(self) -> bool:
        """Whether seconds were missing, and as many as the instants say."""
        if self.sent_s is None or self.opened_s is None:
            return self.short_s > 0
        missing_s = self.deadline_s - max(self.sent_s, self.opened_s)
        return self.short_s > 0 and missing_s == self.short_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement(DecisionFacts):
    """Who acknowledged which notice."""

    actor: str
    notice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze(DecisionFacts):
    """Who moved a deadline, from when to when, and why; `key` names a repeated command."""

    actor: str
    from_s: int
    to_s: int
    reason: str
    key: str | None = None

    def holds(self) -> bool:
        """Whether the deadline moved later."""
        return self.to_s > self.from_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTest(DecisionFacts):
    """Who tried the channels of which startup."""

    startup: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAdvance(DecisionFacts):
    """What a startup took ahead of a tranche, of how much at most, and what remains in it."""

    startup: str
    actor: str
    tranche: str
    amount_ucr: int
    most_ucr: int
    left_ucr: int
    begins_s: int

    def holds(self) -> bool:
        """Whether something was taken, within the bound."""
        return 0 < self.amount_ucr <= self.most_ucr


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(DecisionFacts):
    """Who gave back the revoked rules of a startup, and why."""

    startup: str
    actor: str
    override_reason: str


KINDS: Mapping[str, type[DecisionFacts]] = {
    "outcome": Outcome,
    "disruption-budget": Deferral,
    "extend": Extension,
    "restart": Restart,
    "remind": Reminder,
    "acknowledge": Acknowledgement,
    "snooze": Snooze,
    "test": ChannelTest,
    "advance": SelfAdvance,
    "release": Release,
    "breach": Breach,
}
"""The facts of each kind. A verb of the same name stores them, whatever the rule."""
BY_VERB = {
    "executed": "outcome",
    "cancelled": "outcome",
    "restarted": "outcome",
    "defer": "disruption-budget",
}
"""The kinds of the other verbs that store facts of their own."""

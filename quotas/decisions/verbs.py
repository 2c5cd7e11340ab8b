"""Verbs: the facts of decisions that follow a notice's course or answer a person.

A decision has a rule and a verb. For the verbs notify, stop, would-stop and announce the facts
are the rule's own (`quotas.rules`). The other kinds are here: each has its facts, and a
condition under which the facts hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quotas.model.units import HOUR_S
from quotas.state.facts import OverrideFacts


def always(facts: object) -> bool:
    """The condition of kinds that only record what was observed or said."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a notice ended: the state in which its server was seen, and what released it."""

    server: str
    state: str
    ended_by: str = ""
    mode: str | None = None
    was: str | None = None


RELEASES = frozenset({"", "resolved", "mode", "unwanted"})


def outcome_holds(facts: Outcome) -> bool:
    """Whether the release is a known one, and names the modes where the mode released it."""
    is_complete = facts.ended_by != "mode" or (facts.mode is not None and facts.mode != facts.was)
    return facts.ended_by in RELEASES and is_complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """A stop for which the disruption budget of the hour has no room."""

    server: str
    gpus: int
    counted_gpus: int
    most_gpus: int


def deferral_holds(facts: Deferral) -> bool:
    """Whether the stop would exceed the budget."""
    return facts.counted_gpus + facts.gpus > facts.most_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A notice that fell due while stops waited, and has the minimum notice again."""

    server: str
    was_due_s: int
    resumed_s: int
    deadline_s: int


def extension_holds(facts: Extension) -> bool:
    """Whether stops resumed after the notice was due, and the new deadline is later."""
    return facts.was_due_s < facts.resumed_s < facts.deadline_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Why a server is powered on again: an undone stop, or `auto_resume`.

    The four fields of the override are there after an undone stop, the next three for
    `auto_resume`.
    """

    startup: str
    server: str
    by: str
    actor: str | None = None
    override_s: int | None = None
    override_reason: str | None = None
    until_s: int | None = None
    available_ucr: int | None = None
    rates_ucr_per_h: int | None = None
    carry_s: int | None = None

    @property
    def override(self) -> OverrideFacts:
        """The override that undid the stop."""
        assert self.actor is not None and self.override_s is not None
        return OverrideFacts(
            actor=self.actor,
            override_s=self.override_s,
            override_reason=self.override_reason or "",
            until_s=self.until_s,
        )


def restart_holds(facts: Restart) -> bool:
    """Whether an operator undid the stop, or the credits carry what `auto_resume` starts."""
    if facts.by == "undo":
        return facts.actor is not None and facts.override_s is not None
    if facts.available_ucr is None or facts.rates_ucr_per_h is None or facts.carry_s is None:
        return False
    carried = facts.available_ucr * HOUR_S > facts.rates_ucr_per_h * facts.carry_s
    return facts.by == "auto_resume" and carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """How long a notice still runs."""

    left_s: int


def reminder_holds(facts: Reminder) -> bool:
    """Whether the deadline lies ahead."""
    return facts.left_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
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


def breach_holds(facts: Breach) -> bool:
    """Whether seconds were missing, and as many as the instants say."""
    if facts.sent_s is None or facts.opened_s is None:
        return facts.short_s > 0
    missing_s = facts.deadline_s - max(facts.sent_s, facts.opened_s)
    return facts.short_s > 0 and missing_s == facts.short_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Who acknowledged which notice."""

    actor: str
    notice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze:
    """Who moved a deadline, from when to when, and why; `key` names a repeated command."""

    actor: str
    from_s: int
    to_s: int
    reason: str
    key: str | None = None


def snooze_holds(facts: Snooze) -> bool:
    """Whether the deadline moved later."""
    return facts.to_s > facts.from_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTest:
    """Who tried the channels of which startup."""

    startup: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAdvance:
    """What a startup took ahead of a tranche, of how much at most, and what remains in it."""

    startup: str
    actor: str
    tranche: str
    amount_ucr: int
    most_ucr: int
    left_ucr: int
    begins_s: int


def advance_holds(facts: SelfAdvance) -> bool:
    """Whether something was taken, within the bound."""
    return 0 < facts.amount_ucr <= facts.most_ucr


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Who gave back the revoked rules of a startup, and why."""

    startup: str
    actor: str
    override_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A startup that may start servers no more, or may again, and the restriction behind it."""

    startup: str
    action: str
    by: str
    restriction: Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of decision: the type of its facts, and the condition under which they hold."""

    facts: type
    holds: Callable[[Any], bool] = always


BY_VERB = {
    "executed": "outcome",
    "cancelled": "outcome",
    "restarted": "outcome",
    "defer": "disruption-budget",
    "extend": "extend",
    "restart": "restart",
    "remind": "remind",
    "acknowledge": "acknowledge",
    "snooze": "snooze",
    "test": "test",
    "release": "release",
    "breach": "breach",
}
"""The verbs whose decisions store facts of their own, whatever the rule."""
KINDS = {
    "outcome": Kind(Outcome, outcome_holds),
    "disruption-budget": Kind(Deferral, deferral_holds),
    "extend": Kind(Extension, extension_holds),
    "restart": Kind(Restart, restart_holds),
    "remind": Kind(Reminder, reminder_holds),
    "acknowledge": Kind(Acknowledgement),
    "snooze": Kind(Snooze, snooze_holds),
    "test": Kind(ChannelTest),
    "advance": Kind(SelfAdvance, advance_holds),
    "release": Kind(Release),
    "breach": Kind(Breach, breach_holds),
}

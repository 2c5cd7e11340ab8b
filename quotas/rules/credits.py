"""Credits: stop every server of a startup whose credits are used up; announce the runway.

The final notice starts when the available credits reach zero. The reserve that `balance` sets
aside pays for the notice and the stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.ledger.balance import Balance
from quotas.model.program import Policy
from quotas.model.units import HOUR_S
from quotas.rules.context import (
    Announcement,
    AnnouncementRule,
    Context,
    Level,
    Restricts,
    StopRule,
    Violation,
)
from quotas.state.facts import DecisionFacts

CARRY_S = HOUR_S
"""Credits have to carry what starts again for so long, beyond its notice and its stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """A startup's balance, and whether its servers were stopped before for want of credits."""

    startup: str
    posted_ucr: int
    accrued_ucr: int
    held_ucr: int
    reserve_ucr: int
    granted_ucr: int
    burn_ucr_per_h: int
    stopped_before: int

    @property
    def left_ucr(self) -> int:
        """Credits that are left, with the reserve."""
        return self.posted_ucr - self.accrued_ucr - self.held_ucr

    def holds(self) -> bool:
        """Whether nothing is left beyond the reserve, or was not when servers were stopped."""
        return self.left_ucr <= self.reserve_ucr or bool(self.stopped_before)

    def imposes(self) -> Level | None:
        """Stopped after a stop; closed while the final notice runs."""
        if self.stopped_before:
            return Level.STOPPED
        is_final = self.left_ucr - self.reserve_ucr <= 0 < self.burn_ucr_per_h
        return Level.CLOSED if is_final else None


def exhaustion_episode(granted_ucr: int) -> str:
    """Names one exhaustion: it does not end because burn falls to 0 (see `is_exhausted`)."""
    return f"credits:{granted_ucr}"


def carry_s(policy: Policy) -> int:
    """For how long credits have to carry a server that starts again."""
    return policy.minimum_notice_s + policy.stop_latency_s + CARRY_S


def is_exhausted(context: Context, startup: str) -> bool:
    """Whether nothing is left to spend, or was not when its servers were last stopped.

    The latter lasts until more is granted, or something runs again that the credits carry, or
    a refund or an ended hold carries the cheapest server for a while. The small remainder left
    after a stop does not reopen the startup. A tranche that begins is more that is granted.
    """
    own = context.snapshot.balances[startup]
    if own.burn_ucr_per_h > 0:
        return own.available_ucr <= 0
    carried_ucr = own.available_ucr * HOUR_S
    needed_ucr = context.lowest_rate_ucr_per_h * carry_s(context.policy)
    return _was_stopped(context, own, startup) and carried_ucr <= needed_ucr


def _was_stopped(context: Context, own: Balance, startup: str) -> bool:
    return context.was_announced(startup, exhaustion_episode(own.granted_ucr))


def find_exhausted(context: Context, startup: str) -> Facts | None:
    """The figures of a startup whose credits are used up."""
    if startup not in context.snapshot.balances or not is_exhausted(context, startup):
        return None
    own = context.snapshot.balances[startup]
    stopped_before = int(_was_stopped(context, own, startup))
    return Facts.of(own, startup=startup, stopped_before=stopped_before)


def find(context: Context) -> Iterable[Violation]:
    """Every running server of a startup whose available credits are used up, newest first."""
    deadline_s = context.earliest_deadline_s
    found = []
    for startup, runs in context.running_by_startup.items():
        ends_s = context.ends_s(startup)
        if ends_s is not None and context.now_s >= ends_s:
            continue  # its grants ended with its cohort: the rule cohort-end stops its servers
        facts = find_exhausted(context, startup)
        if facts is not None:
            episode = exhaustion_episode(facts.granted_ucr)
            found += [Violation(run, RULE.name, episode, deadline_s, facts) for run in runs]
    return sorted(found, key=lambda each: (-each.run.up_since_s, each.run.id))


RULE = StopRule(
    name="credits",
    facts=Facts,
    find=find,
    restricts=Restricts(facts=Facts, find=find_exhausted, key="granted_ucr"),
    notice_survives_restart=True,
    resumable=True,
    forecast="runway",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunwayFacts(DecisionFacts):
    """How long the available credits last at the present burn."""

    available_ucr: int
    runway_s: int
    burn_ucr_per_h: int

    def holds(self) -> bool:
        """Whether credits are left, and something spends them."""
        return self.available_ucr > 0 and self.burn_ucr_per_h > 0


def find_runways(context: Context) -> Iterable[Announcement]:
    """Runway thresholds newly passed, for the instant at which the credits are used up.

    Each threshold is announced once for each sum granted; a new grant arms the thresholds
    again. Of several passed at once, only the nearest is announced.
    """
    for name, own in sorted(context.snapshot.balances.items()):
        empty_s = own.exhausted_s
        if empty_s is None or own.available_ucr <= 0:
            continue  # nothing burns, or the final notice runs
        ends_s = context.ends_s(name)
        if ends_s is not None and empty_s >= ends_s:
            continue  # they last to the end of the cohort, which has notices of its own
        runway_s = empty_s - context.now_s
        passed = [t for t in context.policy.exhaustion_notices_s if runway_s <= t]
        episode = f"runway:{min(passed, default=0)}:{own.granted_ucr}"
        if passed and not context.was_announced(name, episode):
            facts = RunwayFacts.of(own, runway_s=runway_s)
            yield Announcement(name, episode, facts, empty_s)


def runway_edges(context: Context) -> Iterable[int]:
    """Each exhaustion, and when each threshold before it is passed, at the present burn."""
    for own in context.snapshot.balances.values():
        if own.exhausted_s is not None:
            yield own.exhausted_s
            for before_s in context.policy.exhaustion_notices_s:
                yield own.exhausted_s - before_s


RUNWAY = AnnouncementRule(name="runway", facts=RunwayFacts, find=find_runways, edges=runway_edges)

"""Cohort end: stop every server when its cohort ends; announce the end before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """The end of a startup's cohort, and how long before it `notice_s` begins.

    That is the final notice for its servers, and the minimum notice for what may start.
    """

    startup: str
    ends_s: int
    notice_s: int
    now_s: int

    def holds(self) -> bool:
        """Whether the notice before the end has begun."""
        return self.now_s >= self.ends_s - self.notice_s

    def imposes(self) -> Level | None:
        """Stopped after the end; closed within the minimum notice before it."""
        if self.now_s >= self.ends_s:
            return Level.STOPPED
        return Level.CLOSED if self.holds() else None


def find(context: Context) -> Iterable[Violation]:
    """Every running server of a cohort that ends within the final notice, or has ended."""
    notice_s, now_s = context.policy.end_notice_s, context.now_s
    for run, _ in context.running:
        ends_s = context.ends_s(run.startup)
        if ends_s is None:
            continue
        facts = Facts(startup=run.startup, ends_s=ends_s, notice_s=notice_s, now_s=now_s)
        if facts.holds():
            deadline_s = max(ends_s, context.earliest_deadline_s)
            yield Violation(run, RULE.name, f"cohort-end:{ends_s}", deadline_s, facts)


def find_ending(context: Context, startup: str) -> Facts | None:
    """The end of a startup's cohort, and the minimum notice before it."""
    ends_s, notice_s = context.ends_s(startup), context.policy.minimum_notice_s
    if ends_s is None:
        return None
    return Facts(startup=startup, ends_s=ends_s, notice_s=notice_s, now_s=context.now_s)


def edges(context: Context) -> Iterable[int]:
    """When each cohort starts and ends, and when its final notice begins."""
    for cohort in context.snapshot.program.cohorts:
        yield cohort.starts_s
        yield cohort.ends_s
        yield cohort.ends_s - context.policy.end_notice_s


RULE = StopRule(
    name="cohort-end",
    facts=Facts,
    find=find,
    restricts=Restricts(facts=Facts, find=find_ending, key="ends_s"),
    edges=edges,
    notice_survives_restart=True,
    one_notice_per_episode=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFacts(DecisionFacts):
    """A cohort's end, and the instant of the announcement."""

    ends_s: int
    now_s: int

    def holds(self) -> bool:
        """Whether the end lies ahead."""
        return self.now_s < self.ends_s


def find_ends(context: Context) -> Iterable[Announcement]:
    """End thresholds newly passed, the nearest of several.

    The last threshold is not among them: `find` gives that notice to each server by name.
    """
    program, policy = context.snapshot.program, context.policy
    for startup in program.startups():
        ends_s = program.cohort(startup.cohort).ends_s
        left_s = ends_s - context.now_s
        passed = [t for t in policy.end_notices_s if policy.end_notice_s < left_s <= t]
        episode = f"end:{min(passed, default=0)}:{ends_s}"
        if passed and not context.was_announced(startup.name, episode):
            facts = EndFacts(ends_s=ends_s, now_s=context.now_s)
            yield Announcement(startup.name, episode, facts, ends_s)


END = AnnouncementRule(name="end", facts=EndFacts, find=find_ends)

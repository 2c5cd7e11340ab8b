"""Operator: stop the servers of a startup that an operator stopped, or closed before they started.

The operator's override has the family `level`. It closes or stops the startup until it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.rules.context import Context, Level, Restricts, StopRule, Violation
from quotas.state.facts import OverrideFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(OverrideFacts):
    """The override, its level, and when the server was started."""

    startup: str
    level: str
    started_s: int

    def holds(self) -> bool:
        """Whether the startup is stopped, or is closed and the server was started afterwards."""
        return self.level == Level.STOPPED or self.started_s > self.override_s


def find(context: Context) -> Iterable[Violation]:
    """Servers of a startup that an operator stopped, or started after one closed it."""
    for run, _ in context.running:
        override = context.snapshot.overrides.level_of(run.startup)
        if override is None:
            continue
        if override.value == Level.CLOSED and not run.was_started_after(override.at_s):
            continue
        started = {"startup": run.startup, "started_s": run.up_since_s}
        facts = Facts.of(override.facts, level=override.value, **started)
        deadline_s = context.earliest_deadline_s
        yield Violation(run, RULE.name, f"operator:{override.id}", deadline_s, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered(OverrideFacts):
    """The override that closed or stopped a startup."""

    level: str

    def imposes(self) -> Level | None:
        """The level that the operator ordered."""
        return Level(self.level) if self.level in set(Level) else None


def find_ordered(context: Context, startup: str) -> Ordered | None:
    """The override that closed or stopped the startup."""
    override = context.snapshot.overrides.level_of(startup)
    if override is None:
        return None
    return Ordered.of(override.facts, level=override.value)


RULE = StopRule(
    name="operator",
    facts=Facts,
    find=find,
    restricts=Restricts(facts=Ordered, find=find_ordered, key="override_s"),
    notice_survives_restart=True,
    resumable=True,
    is_ordered=True,
)

"""Membership: stop every server of a startup that was taken out of the program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.rules.context import Context, Level, Restricts, StopRule, Violation
from quotas.state.facts import DecisionFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """How many entries of the program file are the startup's: 0 once it has left."""

    members: int
    startup: str | None = None

    def holds(self) -> bool:
        """Whether the startup has left the program."""
        return self.members == 0

    def imposes(self) -> Level | None:
        """A startup that left is stopped."""
        return Level.STOPPED if self.holds() else None


def find(context: Context) -> Iterable[Violation]:
    """Every running server of a startup that was taken out of the program."""
    for run, _ in context.running:
        if find_left(context, run.startup) is not None:
            facts, deadline_s = Facts(startup=run.startup, members=0), context.earliest_deadline_s
            yield Violation(run, RULE.name, f"left:{run.startup}", deadline_s, facts)


def find_left(context: Context, startup: str) -> Facts | None:
    """The facts of a startup that is not in the program."""
    return Facts(members=0) if context.snapshot.program.startup(startup) is None else None


RULE = StopRule(
    name="membership",
    facts=Facts,
    find=find,
    restricts=Restricts(facts=Facts, find=find_left),
    notice_survives_restart=True,
)

"""Standby: stop a server that is stopped in place, and that Scaleway still bills, for too long.

Often somebody shut the server down from inside. A running server is never in standby.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.metering.runs import Run
from quotas.model.observation import Server
from quotas.rules.context import Context, StopRule, Violation
from quotas.state.facts import DecisionFacts

IN_PLACE = frozenset({"stopped in place", "stopped_in_place"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """Since when a server is in standby, and for how long the policy allows it."""

    startup: str
    server: str
    since_s: int
    now_s: int
    standby_stop_after_s: int

    def holds(self) -> bool:
        """Whether the server has been in standby for longer than the policy allows."""
        return self.now_s - self.since_s >= self.standby_stop_after_s


def find(context: Context) -> Iterable[Violation]:
    """Every server that has been stopped in place for longer than the policy allows."""
    for run, server in context.running:
        since_s = in_place_since_s(run, server)
        if since_s is None:
            continue
        facts = Facts(
            startup=run.startup,
            server=run.server_name,
            since_s=since_s,
            now_s=context.now_s,
            standby_stop_after_s=context.policy.standby_stop_after_s,
        )
        if facts.holds():
            deadline_s = context.earliest_deadline_s
            yield Violation(run, RULE.name, f"standby:{since_s}", deadline_s, facts)


def in_place_since_s(run: Run, server: Server) -> int | None:
    """Since when a server is stopped in place; None where it is not.

    A later PATCH moves the only date there is: the bound is in the startup's favour.
    """
    return max(run.up_since_s, server.modified_s) if server.state in IN_PLACE else None


def edges(context: Context) -> Iterable[int]:
    """When each server that is stopped in place will have been so for too long."""
    for run, server in context.running:
        since_s = in_place_since_s(run, server)
        if since_s:
            yield since_s + context.policy.standby_stop_after_s


RULE = StopRule(
    name="standby",
    facts=Facts,
    find=find,
    edges=edges,
    one_notice_per_episode=True,
    snoozable=True,
)

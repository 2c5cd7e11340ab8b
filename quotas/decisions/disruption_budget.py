"""Disruption budget: how many running GPUs may be stopped unexpectedly within an hour.

The budget is a part of what runs, or one server. A stop is expected if an operator ordered or
approved it, or if it was announced a day ahead. Every other stop counts, each server once, until
an hour after it was decided. A stop that failed does not count. A stop beyond the budget is
deferred.
"""

from __future__ import annotations

from collections.abc import Mapping

from quotas.model.units import DAY_S
from quotas.rules.registry import STOP_BY_NAME
from quotas.state.notices import Notice
from quotas.state.snapshot import WINDOW_S, Snapshot

EXPECTED_AFTER_S = DAY_S
PPM = 1_000_000


class DisruptionBudget:
    """Counts the unexpected stops of the window as a cycle adds to them."""

    def __init__(self, snapshot: Snapshot, running: Mapping[str, int]) -> None:
        """`running` are the GPUs of each server that runs."""
        self.first_announced_s = snapshot.enforcement.first_announced_s
        self.overrides, since_s = snapshot.overrides, snapshot.now_s - WINDOW_S
        self.counted: dict[str, int] = {}
        for stop in snapshot.enforcement.stops:
            if stop.decided_s > since_s and not self.is_expected(stop.notice):
                self.counted[stop.notice.server_id] = stop.gpus
        ran = sum(({**self.counted, **running}).values())
        self.most_gpus = ran * snapshot.program.policy.disruption_budget_ppm // PPM

    def is_expected(self, notice: Notice) -> bool:
        """Whether somebody asked for this stop, or it was announced a day ahead."""
        rule = STOP_BY_NAME[notice.rule]
        if rule.is_ordered or self.overrides.on("approve", str(notice.id)):
            return True
        if notice.deadline_s - notice.opened_s >= EXPECTED_AFTER_S:
            return True
        if not rule.forecast:
            return False
        granted = notice.episode.rpartition(":")[2]
        announced_s = self.first_announced_s.get((notice.startup, granted), notice.deadline_s)
        return notice.deadline_s - announced_s >= EXPECTED_AFTER_S

    def allows(self, notice: Notice, gpus: int) -> bool:
        """Whether a stop may be decided now; if so it counts from now on."""
        if self.is_expected(notice) or notice.server_id in self.counted:
            return True
        used = sum(self.counted.values())
        if self.counted and used + gpus > self.most_gpus:
            return False  # but one server may always be stopped
        self.counted[notice.server_id] = gpus
        return True

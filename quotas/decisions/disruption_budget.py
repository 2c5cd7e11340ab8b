"""Disruption budget: how much may be stopped unexpectedly within an hour.

The budget is a part of what runs, or one server.

A stop is expected where an operator asked for it or approved it, or where it was told a
day ahead. Every other one counts, each server once, until an hour after it was decided. One
that came to nothing stopped nobody: it does not count, and is let pass anew.
A stop beyond the budget is deferred; nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from quotas.model.units import DAY_S
from quotas.rules.registry import stop_rule
from quotas.state.notices import Notice
from quotas.state.overrides import Overrides
from quotas.state.snapshot import WINDOW_S, Enforcement

EXPECTED_AFTER_S = DAY_S
PPM = 1_000_000


class DisruptionBudget:
    """Counts the unexpected stops of the window as a cycle adds to them."""

    def __init__(
        self,
        enforcement: Enforcement,
        overrides: Overrides,
        running: Mapping[str, int],
        part_ppm: int,
        now_s: int,
    ) -> None:
        self.first_announced_s, self.overrides = enforcement.first_announced_s, overrides
        self.counted: dict[str, int] = {}
        for stop in enforcement.stops:
            if stop.decided_s > now_s - WINDOW_S and not self.is_expected(stop.notice):
                self.counted[stop.notice.server_id] = stop.gpus
        ran = sum(({**self.counted, **running}).values())
        self.most_gpus = ran * part_ppm // PPM

    def is_expected(self, notice: Notice) -> bool:
        """Whether somebody asked for this stop, or it was announced a day ahead."""
        rule = stop_rule(notice.rule)
        if rule.is_ordered or self.overrides.on("approve", str(notice.id)):
            return True
        if notice.deadline_s - notice.opened_s >= EXPECTED_AFTER_S:
            return True
        granted = notice.episode.rpartition(":")[2]
        announced_s = self.first_announced_s.get((notice.startup, granted))
        return bool(rule.forecast) and announced_s is not None and _a_day(announced_s, notice)

    def allows(self, notice: Notice, gpus: int) -> bool:
        """Whether a stop may be decided now; if so it counts from now on."""
        if self.is_expected(notice) or notice.server_id in self.counted:
            return True
        used = sum(self.counted.values())
        if self.counted and used + gpus > self.most_gpus:
            return False  # but one server may always be stopped
        self.counted[notice.server_id] = gpus
        return True


def _a_day(announced_s: int, notice: Notice) -> bool:
    return notice.deadline_s - announced_s >= EXPECTED_AFTER_S

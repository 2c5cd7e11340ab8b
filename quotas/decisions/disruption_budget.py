"""Disruption budget: how much may be stopped unexpectedly within an hour.

The budget is a part of what runs, or one server.

A stop is expected where an operator asked for it or approved it, or where it was told a
day ahead. Every other one counts, each server once, until an hour after it was decided. One
that came to nothing stopped nobody: it does not count, and is let pass anew.
A stop beyond the budget is deferred; nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from quotas.decisions.notices import LIVE_INTENTS, Notice
from quotas.decisions.overrides import Override, Overrides
from quotas.model.units import DAY_S, HOUR_S

WINDOW_S = HOUR_S
EXPECTED_AFTER_S = DAY_S
PPM = 1_000_000
COUNTED_STATES = LIVE_INTENTS | {"confirmed"}
"""What a stop is that was done, or still may be; the others failed, expired or were abandoned."""


class BudgetTerms(Protocol):
    """What the budget asks of a stop rule (see `quotas.rules.context.StopRule`)."""

    @property
    def is_ordered(self) -> bool: ...  # noqa: D102  (the rule documents it)

    @property
    def forecast(self) -> str: ...  # noqa: D102  (the rule documents it)


@dataclass(frozen=True, slots=True)
class CountedStop:
    """A poweroff that was done, or still may be: for which notice, of how many GPUs, when."""

    notice: Notice
    gpus: int
    decided_s: int


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What was said and done before that a cycle's deeds depend on.

    `announced` is when the end of (startup, credits granted) was first told; `past` are
    the last notices whose servers went off; `closed` is what each (startup, mode) was told
    of being closed (see quotas.iam.closing.closed_by).
    """

    overrides: tuple[Override, ...] = ()
    stops: tuple[CountedStop, ...] = ()
    first_announced_s: Mapping[tuple[str, str], int] = field(default_factory=dict)
    past: tuple[Notice, ...] = ()
    closed: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)


NO_ENFORCEMENT = Enforcement()


class DisruptionBudget:
    """Counts the unexpected stops of the window as a cycle adds to them."""

    def __init__(
        self,
        enforcement: Enforcement,
        overrides: Overrides,
        running: Mapping[str, int],
        part_ppm: int,
        now_s: int,
        rules: Mapping[str, BudgetTerms],
    ) -> None:
        self.rules = rules
        self.first_announced_s, self.overrides, self.now_s = (
            enforcement.first_announced_s,
            overrides,
            now_s,
        )
        self.counted: dict[str, int] = {}
        for stop in enforcement.stops:
            if stop.decided_s > now_s - WINDOW_S and not self.is_expected(stop.notice):
                self.counted[stop.notice.server_id] = stop.gpus
        ran = sum(({**self.counted, **running}).values())
        self.most_gpus = ran * part_ppm // PPM

    def is_expected(self, notice: Notice) -> bool:
        """Whether somebody asked for this stop, or it was announced a day ahead."""
        rule = self.rules[notice.rule]
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


def first_announcements(
    runway_announcements: Iterable[tuple[str, str, int]],
) -> dict[tuple[str, str], int]:
    """From (startup, cause, given) of runway forecasts, when each end was first told."""
    found: dict[tuple[str, str], int] = {}
    for startup, episode, opened_s in runway_announcements:
        key = (startup, episode.rpartition(":")[2])
        found[key] = min(opened_s, found.get(key, opened_s))
    return found

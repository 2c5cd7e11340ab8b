"""What is shown of a cycle? One value from one instant, for status, metrics and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quotas.decisions.notices import Intent, Notice
from quotas.decisions.overrides import Override
from quotas.decisions.snapshot import Decision, Overuse
from quotas.iam.closing import ClosingView
from quotas.ledger.balance import Balance
from quotas.metering.runs import Run
from quotas.model.units import format_credits, format_duration
from quotas.queue.position import QueuePosition
from quotas.rules.pace import Pace
from quotas.shares.allocation import Share

STOP_WITHIN_S = 360
"""Two cycles and five minutes: the longest that a stop takes when nothing fails."""


@dataclass(frozen=True, slots=True)
class StartupView:
    """One startup: its credits, its level and why, its charges and its running GPUs."""

    name: str
    cohort: str
    level: str
    level_reason: str
    balance: Balance
    charged_ucr: int
    unconfirmed_ucr: int
    runs: tuple[Run, ...]
    pace: Pace | None = None

    @property
    def gpus(self) -> int:
        """GPUs of its billable servers."""
        return sum(run.gpus for run in self.runs)


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool: how many GPUs it has now, and how many of them run."""

    name: str
    gpus: int
    used: int


@dataclass(frozen=True, slots=True)
class ZoneView:
    """How a zone answered, and until when it is known."""

    name: str
    outcome: str
    confirmed_until_s: int | None


@dataclass(frozen=True, slots=True)
class View:
    """The program at `at_s`, as the last cycle left it."""

    at_s: int
    mode: str
    epoch: int
    startups: tuple[StartupView, ...]
    pools: tuple[PoolView, ...]
    zones: tuple[ZoneView, ...]
    notices: tuple[Notice, ...]
    decisions: tuple[Decision, ...]
    pool_of: Mapping[str, str]
    edges: tuple[int, ...]
    alarms: tuple[str, ...]
    shares: tuple[Share, ...] = ()
    closings: tuple[ClosingView, ...] = ()
    requests: tuple[QueuePosition, ...] = ()
    overuses: tuple[Overuse, ...] = ()
    stop_latency_s: Mapping[str, int] = field(default_factory=dict)
    overdraft: Mapping[str, int] = field(default_factory=dict)
    """What the sponsor paid beyond the grants, in ucr, by COHORT or COHORT:STARTUP."""
    price_alarms: int = 0
    overrides: tuple[Override, ...] = ()
    intents: tuple[Intent, ...] = ()
    deferred_gpus: Mapping[str, int] = field(default_factory=dict)
    """GPUs that owners wait for and that the provider would keep, by pool."""

    @property
    def stops_failing(self) -> int:
        """Servers whose notice ran out, and that a stop has not ended in the time it may take."""
        late_s = self.at_s - STOP_WITHIN_S
        return sum(n.state == "executing" and n.deadline_s < late_s for n in self.notices)

    @property
    def stops_deferred(self) -> int:
        """Stops that are due and that the guard holds back."""
        return sum(1 for notice in self.notices if notice.state == "deferred")

    @property
    def in_maintenance(self) -> bool:
        """Whether an operator lets nothing be acted on now."""
        return any(override.family == "maintenance" for override in self.overrides)

    @property
    def sentence(self) -> str:
        """The cycle in one human sentence: log line, status field and test oracle."""
        used = sum(pool.used for pool in self.pools)
        gpus = sum(pool.gpus for pool in self.pools)
        accrued = sum(startup.balance.accrued_ucr for startup in self.startups)
        parts = [
            f"{len(self.startups)} startups",
            f"{used} of {gpus} GPUs",
            f"{format_credits(accrued)} credits accrued",
        ]
        blind = [zone.name for zone in self.zones if zone.outcome != "complete"]
        if blind:
            parts.append(f"{', '.join(blind)} not known")
        if self.stops_deferred:
            parts.append(f"{self.stops_deferred} stops held by the guard")
        if self.in_maintenance:
            parts.append("in maintenance")
        due = [n for n in self.notices if n.state == "open"]
        if due:
            first = min(due, key=lambda n: (n.deadline_s, n.startup))
            verb = "stopping" if self.mode == "enforce" else "would stop"
            wait = format_duration(max(0, first.deadline_s - self.at_s))
            parts.append(f"{verb} {first.startup} in {wait}")
        return ", ".join(parts)

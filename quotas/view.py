"""The read model: a startup and the program at one instant, and what one cycle shows.

`StartupStatus` and `ProgramStatus` are the only values that say what is so now. They are built
in `quotas.book.reads.status`, once for each reading of the book. The metrics, `cohortd status`,
the API and the portal format them and compute nothing of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quotas.decisions.queue_position import QueuePosition
from quotas.iam.closing import ClosingView
from quotas.ledger.balance import Balance
from quotas.ledger.forecast import Pace
from quotas.metering.runs import Run
from quotas.model.program import Cohort, Mode, Program
from quotas.model.tokens import Token
from quotas.model.units import format_credits, format_duration
from quotas.shares.allocation import Share
from quotas.state.notices import Intent, Notice, NoticeState
from quotas.state.overrides import Override
from quotas.state.snapshot import Decision, Overuse

STOP_WITHIN_S = 360
"""Two cycles and five minutes: the longest that a stop takes when nothing fails."""


@dataclass(frozen=True, slots=True)
class StartupStatus:
    """One startup at `balance.as_of_s`: its credits, its level, its running servers.

    `cohort` is None once the startup has left the program. `runs` are those of its billable
    servers, `notices` the live ones. A status of the past has no level, pace, shares or notices.
    """

    name: str
    cohort: Cohort | None
    balance: Balance
    charged_ucr: int
    unconfirmed_ucr: int
    runs: tuple[Run, ...] = ()
    level: str = ""
    level_reason: str = ""
    pace: Pace | None = None
    shares: tuple[Share, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def cohort_name(self) -> str:
        """The label of its cohort in metrics; empty once it has left the program."""
        return self.cohort.name if self.cohort else ""

    @property
    def gpus(self) -> int:
        """GPUs of its billable servers."""
        return sum(run.gpus for run in self.runs)

    @property
    def runway_s(self) -> int | None:
        """Seconds until no credits are available at this burn; None if nothing burns."""
        until_s = self.balance.exhausted_s
        return None if until_s is None else max(0, until_s - self.balance.as_of_s)


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One pool: how many GPUs it has now, and how many of them run."""

    name: str
    gpus: int
    used: int


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """The program at `at_s`; every startup in it, by name. `notices` are the live ones.

    `known_until_s` is the instant until which every zone is known, None before the first sweep.
    `overdraft` is what the sponsor paid beyond the grants, in ucr, by cohort. `tokens` are those in
    force.
    """

    at_s: int
    known_until_s: int | None
    program: Program
    startups: tuple[StartupStatus, ...]
    pools: tuple[PoolStatus, ...] = ()
    shares: tuple[Share, ...] = ()
    requests: tuple[QueuePosition, ...] = ()
    overuses: tuple[Overuse, ...] = ()
    notices: tuple[Notice, ...] = ()
    overrides: tuple[Override, ...] = ()
    closings: tuple[ClosingView, ...] = ()
    stop_latency_s: Mapping[str, int] = field(default_factory=dict)
    overdraft: Mapping[str, int] = field(default_factory=dict)
    tokens: tuple[Token, ...] = ()
    _by_name: Mapping[str, StartupStatus] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the startups once for every reader."""
        object.__setattr__(self, "_by_name", {each.name: each for each in self.startups})

    def startup(self, name: str) -> StartupStatus:
        """One startup of the program, or one that left it with books of its own."""
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Every startup's name, in order."""
        return tuple(self._by_name)

    @property
    def stops_deferred(self) -> int:
        """Stops that are due and that the disruption budget defers."""
        return sum(1 for notice in self.notices if notice.state is NoticeState.DEFERRED)

    @property
    def in_maintenance(self) -> bool:
        """Whether an operator has suspended all actions."""
        return any(override.family == "maintenance" for override in self.overrides)


@dataclass(frozen=True, slots=True)
class ZoneView:
    """How a zone answered, and until when it is known."""

    name: str
    outcome: str
    confirmed_until_s: int | None


@dataclass(frozen=True, slots=True)
class View:
    """What one cycle shows: the program as it left it, and what it saw and decided.

    `edges` are the instants at which something falls due. `deferred_gpus` are GPUs, by pool,
    that owners wait for and that are not reclaimed because the provider would keep them.
    """

    status: ProgramStatus
    epoch: int
    zones: tuple[ZoneView, ...]
    decisions: tuple[Decision, ...]
    edges: tuple[int, ...]
    alarms: tuple[str, ...]
    price_alarms: int = 0
    intents: tuple[Intent, ...] = ()
    deferred_gpus: Mapping[str, int] = field(default_factory=dict)

    @property
    def stops_failing(self) -> int:
        """Servers that still run long after their notice ran out."""
        late_s = self.status.at_s - STOP_WITHIN_S
        notices = self.status.notices
        return sum(n.state is NoticeState.EXECUTING and n.deadline_s < late_s for n in notices)

    @property
    def sentence(self) -> str:
        """The cycle in one human sentence: log line, status field and test oracle."""
        status = self.status
        used = sum(pool.used for pool in status.pools)
        gpus = sum(pool.gpus for pool in status.pools)
        accrued = sum(startup.balance.accrued_ucr for startup in status.startups)
        parts = [
            f"{len(status.startups)} startups",
            f"{used} of {gpus} GPUs",
            f"{format_credits(accrued)} credits accrued",
        ]
        blind = [zone.name for zone in self.zones if zone.outcome != "complete"]
        if blind:
            parts.append(f"{', '.join(blind)} not known")
        if status.stops_deferred:
            parts.append(f"{status.stops_deferred} stops deferred")
        if status.in_maintenance:
            parts.append("in maintenance")
        due = [n for n in status.notices if n.state is NoticeState.OPEN]
        if due:
            first = min(due, key=lambda n: (n.deadline_s, n.startup))
            verb = "stopping" if status.program.mode is Mode.ENFORCE else "would stop"
            wait = format_duration(max(0, first.deadline_s - status.at_s))
            parts.append(f"{verb} {first.startup} in {wait}")
        return ", ".join(parts)

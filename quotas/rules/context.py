"""Context: everything a rule may read in one cycle, and the two kinds of rule.

`quotas.rules.prepare` computes a context once per cycle. A rule reads the context and
recomputes nothing that another rule needs too, so that a cycle takes time in proportion to
the number of startups and servers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from quotas.ledger.forecast import Pace
from quotas.metering.runs import Run
from quotas.model.machine import Machine
from quotas.model.observation import Complete, Server
from quotas.model.program import Policy
from quotas.shares.allocation import Share, Usage
from quotas.shares.claims import WaitingOwners
from quotas.state.facts import DecisionFacts
from quotas.state.snapshot import Overuse, Snapshot


class Level(StrEnum):
    """How far a startup is restricted, from the mildest to the strictest level."""

    OPEN = "open"
    PACED = "paced"
    CLOSED = "closed"
    STOPPED = "stopped"

    @property
    def strictness(self) -> int:
        """The place of the level in the order of strictness; 0 is open."""
        return list(Level).index(self)

    @property
    def forbids_starts(self) -> bool:
        """Whether a startup at this level may start no server."""
        return self in {Level.CLOSED, Level.STOPPED}


LEVELS = Machine(
    "a level",
    Level,
    dict.fromkeys(Level, "the strictest reason of the first cycle"),
    {
        old: {
            new: "a stricter reason" if new.strictness > old.strictness else "the reason ended"
            for new in Level
            if new is not old
        }
        for old in Level
    },
)
"""Each level may follow any other: a cycle computes levels from the strictest reason of now."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """What restricts a startup now: the rule, the level that it imposes, and its facts."""

    rule: str
    level: Level
    facts: Any


@dataclass(frozen=True, slots=True)
class NoFacts(DecisionFacts):
    """The facts of a startup that nothing restricts."""


OPEN = Restriction("nothing", Level.OPEN, NoFacts())


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a server may not go on, from one rule: stop it, not before `deadline_s`."""

    run: Run
    rule: str
    episode: str
    deadline_s: int
    facts: Any

    @property
    def subject(self) -> tuple[str, str, str]:
        """Startup, server and rule: what a live notice is unique for."""
        return self.run.startup, self.run.server_id, self.rule


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Runs by their servers' uptime, the newest first."""
    return sorted(runs, key=lambda run: (-run.up_since_s, run.id))


def newest_with(gpus: int, runs: Iterable[Run]) -> Iterable[Run]:
    """The fewest newest runs that have so many GPUs together; all if they have fewer."""
    for run in newest_first(runs):
        if gpus <= 0:
            return
        gpus -= run.gpus
        yield run


@dataclass(frozen=True, slots=True)
class Announcement:
    """A fact that a startup is told once for each episode; `at_s` is when it takes effect."""

    startup: str
    episode: str
    facts: Any
    at_s: int


@dataclass(frozen=True)
class Context:
    """The state of one cycle for every rule. `prepare` fills the later fields step by step.

    `blocked` are the startups that may start nothing, from rules that do not read shares.
    """

    snapshot: Snapshot
    usage: Usage
    paces: Mapping[str, Pace] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    waiting: Mapping[str, WaitingOwners] = field(default_factory=dict)
    overuses: tuple[Overuse, ...] = ()
    blocked: Mapping[str, Restriction] = field(default_factory=dict)
    restrictions: Mapping[str, Restriction] = field(default_factory=dict)

    @property
    def now_s(self) -> int:
        """The instant of the cycle."""
        return self.snapshot.now_s

    @property
    def policy(self) -> Policy:
        """The policy of the program in force."""
        return self.snapshot.program.policy

    @property
    def earliest_deadline_s(self) -> int:
        """The deadline of a notice that begins now and lasts the minimum."""
        return self.now_s + self.policy.minimum_notice_s

    def was_announced(self, startup: str, episode: str) -> bool:
        """Whether the startup was told of the episode before."""
        return (startup, episode) in self.snapshot.announced

    @cached_property
    def running(self) -> list[tuple[Run, Server]]:
        """Open runs whose server a Complete sweep showed billable, by run id."""
        return self.snapshot.running()

    @cached_property
    def running_by_startup(self) -> Mapping[str, list[Run]]:
        """The runs of `running` by startup."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run, _ in self.running:
            found[run.startup].append(run)
        return found

    @cached_property
    def open_runs(self) -> Mapping[tuple[str, str], list[Run]]:
        """Every open run in a pool, seen or not, by (startup, pool)."""
        found: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for run in self.snapshot.runs.values():
            pool = self.snapshot.program.pool_of(run.flavor)
            if run.end_s is None and pool is not None:
                found[run.startup, pool.name].append(run)
        return dict(found)

    @cached_property
    def shares_by_startup(self) -> Mapping[str, list[Share]]:
        """The shares of each startup, in the order of the pools."""
        found: dict[str, list[Share]] = defaultdict(list)
        for share in self.shares:
            found[share.startup].append(share)
        return dict(found)

    @cached_property
    def pools_with_unknown_zones(self) -> frozenset[str]:
        """Pools with a zone that did not answer Complete: nothing in them is reclaimed."""
        return frozenset(
            pool.name
            for pool in self.snapshot.program.pools
            for zone in {flavor.partition("@")[2] for flavor in pool.flavors}
            if not isinstance(self.snapshot.sweeps.get(zone), Complete)
        )

    @cached_property
    def lowest_rate_ucr_per_h(self) -> int:
        """The lowest rate of what the program's pools can run; 0 where no price is known."""
        program, rates = self.snapshot.program, self.snapshot.catalogue.rates_ucr_per_h.items()
        return min((r for f, r in rates if r and program.pool_of(f) is not None), default=0)

    def ends_s(self, startup: str) -> int | None:
        """The end of a startup's cohort; None for a startup that is not in the program."""
        entry = self.snapshot.program.startup(startup)
        return None if entry is None else self.snapshot.program.cohort(entry.cohort).ends_s

    def restriction(self, startup: str) -> Restriction:
        """What restricts a startup now; open where nothing does."""
        return self.restrictions.get(startup, OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricts:
    """How a rule restricts a startup.

    `find` gives the facts where the rule applies to a startup, and their method `imposes` the
    level that follows from them. `find` reads shares only where `reads_shares` is set. `key` is
    the fact that tells one closing from the next.
    """

    facts: type[DecisionFacts]
    find: Callable[[Context, str], Any]
    key: str = ""
    reads_shares: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What every rule has.

    The method `holds` of its facts repeats the rule's condition on stored facts. `edges` are the
    instants at which the rule finds something new. The catalogue has its texts by its name.
    """

    name: str
    facts: type[DecisionFacts]
    find: Callable[[Context], Iterable[Any]]
    restricts: Restricts | None = None
    edges: Callable[[Context], Iterable[int]] = lambda context: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule(Rule):
    """A rule that ends in a notice and a stop: it finds violations.

    The flags say how `quotas.enforcement` and the actions of people treat the rule's notices:

    - notice_survives_restart: a restarted server continues with what was left of its notice;
    - one_notice_per_episode: a new episode cancels the notice of the old one;
    - snoozable: the startup may move the deadline within the policy's bounds;
    - resumable: `auto_resume` powers the server on again once the rule no longer applies;
    - is_ordered: an operator ordered the stop, so the disruption budget does not count it;
    - forecast: the announcement rule whose early announcement makes the stop expected.
    """

    notice_survives_restart: bool = False
    one_notice_per_episode: bool = False
    snoozable: bool = False
    resumable: bool = False
    is_ordered: bool = False
    forecast: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementRule(Rule):
    """A rule that stops nothing: it finds announcements, and each is told once."""

"""The program as frozen values, with look-ups over them.

Instants are UTC seconds, amounts ucr, durations seconds. `quotas.config.load` reads these values
from a file and refuses bad ones, so nothing is checked here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import TypeAdapter

from quotas.model.machine import Machine
from quotas.model.units import DAY_S, HOUR_S

Backing = Literal["reserved", "on-demand"]
Prices = Literal["fixed", "follow"]
DEFAULT_ZONES = ("fr-par-1", "fr-par-2", "pl-waw-2")
"""The zones that sell GPUs today. All are observed, even if no pool names them."""


class Mode(StrEnum):
    """What cohortd may do: nothing, decide and record, or also act."""

    OFF = "off"
    SHADOW = "shadow"
    ENFORCE = "enforce"


class Curve(StrEnum):
    """How a grant is meant to be spent over its term."""

    FLAT = "flat"
    FRONT_LOADED = "front-loaded"
    NONE = "none"


class PaceAction(StrEnum):
    """What follows if a startup spends ahead of its pace; nothing of it stops a server."""

    INFORM = "inform"
    BORROW_NO_MORE = "borrow-no-more"


_APPLIED = "the applied file says so"
MODES = Machine(
    "the mode",
    Mode,
    dict.fromkeys(Mode, _APPLIED),
    {
        Mode.OFF: {},
        Mode.SHADOW: {Mode.SHADOW: "disarm", Mode.ENFORCE: "arm"},
        Mode.ENFORCE: {Mode.SHADOW: "disarm", Mode.ENFORCE: "arm"},
    },
)
"""How the newest order moves the mode that the file says. No order moves a file that says off."""


class ProgramError(ValueError):
    """An invalid program: one sentence that names file, key, value and fix."""


@dataclass(frozen=True, slots=True)
class Tranche:
    """A part of a grant, usable from an instant, or once its milestone is confirmed."""

    amount_ucr: int
    effective_s: int | None
    milestone: str = ""
    by_s: int | None = None


@dataclass(frozen=True, slots=True)
class Rollover:
    """How much of an unused tranche moves on: a part in millionths, at most `most_ucr`."""

    ppm: int
    most_ucr: int | None = None

    def allowed_ucr(self, left_ucr: int, moved_ucr: int = 0) -> int:
        """What moves on of the rest, rounded down; `moved_ucr` of the tranche has moved before."""
        moving_ucr = left_ucr * self.ppm // 1_000_000
        return moving_ucr if self.most_ucr is None else min(moving_ucr, self.most_ucr - moved_ucr)


@dataclass(frozen=True, slots=True)
class Grant:
    """Immutable credit with an id; valid in [effective_s, expires_s).

    Without tranches it is credited at once. Without a rollover, tranches last to its end.
    """

    id: str
    amount_ucr: int
    effective_s: int
    expires_s: int
    category: str = "sponsor"
    priority: int = 0
    tranches: tuple[Tranche, ...] = ()
    rollover: Rollover | None = None


@dataclass(frozen=True, slots=True)
class Tenure:
    """A startup owns a Scaleway Project in [from_s, until_s); None is without end."""

    project_id: str
    from_s: int
    until_s: int | None = None

    def holds_at(self, instant_s: int) -> bool:
        """Whether the project is the startup's at an instant."""
        return self.from_s <= instant_s and (self.until_s is None or instant_s < self.until_s)


@dataclass(frozen=True, slots=True)
class Startup:
    """A member of a cohort. The mappings go by pool: a pool not named has no limit.

    `flavors` names every pool of the program. A pool not in `nominal` guarantees 0.
    """

    name: str
    cohort: str
    projects: tuple[Tenure, ...] = ()
    weight: int = 1
    nominal: Mapping[str, int] = field(default_factory=dict)
    borrowing_limit: Mapping[str, int | None] = field(default_factory=dict)
    lending_limit: Mapping[str, int | None] = field(default_factory=dict)
    limit: Mapping[str, int | None] = field(default_factory=dict)
    flavors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contacts: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    auto_resume: bool = False


@dataclass(frozen=True, slots=True)
class Cohort:
    """A batch of startups with its own dates, [starts_s, ends_s)."""

    name: str
    starts_s: int
    ends_s: int
    startups: tuple[Startup, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """GPU capacity that is shared; `capacity` is (from_s, gpus) in rising order."""

    name: str
    capacity: tuple[tuple[int, int], ...]
    backing: Backing = "on-demand"
    flavors: tuple[str, ...] = ()

    def gpus_at(self, instant_s: int) -> int:
        """GPUs at an instant; none before the first step."""
        past = [gpus for from_s, gpus in self.capacity if from_s <= instant_s]
        return past[-1] if past else 0


@dataclass(frozen=True, slots=True)
class Policy:
    """The thresholds that programs set differently, with safe defaults. Others are constants.

    `quiet_hours_s` is empty, or (from, until) in seconds of the program's local day.
    """

    minimum_notice_s: int = HOUR_S // 2
    exhaustion_notices_s: tuple[int, ...] = (7 * DAY_S, DAY_S, HOUR_S, 600)
    end_notices_s: tuple[int, ...] = (7 * DAY_S, DAY_S)
    stop_latency_s: int = 300
    pacing_curve: Curve = Curve.FLAT
    pacing_action: PaceAction = PaceAction.INFORM
    daily_burn_ucr: int | None = None
    disruption_budget_ppm: int = 250_000
    standby_stop_after_s: int = HOUR_S // 2
    minimum_runtime_s: int = HOUR_S
    self_advance_ppm: int = 500_000
    quiet_hours_s: tuple[int, ...] = ()
    snooze_max_s: int = 2 * HOUR_S
    mails_chain_heads: bool = False

    @property
    def end_notice_s(self) -> int:
        """The shortest lead time before a cohort's end, at which each server gets its notice."""
        return min(self.end_notices_s)


@dataclass(frozen=True, slots=True)
class Program:
    """The whole undertaking. The fields with an underscore are look-ups over the others."""

    name: str
    budget_ucr: int
    timezone: str = "UTC"
    mode: Mode = Mode.SHADOW
    prices: Prices = "fixed"
    zones: tuple[str, ...] = DEFAULT_ZONES
    pools: tuple[Pool, ...] = ()
    cohorts: tuple[Cohort, ...] = ()
    policy: Policy = Policy()
    operators: tuple[str, ...] = ()
    former: tuple[Cohort, ...] = ()
    """Former members by cohort. The book adds them (see quotas.model.former_members)."""
    _startups: Mapping[str, Startup] = field(init=False, repr=False, compare=False)
    _former_members: Mapping[str, Startup] = field(init=False, repr=False, compare=False)
    _tenures: Mapping[str, tuple[tuple[Tenure, Startup], ...]] = field(
        init=False, repr=False, compare=False
    )
    _pools: Mapping[str, Pool] = field(init=False, repr=False, compare=False)
    _cohorts: Mapping[str, Cohort] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Turn the mode's text into the mode, and build the look-ups. Raises ValueError."""
        object.__setattr__(self, "mode", Mode(self.mode))
        # Built once, because a cycle looks up every server, and there may be a million.
        members, former = _by_name(self.cohorts), _by_name(self.former)
        tenures: dict[str, tuple[tuple[Tenure, Startup], ...]] = {}
        # Members come first: a member's claim to a project beats a former member's.
        for startup in (*members.values(), *former.values()):
            for tenure in startup.projects:
                of_project = tenures.get(tenure.project_id, ())
                tenures[tenure.project_id] = (*of_project, (tenure, startup))
        look_ups = {
            "_startups": members,
            "_former_members": former,
            "_tenures": tenures,
            "_pools": {flavor: pool for pool in self.pools for flavor in pool.flavors},
            "_cohorts": {cohort.name: cohort for cohort in (*self.former, *self.cohorts)},
        }
        for name, look_up in look_ups.items():
            object.__setattr__(self, name, look_up)

    def startups(self) -> tuple[Startup, ...]:
        """Every startup of every cohort, by name."""
        return tuple(self._startups.values())

    def startup(self, name: str) -> Startup | None:
        """The startup of that name; None if it is not in the program, or no longer."""
        return self._startups.get(name)

    def former_members(self) -> tuple[Startup, ...]:
        """Every former member by name, with its projects and contacts, and without quota."""
        return tuple(self._former_members.values())

    def known(self, name: str) -> Startup | None:
        """A present or former member; None for any other name."""
        return self._startups.get(name) or self._former_members.get(name)

    def owner(self, project_id: str, instant_s: int) -> Startup | None:
        """The owner of a Scaleway Project at an instant, present or former; None if it has none."""
        for tenure, startup in self._tenures.get(project_id, ()):
            if tenure.holds_at(instant_s):
                return startup
        return None

    def given_up_s(self, project_id: str, instant_s: int) -> int | None:
        """The last end of a project's tenures up to an instant; None if there is none."""
        tenures = (tenure for tenure, _ in self._tenures.get(project_id, ()))
        ends = [tenure.until_s for tenure in tenures if tenure.until_s is not None]
        return max((end_s for end_s in ends if end_s <= instant_s), default=None)

    def pool_of(self, flavor: str) -> Pool | None:
        """The pool of a flavor; None for an unlisted flavor."""
        return self._pools.get(flavor)

    def cohort(self, name: str) -> Cohort:
        """The cohort of that name, present or former. Raises KeyError."""
        return self._cohorts[name]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: equal programs, equal digests."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON for the book: sorted keys, no spaces, integers only."""
        body = _ADAPTER.dump_python(self, mode="json")
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Program:
        """The program that `to_json` wrote."""
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(Program)
"""Reads and writes the fields of a program as JSON; the look-ups are no fields of it."""


def _by_name(cohorts: tuple[Cohort, ...]) -> dict[str, Startup]:
    """The startups of cohorts in the order of their names."""
    startups = (startup for cohort in cohorts for startup in cohort.startups)
    return {each.name: each for each in sorted(startups, key=lambda each: each.name)}

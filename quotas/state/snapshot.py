"""What does a cycle know when it decides? One frozen value, the same for every rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from quotas.ledger.balance import Balance
from quotas.metering.runs import Catalogue, Run
from quotas.model.observation import Complete, Server, Sweep
from quotas.model.program import Mode, Program
from quotas.model.units import HOUR_S
from quotas.state.facts import FactsJson
from quotas.state.notices import LIVE_INTENTS, Intent, IntentState, Notice
from quotas.state.overrides import Override, Overrides
from quotas.state.requests import Request

AnnouncedByMode = Mapping[str, AbstractSet[tuple[str, str]]]
"""The (startup, cause) said once for all, by the mode in which it was said."""
EMPTY_CATALOGUE = Catalogue({}, {})
UNREAD = "unread"
"""A stock that the provider was asked for, and did not tell."""
WINDOW_S = HOUR_S
"""How long an unexpected stop counts against the disruption budget."""
COUNTED_STATES = LIVE_INTENTS | {IntentState.CONFIRMED}
"""What a stop is that was done, or still may be; the others failed, expired or were abandoned."""


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


@dataclass(frozen=True, slots=True)
class Overuse:
    """GPUs that a startup runs above its share of a pool, since when, and why.

    `share_gpus`, `nominal_gpus` and `limited_by` are those of the share.
    `owner` is the startup whose nominal quota waits for them, None while nobody's does:
    only then may they be taken back, and not before `deadline_s`, which never moves earlier.
    """

    startup: str
    pool: str
    gpus: int
    owner: str | None
    since_s: int
    deadline_s: int
    share_gpus: int
    nominal_gpus: int
    limited_by: str
    ended_s: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything `decide` may look at. `told` holds (startup, cause) said once for all (`heard`).

    `requests` are the live ones, `excesses` those that the last cycle found; `recent` are
    runs that ended in the last week, `charged` is what usage has cost each startup.
    `stock` is what the provider has left of a flavor that is waited for, in its words.
    `undelivered` are live notices that no channel of their startup has taken.
    """

    now_s: int
    program: Program
    sweeps: Mapping[str, Sweep]
    confirmed: Mapping[str, int]
    runs: Mapping[str, Run]
    balances: Mapping[str, Balance]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    announced: frozenset[tuple[str, str]]
    stop_latency_s: int
    catalogue: Catalogue = EMPTY_CATALOGUE
    requests: tuple[Request, ...] = ()
    overuses: tuple[Overuse, ...] = ()
    recent: tuple[Run, ...] = ()
    charged: Mapping[str, int] = field(default_factory=dict)
    measured_latency_s: Mapping[str, int] = field(default_factory=dict)
    enforcement: Enforcement = NO_ENFORCEMENT
    stock: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the words that stand now, once for all rules."""
        object.__setattr__(self, "overrides", Overrides(self.enforcement.overrides, self.now_s))

    undelivered: frozenset[int] = frozenset()

    def running(self) -> list[tuple[Run, Server]]:
        """Open runs whose server this cycle's Complete sweep showed billable, by run id.

        Runs in a zone that is not Complete are left out: nothing is concluded of them.
        """
        seen = {
            server.id: server
            for sweep in self.sweeps.values()
            if isinstance(sweep, Complete)
            for server in sweep.servers
            if server.is_billable
        }
        return [
            (run, seen[run.server_id])
            for run in sorted(self.runs.values(), key=lambda each: each.id)
            if run.end_s is None and run.server_id in seen
        ]


def announced_in_mode(announced: AnnouncedByMode, mode: str) -> frozenset[tuple[str, str]]:
    """What counts as told in a mode. What was told in shadow no startup has heard."""
    if mode == Mode.ENFORCE:
        return frozenset(announced.get(mode, ()))
    return frozenset().union(*announced.values())


def first_announcements(
    runway_announcements: Iterable[tuple[str, str, int]],
) -> dict[tuple[str, str], int]:
    """From (startup, cause, given) of runway forecasts, when each end was first told."""
    found: dict[tuple[str, str], int] = {}
    for startup, episode, opened_s in runway_announcements:
        key = (startup, episode.rpartition(":")[2])
        found[key] = min(opened_s, found.get(key, opened_s))
    return found


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as the book keeps it; `inputs` are its facts (see `quotas.decisions.record`)."""

    startup: str
    server_id: str
    rule: str
    verb: str
    episode: str
    inputs: FactsJson

"""Snapshot: what a cycle knows when it decides, as one frozen value for every rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from quotas.ledger.balance import Balance
from quotas.metering.runs import Catalogue, Run
from quotas.model.observation import Server, Sweep
from quotas.model.program import Mode, Program
from quotas.model.tokens import Token
from quotas.model.units import HOUR_S
from quotas.state.facts import FactsJson
from quotas.state.notices import LIVE_INTENTS, Intent, IntentState, Notice, servers_seen
from quotas.state.overrides import UNDONE_FOR_S, Override, Overrides
from quotas.state.requests import Request

AnnouncedByMode = Mapping[str, AbstractSet[tuple[str, str]]]
"""The (startup, episode) that were announced, by the mode in which they were announced."""
EMPTY_CATALOGUE = Catalogue({}, {})
UNREAD = "unread"
"""The stock of a flavor that the provider was asked for and did not answer."""
WINDOW_S = HOUR_S
"""How long an unexpected stop counts against the disruption budget."""
COUNTED_STATES = LIVE_INTENTS | {IntentState.CONFIRMED}
"""The states of a stop that was done, or still may be; other stops came to nothing."""


@dataclass(frozen=True, slots=True)
class CountedStop:
    """A poweroff that was done, or still may be: for which notice, of how many GPUs, when."""

    notice: Notice
    gpus: int
    decided_s: int


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What was ordered and done before, and that a cycle's decisions depend on.

    `first_announced_s` is when the end of (startup, credits granted) was first announced. `past`
    are the last notices whose servers went off. `closed` are the closings of each (startup, mode)
    that were announced (see quotas.iam.closing.closed_by).
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
    """Everything that `decide` may read. `announced` are the (startup, episode) told before.

    `requests` are the live ones, `overuses` those that the last cycle found. `recent` are runs
    that ended in the last week, `charged` is what usage has cost each startup. `stock` is the
    provider's word for its stock of a flavor that a startup waits for. `undelivered` are live
    notices that no channel of their startup has taken.
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
    undelivered: frozenset[int] = frozenset()
    tokens: tuple[Token, ...] = ()
    overrides: Overrides = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the overrides that are active now, once for all rules."""
        object.__setattr__(self, "overrides", Overrides(self.enforcement.overrides, self.now_s))

    def exemption(self, startup: str, server_id: str) -> Override | None:
        """The override for which no rule applies to a server; an undone stop exempts it for a day.

        A startup that its cohort's end or an operator stopped may still be exempted.
        """
        given = self.overrides.on("exempt", server_id, startup)
        undone = self.overrides.on("undo", server_id)
        if given is None and undone is not None and self.now_s < undone.at_s + UNDONE_FOR_S:
            return undone
        return given

    def running(self) -> list[tuple[Run, Server]]:
        """Open runs whose server this cycle's Complete sweep showed billable, by run id.

        Runs in a zone that is not Complete are left out: nothing is concluded of them.
        """
        seen = servers_seen(self.sweeps.values())
        pairs = (
            (run, seen.get(run.server_id))
            for run in sorted(self.runs.values(), key=lambda each: each.id)
            if run.end_s is None
        )
        return [(run, server) for run, server in pairs if server and server.is_billable]


def announced_in_mode(announced: AnnouncedByMode, mode: str) -> frozenset[tuple[str, str]]:
    """What counts as announced in a mode. Announcements of shadow mode reach no startup."""
    if mode == Mode.ENFORCE:
        return frozenset(announced.get(mode, ()))
    return frozenset().union(*announced.values())


def first_announcements(
    runway_announcements: Iterable[tuple[str, str, int]],
) -> dict[tuple[str, str], int]:
    """When each end was first announced, from (startup, episode, instant) of runways."""
    found: dict[tuple[str, str], int] = {}
    for startup, episode, opened_s in sorted(runway_announcements, key=lambda each: each[2]):
        found.setdefault((startup, episode.rpartition(":")[2]), opened_s)
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

"""Requests for GPUs of a pool for a time: their states, and how usage and time move them.

A request is fulfilled once usage reaches it. The table `REQUESTS` has every change. While a
request is open or fulfilled, its GPUs are demand: this is how an owner asks lent quota back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from quotas.ledger.corrections import Refused
from quotas.model.machine import Machine, Stateful
from quotas.model.program import Program, Startup
from quotas.model.units import DAY_S, format_duration, format_instant
from quotas.state.facts import DecisionFacts

RULE = "request"


class RequestState(StrEnum):
    """The states of a request."""

    OPEN = "open"
    FULFILLED = "fulfilled"
    WITHDRAWN = "withdrawn"
    CLOSED = "closed"


REQUESTS = Machine(
    "a request",
    RequestState,
    {RequestState.OPEN: "somebody asks for GPUs"},
    {
        RequestState.OPEN: {
            RequestState.FULFILLED: "usage reaches it",
            RequestState.WITHDRAWN: "a person withdraws it",
            RequestState.CLOSED: "unfulfilled for a week, or its cohort, startup or pool ended",
        },
        RequestState.FULFILLED: {
            RequestState.WITHDRAWN: "a person withdraws it",
            RequestState.CLOSED: "its duration passed, or its cohort, startup or pool ended",
        },
        RequestState.WITHDRAWN: {},
        RequestState.CLOSED: {},
    },
)
LIVE_REQUESTS = frozenset({RequestState.OPEN, RequestState.FULFILLED})
QUOTA = "quota"
"""What `refused` may say: the organization's quota at the provider is used up."""
MOST_LIVE = 100
"""Live requests that one startup may have: each is read in every cycle."""
LONGEST_WAIT_S = 7 * DAY_S
"""A request that is not fulfilled within a week ends. It keeps others from borrowing until then,
and a startup that still needs the GPUs can ask again.
"""


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """GPUs of a pool that somebody asks for on a startup's behalf, for a duration."""

    startup: str
    pool: str
    gpus: int
    duration_s: int
    reason: str
    actor: str
    now_s: int
    key: str | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Request(Stateful[RequestState]):
    """A request and its state. `met_s` is when it was fulfilled.

    `detail` says how it ended: the outcome's code, or why a person withdrew it. `quota_gpus` are
    the GPUs of the pool that ran when the provider's quota refused a start of the startup, as the
    startup reports it; None without such a report.
    """

    machine: ClassVar = REQUESTS
    startup: str
    pool: str
    gpus: int
    duration_s: int
    reason: str
    actor: str
    opened_s: int
    key: str | None = None
    state: RequestState = RequestState.OPEN
    met_s: int | None = None
    ended_s: int | None = None
    detail: str = ""
    quota_gpus: int | None = None
    id: int | None = None

    @property
    def refused(self) -> str:
        """What the provider refused its servers for; empty if nobody reported that."""
        return "" if self.quota_gpus is None else QUOTA

    @property
    def is_live(self) -> bool:
        """Whether its GPUs are demand."""
        return self.state in LIVE_REQUESTS

    @property
    def term(self) -> tuple[int, int]:
        """Since when its present state lasts, and for how long at most."""
        if self.met_s is not None:
            return self.met_s, self.duration_s
        return self.opened_s, LONGEST_WAIT_S

    @property
    def ends_s(self) -> int:
        """When it ends if nothing else happens."""
        return sum(self.term)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(DecisionFacts):
    """What became of a request: the outcome's code, and the figures that it follows from."""

    startup: str
    request: int
    pool: str
    gpus: int
    now_s: int
    outcome: str
    used_gpus: int | None = None
    ends_s: int | None = None
    since_s: int | None = None
    length_s: int | None = None

    def holds(self) -> bool:
        """Whether the figures lead to the outcome."""
        if self.outcome == "fulfilled":
            return self.used_gpus is not None and self.used_gpus >= self.gpus
        if self.outcome == "cohort":
            return self.ends_s is not None and self.now_s >= self.ends_s
        if self.outcome in {"over", "unmet"}:
            if self.since_s is None or self.length_s is None:
                return False
            return self.now_s >= self.since_s + self.length_s
        return self.outcome in {"startup", "pool"}


def refused_at(requests: Iterable[Request]) -> dict[str, int]:
    """GPUs of each pool beyond which the provider's quota refused an open request."""
    found: dict[str, int] = {}
    for request in requests:
        if request.state is RequestState.OPEN and request.quota_gpus is not None:
            found[request.pool] = min(request.quota_gpus, found.get(request.pool, 10**9))
    return found


def requested_gpus(requests: Iterable[Request]) -> dict[tuple[str, str], int]:
    """GPUs that live requests ask for together, by startup and pool."""
    requested: dict[tuple[str, str], int] = defaultdict(int)
    for request in requests:
        if request.is_live:
            requested[request.startup, request.pool] += request.gpus
    return dict(requested)


def request_from(
    program: Program, spec: RequestSpec, step: int, live: Iterable[Request], running: int = 0
) -> Request:
    """The request that a person opens. Raises Refused.

    `step` is the smallest server of the pool that the startup can use. `live` are its own live
    requests. `running` are the GPUs of every startup that run in the pool.
    """
    startup = program.startup(spec.startup)
    if startup is None:
        raise Refused(f"{spec.startup} is no startup of the program; 'cohortd status' lists them")
    if spec.pool not in {pool.name for pool in program.pools}:
        known = ", ".join(sorted(pool.name for pool in program.pools))
        raise Refused(f"pool {spec.pool} is not in the program; its pools are {known}")
    if spec.gpus <= 0:
        raise Refused(f"{spec.gpus} GPUs is not above 0; ask for {step} or more")
    if spec.gpus % step:
        low = spec.gpus // step * step
        near = f"{low} or {low + step}" if low else str(step)
        raise Refused(
            f"{spec.gpus} GPUs is no multiple of {step}, the smallest server of {spec.pool} "
            f"that {spec.startup} can use; ask for {near}"
        )
    _refuse_beyond_limit(startup, spec, live)
    if spec.refused not in ("", QUOTA):
        raise Refused(f"refused for {spec.refused!r} is not known; only {QUOTA!r} is said here")
    if spec.duration_s <= 0:
        raise Refused(f"a duration of {spec.duration_s} s is not above 0")
    ends_s = program.cohort(startup.cohort).ends_s
    if spec.now_s + spec.duration_s > ends_s:
        left = format_duration(max(0, ends_s - spec.now_s))
        raise Refused(
            f"{format_duration(spec.duration_s)} from now is beyond the end of the cohort at "
            f"{format_instant(ends_s)}; ask for at most {left}"
        )
    of = (spec.startup, spec.pool, spec.gpus, spec.duration_s, spec.reason, spec.actor, spec.now_s)
    return Request(*of, spec.key, quota_gpus=running if spec.refused else None)


def withdraw(request: Request, now_s: int, why: str) -> Request:
    """The request, taken back. Raises Refused where it has ended."""
    if not request.is_live:
        raise Refused(f"request {request.id} is {request.state} already; nothing to withdraw")
    return request.to(RequestState.WITHDRAWN, ended_s=now_s, detail=why)


def advance_requests(
    program: Program, requests: Iterable[Request], usage: Mapping[tuple[str, str], int], now_s: int
) -> tuple[tuple[Request, Outcome], ...]:
    """The live requests that are now fulfilled or end, with the outcome, in order of opening.

    Of several in one pool the oldest is fulfilled first, by the usage that is left for it.
    """
    left: dict[tuple[str, str], int] = defaultdict(int, usage)
    changed = []
    for request in in_order(each for each in requests if each.is_live):
        key = (request.startup, request.pool)
        outcome = _outcome(program, request, left[key], now_s)
        if outcome is not None:
            request = _after(request, outcome, now_s)
            changed.append((request, outcome))
        if request.is_live:
            left[key] -= request.gpus
    return tuple(changed)


def in_order(requests: Iterable[Request]) -> list[Request]:
    """Requests by opening; those not written yet come last."""
    return sorted(requests, key=lambda r: (r.opened_s, r.id is None, r.id or 0))


def edges(requests: Iterable[Request]) -> Iterator[int]:
    """When live requests end."""
    return (request.ends_s for request in requests if request.is_live)


def _outcome(program: Program, request: Request, usage: int, now_s: int) -> Outcome | None:
    """What has become of a live request now, in figures; None where it goes on as it is."""
    startup = program.startup(request.startup)
    if startup is None:
        return _facts(request, now_s, "startup")
    ends_s = program.cohort(startup.cohort).ends_s
    if now_s >= ends_s:
        return _facts(request, now_s, "cohort", ends_s=ends_s)
    if request.pool not in {pool.name for pool in program.pools}:
        return _facts(request, now_s, "pool")
    if request.met_s is None and usage >= request.gpus:
        return _facts(request, now_s, "fulfilled", used_gpus=usage)
    if now_s < request.ends_s:
        return None
    since_s, length_s = request.term
    outcome = "unmet" if request.met_s is None else "over"
    return _facts(request, now_s, outcome, since_s=since_s, length_s=length_s)


def _facts(request: Request, now_s: int, outcome: str, **figures: int) -> Outcome:
    return Outcome(
        startup=request.startup,
        request=request.id or 0,
        pool=request.pool,
        gpus=request.gpus,
        now_s=now_s,
        outcome=outcome,
        **figures,
    )


def _after(request: Request, outcome: Outcome, now_s: int) -> Request:
    if outcome.outcome == "fulfilled":
        return request.to(RequestState.FULFILLED, met_s=now_s)
    return request.to(RequestState.CLOSED, ended_s=now_s, detail=outcome.outcome)


def _refuse_beyond_limit(startup: Startup, spec: RequestSpec, live: Iterable[Request]) -> None:
    own = list(live)
    requested = requested_gpus(own).get((spec.startup, spec.pool), 0)
    limit = startup.limit.get(spec.pool)
    if limit is not None and requested + spec.gpus > limit:
        beside = f" beside the {requested} it asks for already" if requested else ""
        raise Refused(
            f"{spec.gpus} GPUs{beside} is more than {spec.startup}'s limit of {limit} in "
            f"{spec.pool}; ask for at most {max(0, limit - requested)}"
        )
    if len(own) >= MOST_LIVE:
        raise Refused(
            f"{spec.startup} has {len(own)} live requests, the most allowed; withdraw one first"
        )

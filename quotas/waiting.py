"""What does a request wait for, at which place in line, and when can it be expected to be met?

Nothing is promised here that is not known: an instant is given where GPUs are free now, or
will be by deadlines, ends and steps of capacity that stand today; else it is not known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quotas.division import Share, refused_gpus
from quotas.program import Program
from quotas.requests import Request, in_order, refused_at
from quotas.sentences import BOUNDS, SHORT
from quotas.snapshot import Excess
from quotas.units import format_instant

Freed = tuple[int, int]
"""An instant, and GPUs that are free from then on."""

_KINDS = {"credits": "credits", "lending_limit": "capacity"}
"""What a share is limited by, as a kind of waiting; other bounds are limits."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A live request with its place in its pool's line and what it waits for.

    `waits_for` is one of nothing, lent-quota, capacity, credits, limit, cohort; `expected_s`
    is None where it is not known. A request that is met has place 0.
    """

    request: Request
    place: int
    of: int
    waits_for: str
    expected_s: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Hall:
    """What the requests of one pool are measured against."""

    program: Program
    pool: str
    shares: Mapping[str, Share]
    requests: Sequence[Request]
    excesses: Sequence[Excess]
    now_s: int

    @property
    def free(self) -> int:
        """GPUs of the pool that nobody runs, and that the provider's quota lets start."""
        used = sum(share.usage for share in self.shares.values())
        pools = {pool.name: pool for pool in self.program.pools}
        gpus = pools[self.pool].gpus_at(self.now_s) if self.pool in pools else used
        quota_gpus = refused_at(self.requests).get(self.pool, gpus)
        parts = [(share.nominal, share.demand) for share in self.shares.values()]
        return refused_gpus(gpus, quota_gpus, parts) - used


def standings(
    program: Program,
    requests: Iterable[Request],
    shares: Iterable[Share],
    excesses: Iterable[Excess],
    now_s: int,
) -> tuple[Standing, ...]:
    """Every live request with its standing: pool by pool in the order of the line, met last."""
    by_pool: dict[str, list[Request]] = defaultdict(list)
    for request in in_order(each for each in requests if each.is_live):
        by_pool[request.pool].append(request)
    shares, excesses = tuple(shares), tuple(excesses)
    found: list[Standing] = []
    for pool, asked in sorted(by_pool.items()):
        own = {share.startup: share for share in shares if share.pool == pool}
        given = [excess for excess in excesses if excess.pool == pool]
        found += _line(Hall(program, pool, own, asked, given, now_s))
    return tuple(found)


def _line(hall: Hall) -> Iterable[Standing]:
    """The line of one pool: who asks for nominal quota stands before who would borrow."""
    asked = hall.requests
    targets: dict[int | None, int] = {}
    sums: dict[str, int] = defaultdict(int)
    for request in asked:
        sums[request.startup] += request.gpus
        targets[request.id] = sums[request.startup]
    waiting = sorted(
        (each for each in asked if each.met_s is None),
        key=lambda each: _beyond_nominal(hall, each, targets[each.id]),
    )
    free = hall.free
    for place, request in enumerate(waiting, 1):
        share = hall.shares.get(request.startup)
        target = targets[request.id]
        kind, expected_s, why = _waits(hall, request, share, target, free)
        if share is not None and share.share >= target:
            free -= max(0, target - share.usage)
        when = "not known" if expected_s is None else format_instant(expected_s)
        when = "now" if expected_s == hall.now_s else when
        text = f"place {place} of {len(waiting)} in the line for {hall.pool}: {why}; expected: "
        yield Standing(request, place, len(waiting), kind, expected_s, text + when)
    for request in asked:
        if request.met_s is not None:
            until = format_instant(request.met_s + request.duration_s)
            text = f"met; its GPUs are kept for it until {until}"
            yield Standing(request, 0, len(waiting), "nothing", request.met_s, text)


def _beyond_nominal(hall: Hall, request: Request, target: int) -> bool:
    startup = hall.program.startup(request.startup)
    return startup is None or target > startup.nominal.get(hall.pool, 0)


def _waits(
    hall: Hall, request: Request, share: Share | None, target: int, free: int
) -> tuple[str, int | None, str]:
    """Kind, instant and words of what an open request waits for."""
    startup = hall.program.startup(request.startup)
    if share is None:
        starts_s = hall.program.cohort(startup.cohort).starts_s if startup else hall.now_s
        expected_s = starts_s if starts_s > hall.now_s else None
        return "cohort", expected_s, "its cohort has not started"
    if share.share < target:
        return _beyond_share(hall, request, share, target)
    missing = target - share.usage
    if missing <= free:
        return "nothing", hall.now_s, "the GPUs are free, start the servers"
    holders = [f"{e.startup} ({e.gpus})" for e in hall.excesses if e.owner is not None]
    expected_s = _instant(hall, missing - free, [*_given_back(hall), *_ends(hall, "usage")])
    if holders:
        return "lent-quota", expected_s, f"its quota is lent to {', '.join(holders)}"
    return "capacity", expected_s, "the pool's GPUs are in use"


def _beyond_share(
    hall: Hall, request: Request, share: Share, target: int
) -> tuple[str, int | None, str]:
    """It may not have that much now: its own bounds, or what the pool has."""
    startup = hall.program.startup(request.startup)
    why = BOUNDS.get(share.limited_by, SHORT)
    kind = _KINDS.get(share.limited_by, "limit") if share.limited_by in BOUNDS else "capacity"
    if kind == "credits":
        later = [g.effective_s for g in startup.grants] if startup else []
        return kind, min((s for s in later if s > hall.now_s), default=None), f"waits for {why}"
    if kind == "limit":
        return kind, None, f"held by {why}"
    freed = [*_reserved(hall, request), *_ends(hall, "share")]
    return kind, _instant(hall, target - share.share, freed), why


def _given_back(hall: Hall) -> Iterable[Freed]:
    """What excesses free at their deadlines; nothing is stopped but in enforce mode."""
    if hall.program.mode == "enforce":
        for excess in hall.excesses:
            if excess.owner is not None:
                yield max(excess.deadline_s, hall.now_s), excess.gpus


def _reserved(hall: Hall, request: Request) -> Iterable[Freed]:
    """What others asked for and do not run, when their requests end."""
    for other in hall.requests:
        share = hall.shares.get(other.startup)
        if share is not None and other.startup != request.startup:
            idle = max(0, share.share - share.usage)
            yield other.ends_s(hall.program.policy.longest_wait_s), min(other.gpus, idle)


def _ends(hall: Hall, field: str) -> Iterable[Freed]:
    """What cohorts leave when they end, and what the pool grows by."""
    for cohort in hall.program.cohorts:
        own = [hall.shares[s.name] for s in cohort.startups if s.name in hall.shares]
        yield cohort.ends_s, sum(getattr(share, field) for share in own)
    for pool in hall.program.pools:
        if pool.name == hall.pool:
            for from_s, gpus in pool.capacity:
                yield from_s, gpus - pool.gpus_at(from_s - 1)


def _instant(hall: Hall, missing: int, freed: Iterable[Freed]) -> int | None:
    """The first instant by which so many GPUs are free; None where none is known."""
    for at_s, gpus in sorted(each for each in freed if each[0] >= hall.now_s):
        missing -= gpus
        if missing <= 0:
            return at_s
    return None

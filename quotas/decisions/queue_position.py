"""Position: what each request waits for, its place in the queue, and when it may be met.

A position promises nothing that is not known. It has an instant if GPUs are free now, or will be
free by today's notices, ends and steps of capacity. If a borrower keeps what is asked back, the
position says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quotas.model.program import Mode, Program
from quotas.rules import reclaim
from quotas.rules.context import Context
from quotas.shares.allocation import Share, requests_in_demand
from quotas.shares.claims import free_gpus
from quotas.state.facts import TypedMessage
from quotas.state.notices import Notice, NoticeState
from quotas.state.requests import Request, in_order
from quotas.state.snapshot import Overuse, Snapshot

FutureCapacity = tuple[int, int]
"""An instant, and GPUs that are free from then on."""

_UNDER_WAY = frozenset({NoticeState.OPEN, NoticeState.EXECUTING})
_LIMITS = ("pace", "daily-burn", "policy", "limit", "borrowing_limit", "weight")
WAITS_FOR = {"credits": "credits", "lending_limit": "capacity"} | dict.fromkeys(_LIMITS, "limit")
"""What a request waits for, by what limits its share; for every other limit it is capacity."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Why a borrower's servers have no notices; `facts` are the override's or the obstacle's."""

    borrower: str
    owner: str
    pool: str
    mode: Mode
    facts: Any = None


@dataclass(frozen=True, slots=True)
class Lent:
    """Nominal quota that others run: how many GPUs each borrower has, and why some keep them."""

    borrowers: tuple[tuple[str, int], ...]
    kept: tuple[TypedMessage, ...]


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A live request with its place in its pool's line and what it waits for.

    `waits_for` is one of nothing, lent-quota, capacity, credits, limit, cohort, and `why` the
    message that says so in full; `expected_s` is None where it is not known. A request that is
    met has place 0. Requests of startups that may start nothing are last.
    """

    request: Request
    place: int
    of: int
    waits_for: str
    expected_s: int | None
    why: TypedMessage
    now_s: int


@dataclass(frozen=True, slots=True)
class QueueContext:
    """What the requests of one pool are measured against.

    `cycle` is the context of the cycle, `free` are GPUs that nobody runs, and `notices` the
    live ones of the pool's reclaims.
    """

    cycle: Context
    pool: str
    shares: Mapping[str, Share]
    requests: Sequence[Request]
    overuses: Sequence[Overuse]
    notices: Sequence[Notice]
    free: int

    @property
    def snapshot(self) -> Snapshot:
        """What the cycle knew."""
        return self.cycle.snapshot

    @property
    def program(self) -> Program:
        """The program in force."""
        return self.snapshot.program

    @property
    def now_s(self) -> int:
        """The instant that is told of."""
        return self.snapshot.now_s


def queue_positions(
    cycle: Context, requests: Iterable[Request], notices: Iterable[Notice]
) -> tuple[QueuePosition, ...]:
    """Every live request with its standing: pool by pool in the order of the line, met last.

    Requests and `notices` are as the cycle leaves them; the notices are the live ones.
    """
    by_pool: dict[str, list[Request]] = defaultdict(list)
    for request in in_order(each for each in requests if each.is_live):
        by_pool[request.pool].append(request)
    reclaims = [notice for notice in notices if notice.rule == reclaim.RULE.name]
    live = [each for own in by_pool.values() for each in own]
    demanding = requests_in_demand(live, cycle.blocked)
    free = free_gpus(cycle.snapshot, cycle.shares, cycle.usage, demanding)
    found: list[QueuePosition] = []
    for pool, asked in sorted(by_pool.items()):
        own = {share.startup: share for share in cycle.shares if share.pool == pool}
        given = [overuse for overuse in cycle.overuses if overuse.pool == pool]
        of = [n for n in reclaims if reclaim.pool_of_episode(n.episode) == pool]
        context = QueueContext(cycle, pool, own, asked, given, of, free.get(pool, 0))
        found += _queue_of_pool(context)
    return tuple(found)


def _queue_of_pool(context: QueueContext) -> Iterable[QueuePosition]:
    """The line of one pool: who asks for nominal quota stands before who would borrow."""
    asked = context.requests
    targets: dict[int | None, int] = {}
    sums: dict[str, int] = defaultdict(int)
    for request in asked:
        sums[request.startup] += request.gpus
        targets[request.id] = sums[request.startup]

    def order(request: Request) -> tuple[bool, bool]:
        startup = context.program.startup(request.startup)
        nominal = startup.nominal.get(context.pool, 0) if startup else 0
        return request.startup in context.cycle.blocked, targets[request.id] > nominal

    waiting = sorted((each for each in asked if each.met_s is None), key=order)
    free = context.free
    for place, request in enumerate(waiting, 1):
        share = context.shares.get(request.startup)
        target = targets[request.id]
        kind, expected_s, why = _waits(context, request, share, target, free)
        if share is not None and share.share >= target:
            free -= max(0, target - share.usage)
        yield QueuePosition(request, place, len(waiting), kind, expected_s, why, context.now_s)
    for request in asked:
        if request.met_s is not None:
            why = TypedMessage("position.met", request.met_s + request.duration_s)
            if request.startup in context.cycle.blocked:
                why = TypedMessage("position.nothing-kept", _closed(context, request)[2].facts)
            of, met_s = len(waiting), request.met_s
            yield QueuePosition(request, 0, of, "nothing", met_s, why, context.now_s)


Wait = tuple[str, int | None, TypedMessage]
"""What a request waits for, until when, and the message that says why."""


def _waits(
    context: QueueContext, request: Request, share: Share | None, target: int, free: int
) -> Wait:
    """What an open request waits for."""
    startup = context.program.startup(request.startup)
    if request.startup in context.cycle.blocked:
        return _closed(context, request)
    if share is None:
        starts_s = context.program.cohort(startup.cohort).starts_s if startup else context.now_s
        expected_s = starts_s if starts_s > context.now_s else None
        return "cohort", expected_s, TypedMessage("position.cohort", None)
    if share.share < target:
        return _beyond_share(context, request, share, target)
    missing = target - share.usage
    if missing <= free:
        return "nothing", context.now_s, TypedMessage("position.free", None)
    holders = [overuse for overuse in context.overuses if overuse.owner is not None]
    freed = [*_given_back(context, request.startup), *_ends(context, request, "usage")]
    expected_s = _instant(context, missing - free, freed)
    if not holders:
        return "capacity", expected_s, TypedMessage("position.in-use", None)
    kept = (_why_kept(context, each, request.startup) for each in holders if expected_s is None)
    borrowers = tuple((each.startup, each.gpus) for each in holders)
    lent = Lent(borrowers, tuple(each for each in kept if each is not None))
    return "lent-quota", expected_s, TypedMessage("position.lent", lent)


def _closed(context: QueueContext, request: Request) -> Wait:
    """Its startup may start nothing, so that nothing is kept or taken back for it."""
    found = context.cycle.blocked[request.startup]
    kind = {"credits": "credits", "cohort-end": "cohort"}.get(found.rule, "limit")
    until = getattr(found.facts, "until_s", None)
    if kind == "credits":
        until = context.snapshot.balances[request.startup].later_s
    return kind, until, TypedMessage("position.closed", found)


def _why_kept(context: QueueContext, overuse: Overuse, owner: str) -> TypedMessage | None:
    """Why nothing says when a borrower will give way; None where its servers have notices."""
    snapshot, startup, mode = context.snapshot, overuse.startup, context.program.mode
    kept = Kept(startup, owner, context.pool, mode)
    if mode is not Mode.ENFORCE:
        return TypedMessage("kept.mode", kept)
    override = snapshot.overrides.stop_freeze(startup)
    if override is not None:
        return TypedMessage("kept.freeze", replace(kept, facts=override.facts))
    override = snapshot.overrides.on("exempt", startup)
    if override is not None:
        return TypedMessage("kept.exempt", replace(kept, facts=override.facts))
    against = _against(context, startup, owner)
    if against is not None:
        return TypedMessage("kept.obstacle", replace(kept, facts=against))
    own = [notice for notice in context.notices if notice.startup == startup]
    if any(notice.state is NoticeState.DEFERRED for notice in own):
        return TypedMessage("kept.deferred", kept)
    return None if own else TypedMessage("kept.no-notice", kept)


def _beyond_share(context: QueueContext, request: Request, share: Share, target: int) -> Wait:
    """It may not have that much now: its own bounds, or what the pool has."""
    startup = context.program.startup(request.startup)
    kind = WAITS_FOR.get(share.limited_by, "capacity")
    why = TypedMessage(f"position.{kind}", share.limited_by)
    if kind == "credits":
        later = [g.effective_s for g in startup.grants] if startup else []
        return kind, min((s for s in later if s > context.now_s), default=None), why
    if kind == "limit":
        return kind, None, why
    freed = [*_reserved(context, request), *_ends(context, request, "share")]
    return kind, _instant(context, target - share.share, freed), why


def _given_back(context: QueueContext, owner: str) -> Iterable[FutureCapacity]:
    """What notices of reclaims free for an owner, where nothing holds them back."""
    if context.program.mode != "enforce":
        return
    gpus = {run.server_id: run.gpus for run in context.snapshot.runs.values() if run.end_s is None}
    overrides = context.snapshot.overrides
    borrowers = {n.startup for n in context.notices if not overrides.stop_freeze(n.startup)}
    free_to_go = {name for name in borrowers if not _against(context, name, owner)}
    for notice in context.notices:
        if notice.startup in free_to_go and notice.state in _UNDER_WAY:
            yield max(notice.deadline_s, context.now_s), gpus.get(notice.server_id, 0)


def _against(context: QueueContext, borrower: str, owner: str) -> reclaim.Obstacle | None:
    """Why a borrower's servers would not serve the owner. Without sweeps nobody knows."""
    is_swept = bool(context.snapshot.sweeps)
    return reclaim.obstacle(context.cycle, context.pool, borrower, owner) if is_swept else None


def _reserved(context: QueueContext, request: Request) -> Iterable[FutureCapacity]:
    """What others asked for and do not run, when their requests end."""
    for other in context.requests:
        share = context.shares.get(other.startup)
        if share is not None and other.startup != request.startup:
            idle = max(0, share.share - share.usage)
            yield other.ends_s, min(other.gpus, idle)


def _ends(context: QueueContext, request: Request, field: str) -> Iterable[FutureCapacity]:
    """What other cohorts leave when they end, and what the pool grows by."""
    startup = context.program.startup(request.startup)
    for cohort in context.program.cohorts:
        if startup is not None and cohort.name == startup.cohort:
            continue  # the request ends with it
        own = [context.shares[s.name] for s in cohort.startups if s.name in context.shares]
        yield cohort.ends_s, sum(getattr(share, field) for share in own)
    for pool in context.program.pools:
        if pool.name == context.pool:
            for from_s, gpus in pool.capacity:
                yield from_s, gpus - pool.gpus_at(from_s - 1)


def _instant(context: QueueContext, missing: int, freed: Iterable[FutureCapacity]) -> int | None:
    """The first instant by which so many GPUs are free; None where none is known."""
    for at_s, gpus in sorted(each for each in freed if each[0] >= context.now_s):
        missing -= gpus
        if missing <= 0:
            return at_s
    return None

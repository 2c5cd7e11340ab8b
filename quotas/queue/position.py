"""What does a request wait for, at which place in line, and when can it be expected to be met?

Nothing is promised here that is not known: an instant is given where GPUs are free now, or
will be by notices, ends and steps of capacity that stand today; else it is not known, and
where a borrower keeps what is asked back, it is said why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quotas.decisions.causes import level_from
from quotas.decisions.notices import Notice
from quotas.decisions.sentences import BOUNDS, SHORT, Inputs
from quotas.decisions.sentences import obstacle as because
from quotas.decisions.snapshot import Excess, Snapshot
from quotas.model.program import Program
from quotas.model.units import format_instant
from quotas.queue.claims import free_gpus
from quotas.queue.demand import held
from quotas.queue.requests import Request, in_order
from quotas.rules.reclaim import BORROWED, obstacle
from quotas.shares.allocation import Share

Freed = tuple[int, int]
"""An instant, and GPUs that are free from then on."""

_KINDS = {"credits": "credits", "lending_limit": "capacity"}
"""What a share is limited by, as a kind of waiting; other bounds are limits."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A live request with its place in its pool's line and what it waits for.

    `waits_for` is one of nothing, lent-quota, capacity, credits, limit, cohort; `expected_s`
    is None where it is not known. A request that is met has place 0; those of who may start
    nothing are last.
    """

    request: Request
    place: int
    of: int
    waits_for: str
    expected_s: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Hall:
    """What the requests of one pool are measured against.

    `free` are GPUs that nobody runs, `notices` those of the pool's reclaims that live, `held`
    is what lets a startup start nothing.
    """

    snapshot: Snapshot
    pool: str
    shares: Mapping[str, Share]
    requests: Sequence[Request]
    excesses: Sequence[Excess]
    notices: Sequence[Notice]
    held: Mapping[str, Inputs]
    free: int

    @property
    def program(self) -> Program:
        """The program in force."""
        return self.snapshot.program

    @property
    def now_s(self) -> int:
        """The instant that is told of."""
        return self.snapshot.now_s


def standings(
    snapshot: Snapshot,
    requests: Iterable[Request],
    shares: Iterable[Share],
    excesses: Iterable[Excess],
    notices: Iterable[Notice],
) -> tuple[Standing, ...]:
    """Every live request with its standing: pool by pool in the order of the line, met last.

    All but the snapshot are as its cycle leaves them; `notices` are the live ones.
    """
    by_pool: dict[str, list[Request]] = defaultdict(list)
    for request in in_order(each for each in requests if each.is_live):
        by_pool[request.pool].append(request)
    shares, excesses, notices = tuple(shares), tuple(excesses), tuple(notices)
    names = {each.startup for own in by_pool.values() for each in own}
    closed = {name: why for name in names if (why := held(snapshot, name)) is not None}
    free = free_gpus(snapshot, shares, [each for own in by_pool.values() for each in own])
    found: list[Standing] = []
    for pool, asked in sorted(by_pool.items()):
        own = {share.startup: share for share in shares if share.pool == pool}
        given = [excess for excess in excesses if excess.pool == pool]
        of = [n for n in notices if n.rule == BORROWED and n.cause.split(":")[1] == pool]
        hall = Hall(snapshot, pool, own, asked, given, of, closed, free.get(pool, 0))
        found += _line(hall)
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
        key=lambda e: (e.startup in hall.held, _beyond_nominal(hall, e, targets[e.id])),
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
            if request.startup in hall.held:
                text = f"met; nothing is kept for it: {_closed(hall, request)[2]}"
            yield Standing(request, 0, len(waiting), "nothing", request.met_s, text)


def _beyond_nominal(hall: Hall, request: Request, target: int) -> bool:
    startup = hall.program.startup(request.startup)
    return startup is None or target > startup.nominal.get(hall.pool, 0)


def _waits(
    hall: Hall, request: Request, share: Share | None, target: int, free: int
) -> tuple[str, int | None, str]:
    """Kind, instant and words of what an open request waits for."""
    startup = hall.program.startup(request.startup)
    if request.startup in hall.held:
        return _closed(hall, request)
    if share is None:
        starts_s = hall.program.cohort(startup.cohort).starts_s if startup else hall.now_s
        expected_s = starts_s if starts_s > hall.now_s else None
        return "cohort", expected_s, "its cohort has not started"
    if share.share < target:
        return _beyond_share(hall, request, share, target)
    missing = target - share.usage
    if missing <= free:
        return "nothing", hall.now_s, "the GPUs are free, start the servers"
    holders = [excess for excess in hall.excesses if excess.owner is not None]
    expected_s = _instant(
        hall, missing - free, [*_given_back(hall, request.startup), *_ends(hall, request, "usage")]
    )
    if not holders:
        return "capacity", expected_s, "the pool's GPUs are in use"
    lent = ", ".join(f"{each.startup} ({each.gpus})" for each in holders)
    kept = [_kept(hall, each, request.startup) for each in holders] if expected_s is None else []
    return (
        "lent-quota",
        expected_s,
        "; ".join([f"its quota is lent to {lent}", *filter(None, kept)]),
    )


def _closed(hall: Hall, request: Request) -> tuple[str, int | None, str]:
    """Its startup may start nothing, so that nothing is kept or taken back for it."""
    found = hall.held[request.startup]
    level, why = level_from(found)
    kinds = {"credits": "credits", "tranche": "credits", "time": "cohort"}
    until = found.get("later_s", found.get("until_s"))
    kind = kinds.get(str(found["by"]), "limit")
    return kind, None if until is None else int(until), f"it is {level} and asks for nothing: {why}"


def _kept(hall: Hall, excess: Excess, owner: str) -> str:
    """Why nothing says when a borrower will give way; empty where its servers have notices."""
    snapshot, startup = hall.snapshot, excess.startup
    if hall.program.mode != "enforce":
        return f"in mode {hall.program.mode} nothing is stopped"
    word = snapshot.words.holding(startup)
    if word is not None:
        return f"stops of {startup} wait: {word.text}"
    word = snapshot.words.on("exempt", startup)
    if word is not None:
        return f"{startup} is exempt: {word.text}"
    against = _against(hall, startup, owner)
    if against is not None:
        return because({"pool": hall.pool, "owner": owner, **against})
    own = [notice for notice in hall.notices if notice.startup == startup]
    if any(notice.state == "held" for notice in own):
        return f"the guard holds a stop of {startup}"
    return "" if own else f"no server of {startup} has a notice"


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
    freed = [*_reserved(hall, request), *_ends(hall, request, "share")]
    return kind, _instant(hall, target - share.share, freed), why


def _given_back(hall: Hall, owner: str) -> Iterable[Freed]:
    """What notices of reclaims free for an owner, where nothing holds them back."""
    if hall.program.mode != "enforce":
        return
    gpus = {run.server_id: run.gpus for run in hall.snapshot.runs.values() if run.end_s is None}
    free_to_go = {
        startup
        for startup in {notice.startup for notice in hall.notices}
        if not hall.snapshot.words.holding(startup) and not _against(hall, startup, owner)
    }
    for notice in hall.notices:
        if notice.startup in free_to_go and notice.state in {"open", "executing"}:
            yield max(notice.deadline_s, hall.now_s), gpus.get(notice.server_id, 0)


def _against(hall: Hall, borrower: str, owner: str) -> Inputs | None:
    """Why a borrower's servers would not serve the owner; of the book alone it is not known."""
    return obstacle(hall.snapshot, hall.pool, borrower, owner) if hall.snapshot.sweeps else None


def _reserved(hall: Hall, request: Request) -> Iterable[Freed]:
    """What others asked for and do not run, when their requests end."""
    for other in hall.requests:
        share = hall.shares.get(other.startup)
        if share is not None and other.startup != request.startup:
            idle = max(0, share.share - share.usage)
            yield other.ends_s(hall.program.policy.longest_wait_s), min(other.gpus, idle)


def _ends(hall: Hall, request: Request, field: str) -> Iterable[Freed]:
    """What other cohorts leave when they end, and what the pool grows by."""
    startup = hall.program.startup(request.startup)
    for cohort in hall.program.cohorts:
        if startup is not None and cohort.name == startup.cohort:
            continue  # the request ends with it
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

"""Reclaim: take lent GPUs back for an owner who waits for its nominal quota.

The fewest and newest servers of borrowers get a notice, where stopping them serves the owner.
`obstacle` says where it would not: Scaleway would keep the slot, no server has a flavor that
the owner can use, or a zone of the pool is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from quotas.metering.runs import Run
from quotas.model.program import Pool
from quotas.rules.context import Context, StopRule, Violation, newest_first
from quotas.shares.claims import WaitingOwners
from quotas.state.facts import DecisionFacts, OverrideFacts
from quotas.state.snapshot import UNREAD, Overuse

IN_STOCK = ("available", "scarce")
"""The provider's words for a type that it has; any other is taken for a shortage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """Who waits for what a borrower runs above its share, and the server that gives way."""

    startup: str
    owner: str
    pool: str
    overuse_gpus: int
    server: str
    gpus: int

    def holds(self) -> bool:
        """Whether the borrower runs more than its share."""
        return self.overuse_gpus > 0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why evicting a borrower would not serve an owner now: a code, and what it follows from."""

    code: str
    stock: str | None = None
    shortage: OverrideFacts | None = None


def find(context: Context) -> Iterable[Violation]:
    """The fewest newest servers of borrowers whose GPUs an owner waits for and can use.

    They free no more than owners lack beyond the free GPUs, and no obstacle stands against them.
    A reclaim that waits for the provider's stock is found too (see `suspended_episodes`). A
    server keeps its minimum runtime.
    """
    minimum_s = context.policy.minimum_runtime_s
    for pool, waiting_owners in sorted(context.waiting.items()):
        overuses = [each for each in context.overuses if each.pool == pool]
        for overuse, run in _servers_to_reclaim(context, overuses, waiting_owners):
            owner = overuse.owner or ""
            server = {"server": run.server_name, "gpus": run.gpus}
            facts = Facts.of(overuse, owner=owner, overuse_gpus=overuse.gpus, **server)
            deadline_s = max(overuse.deadline_s, run.up_since_s + minimum_s)
            yield Violation(run, RULE.name, episode_of(pool, owner), deadline_s, facts)


def episode_of(pool: str, owner: str) -> str:
    """Names a reclaim: all servers of a pool that give way to one owner."""
    return f"reclaim:{pool}:{owner}"


def pool_of_episode(episode: str) -> str:
    """The pool that the episode of a reclaim names."""
    return episode.split(":")[1]


def suspended_episodes(context: Context) -> frozenset[str]:
    """Reclaims for which the provider did not say what it has: neither yes nor no.

    No notice is opened and nothing is sent for them. Their open notices stay open.
    """
    return frozenset(
        episode_of(pool.name, owner)
        for pool in context.snapshot.program.pools
        if pool.backing == "on-demand" and pool.name in context.waiting
        for owner in context.waiting[pool.name].missing
        if _stock(context, pool, owner) == UNREAD
    )


def obstacle(context: Context, pool_name: str, borrower: str, owner: str) -> Obstacle | None:
    """Why evicting the borrower would not serve the owner now; None where it would."""
    if pool_name in context.pools_with_unknown_zones:
        return Obstacle("unknown-zone")
    pool = next(each for each in context.snapshot.program.pools if each.name == pool_name)
    short = context.snapshot.overrides.on("shortage", pool.name)
    if pool.backing == "on-demand" and short is not None:
        return Obstacle("shortage", shortage=short.facts)
    stock = _stock(context, pool, owner)
    if pool.backing == "on-demand" and stock is not None:
        return Obstacle("stock", stock=stock)
    if not _usable(context, pool.name, borrower, owner):
        return Obstacle("flavor")
    return None


def _stock(context: Context, pool: Pool, owner: str) -> str | None:
    """The provider's word for having nothing that the owner can use; None if it has something.

    A flavor whose stock was not asked for is no obstacle. A flavor whose stock could not be read
    is one, and goes before a shortage of others, because the provider may have it.
    """
    startup = context.snapshot.program.startup(owner)
    flavors = (startup.flavors.get(pool.name) if startup else None) or pool.flavors
    stock_words = {context.snapshot.stock.get(flavor, IN_STOCK[0]) for flavor in flavors}
    if stock_words & set(IN_STOCK):
        return None
    return UNREAD if UNREAD in stock_words else min(stock_words, default=None)


def _servers_to_reclaim(
    context: Context, overuses: list[Overuse], waiting_owners: WaitingOwners
) -> Iterator[tuple[Overuse, Run]]:
    """The servers that give way, owner by owner in the order of the queue.

    A frozen startup frees nothing for now, so other borrowers give way as well.
    """
    left = {each.startup: each.gpus for each in overuses}
    taken: set[str] = set()
    free = waiting_owners.free
    for owner, missing in waiting_owners.missing.items():
        own = [replace(each, owner=owner) for each in overuses]
        fit = [each for each in own if _may_serve(context, each)]
        need = missing - free if fit else 0
        for overuse, runs in _by_preference(context, fit, owner):
            usable = [run for run in runs if run.id not in taken]
            for run in _chosen(usable, min(left[overuse.startup], need)):
                taken.add(run.id)
                left[overuse.startup] -= run.gpus
                is_frozen = context.snapshot.overrides.on("freeze", overuse.startup) is not None
                need -= 0 if is_frozen else run.gpus
                yield overuse, run
        free = max(0, -need) if fit else free


def _may_serve(context: Context, overuse: Overuse) -> bool:
    """Whether evicting the borrower serves the owner, or may serve it: the stock is not known."""
    against = obstacle(context, overuse.pool, overuse.startup, overuse.owner or "")
    return against is None or against.stock == UNREAD


def _by_preference(
    context: Context, fit: list[Overuse], owner: str
) -> Iterator[tuple[Overuse, list[Run]]]:
    """The servers that would serve the owner: those with a notice first, then the others.

    Each time the startup most above its share comes first. A server that was chosen thus stays
    chosen while it is enough. Exempt servers are left out.
    """
    snapshot = context.snapshot
    noticed = {n.server_id for n in snapshot.notices if n.rule == RULE.name}
    order = sorted(fit, key=lambda each: (-each.gpus, each.startup))
    for has_notice in (True, False):
        for overuse in order:
            runs = _usable(context, overuse.pool, overuse.startup, owner)
            runs = [run for run in runs if (run.server_id in noticed) is has_notice]
            free = [run for run in runs if not snapshot.exemption(run.startup, run.server_id)]
            yield overuse, free


def _usable(context: Context, pool_name: str, borrower: str, owner: str) -> list[Run]:
    """The borrower's running servers that would serve the owner, the newest first."""
    program = context.snapshot.program
    startup = program.startup(owner)
    if startup is None:
        return []
    pool_flavors = {f for p in program.pools if p.name == pool_name for f in p.flavors}
    flavors = startup.flavors.get(pool_name) or pool_flavors
    runs = [r for r in context.running_by_startup.get(borrower, ()) if r.flavor in flavors]
    return newest_first(runs)


def _chosen(left: list[Run], need: int) -> list[Run]:
    """The fewest that free enough, as early in the order as possible; all if none suffice."""
    count = _fewest([run.gpus for run in left], need)
    chosen: list[Run] = []
    while count and left and need > 0:
        first, *left = left
        largest = sorted((run.gpus for run in left), reverse=True)[: count - 1]
        if first.gpus + sum(largest) >= need or len(left) < count:
            chosen.append(first)
            need -= first.gpus
            count -= 1
    return chosen


def _fewest(sizes: list[int], need: int) -> int:
    """How many of the largest it takes; all if they are not enough together."""
    totals = accumulate(sorted(sizes, reverse=True))
    return next((count for count, total in enumerate(totals, 1) if total >= need), len(sizes))


RULE = StopRule(name="reclaim", facts=Facts, find=find)

"""Claims: the owners whose nominal quota waits, the GPUs that each misses, and the free GPUs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from quotas.shares.allocation import Share, Usage, refused_gpus, requests_in_demand
from quotas.state.requests import Request, in_order, refused_at
from quotas.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class WaitingOwners:
    """The waiting owners of a pool with the GPUs that each misses, in the order of their requests.

    `free` are the pool's free GPUs, fewer than they miss together; below 0 if more run than it has.
    """

    missing: Mapping[str, int]
    free: int


def find_waiting_owners(
    snapshot: Snapshot, shares: Iterable[Share], usage: Usage, blocked: Collection[str]
) -> dict[str, WaitingOwners]:
    """Startups whose nominal demand waits, by pool; nobody waits if the free GPUs are enough."""
    shares = tuple(shares)
    missing_by_pool: dict[str, dict[str, int]] = defaultdict(dict)
    for share in shares:
        missing = min(share.share, share.nominal) - share.usage
        if missing > 0:
            missing_by_pool[share.pool][share.startup] = missing
    requests = list(enumerate(in_order(snapshot.requests)))
    order = {(r.startup, r.pool): at for at, r in reversed(requests)}
    free = free_gpus(snapshot, shares, usage, requests_in_demand(snapshot.requests, blocked))
    found = {}
    for pool, own in missing_by_pool.items():
        names = sorted(own, key=lambda name: (order.get((name, pool), len(order)), name))
        if sum(own.values()) > free[pool]:
            found[pool] = WaitingOwners({name: own[name] for name in names}, free[pool])
    return found


def free_gpus(
    snapshot: Snapshot, shares: Iterable[Share], usage: Usage, demanding: Iterable[Request]
) -> dict[str, int]:
    """GPUs of each pool that are free and that the provider's quota lets start.

    Every running server counts, also of startups that left. `demanding` are requests in demand.
    """
    parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    used: dict[str, int] = defaultdict(int)
    for share in shares:
        parts[share.pool].append((share.nominal, share.demand))
    for (_, pool_name), gpus in usage.items():
        used[pool_name] += gpus
    refused, found = refused_at(demanding), {}
    for pool in snapshot.program.pools:
        gpus = pool.gpus_at(snapshot.now_s)
        if pool.name in refused:
            gpus = refused_gpus(gpus, refused[pool.name], parts[pool.name])
        found[pool.name] = gpus - used[pool.name]
    return found

"""Demand: what startups ask of the pools, and the division of the pools at that demand.

Requests of closed or stopped startups no longer count as demand, so they reclaim nothing:
nobody gives way for GPUs that would idle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from quotas.shares.allocation import NamedLimits, Share, Usage, divide
from quotas.state.requests import Request, refused_at, requested_gpus
from quotas.state.snapshot import Snapshot


def requests_in_demand(
    requests: Iterable[Request], blocked: Collection[str]
) -> tuple[Request, ...]:
    """The live requests that are demand: of startups that may start something."""
    return tuple(each for each in requests if each.is_live and each.startup not in blocked)


def compute_shares(
    snapshot: Snapshot,
    usage: Usage,
    requests: Iterable[Request],
    blocked: Collection[str],
    limits: NamedLimits,
) -> tuple[Share, ...]:
    """The pools divided at what runs and what is asked for, under the limits of the paces."""
    demanding = requests_in_demand(requests, blocked)
    return divide(
        snapshot.program,
        snapshot.catalogue,
        snapshot.balances,
        usage,
        snapshot.now_s,
        requested_gpus(demanding),
        limits,
        refused_at(demanding),
    )

"""Demand: what startups ask of the pools, and the division of the pools at that demand.

Requests of closed or stopped startups no longer count as demand, so they reclaim nothing.
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
    """The shares at the usage and the requests in demand, under the limits of the paces."""
    demanding = requests_in_demand(requests, blocked)
    requested, refused = requested_gpus(demanding), refused_at(demanding)
    return divide(snapshot, usage, requested, limits, refused)

"""Who asks for what, and what does each get? The one division, for the cycle and for who looks.

Who may start nothing asks for nothing, whatever it requested: what it runs is its demand, and
nobody gives way for GPUs that would idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quotas.decisions.causes import level_from
from quotas.decisions.levels import restriction
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Snapshot
from quotas.queue.requests import Request, refused_at, requested_gpus
from quotas.rules.pace import Pace, pace_limits
from quotas.shares.allocation import Share, divide, usage_of


def blocking_restriction(snapshot: Snapshot, startup: str) -> Inputs | None:
    """What lets a startup start nothing now, as `levels.cause`; None where it may start some.

    Only causes that do not follow from shares close a startup, so this comes before them. In
    mode off nobody is held.
    """
    if startup not in snapshot.balances or snapshot.program.mode == "off":
        return None
    found = restriction(snapshot, startup)
    return found if level_from(found)[0] in {"closed", "stopped"} else None


def requests_in_demand(snapshot: Snapshot, requests: Iterable[Request]) -> tuple[Request, ...]:
    """The live requests that are demand: of those who may start something."""
    live = [request for request in requests if request.is_live]
    closed = {
        name
        for name in {r.startup for r in live}
        if blocking_restriction(snapshot, name) is not None
    }
    return tuple(request for request in live if request.startup not in closed)


def compute_shares(
    snapshot: Snapshot, found: Mapping[str, Pace], requests: Iterable[Request]
) -> tuple[Share, ...]:
    """The pools divided at what runs and what is asked for, under the limits of the paces."""
    demanding = requests_in_demand(snapshot, requests)
    return divide(
        snapshot.program,
        snapshot.catalogue,
        snapshot.balances,
        usage_of(snapshot.program, snapshot.runs.values()),
        snapshot.now_s,
        requested_gpus(demanding),
        pace_limits(snapshot, found),
        refused_at(demanding),
    )

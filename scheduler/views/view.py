"""The view of one cycle: the status that it leaves, with what it saw, decided and warns of."""

from __future__ import annotations

from collections.abc import Iterable

from quotas.book.cycle.lease import Lease
from quotas.enforcement.decide import DecideResult
from quotas.messages.catalogue import render
from quotas.state.notices import servers_seen
from quotas.state.snapshot import Snapshot
from quotas.view import ProgramStatus, View, ZoneView


def build_view(
    status: ProgramStatus,
    snapshot: Snapshot,
    decided: DecideResult,
    lease: Lease,
    price_alarms: tuple[str, ...],
    other_alarms: Iterable[str],
) -> View:
    """The view that is published: metrics and demo show it."""
    changed = {intent.id for intent in decided.intents}
    return View(
        status=status,
        epoch=lease.epoch,
        zones=tuple(
            ZoneView(zone, type(sweep).__name__.lower(), snapshot.confirmed.get(zone))
            for zone, sweep in sorted(snapshot.sweeps.items())
        ),
        decisions=decided.decisions,
        edges=decided.edges,
        alarms=(
            *price_alarms,
            *other_alarms,
            *_run_alarms(status),
            *_unlisted_types(snapshot),
            *map(render, decided.stop_problems),
        ),
        price_alarms=len(price_alarms),
        intents=(*(i for i in snapshot.intents if i.id not in changed), *decided.intents),
        deferred_gpus=decided.deferred_gpus,
    )


def _run_alarms(status: ProgramStatus) -> Iterable[str]:
    """Running servers that cannot be charged yet, or that no pool counts."""
    for startup in status.startups:
        for run in startup.runs:
            if run.rate_ucr_per_h is None:
                yield f"{run.flavor} has no accepted price: {run.server_name} is not charged yet"
            if status.program.pool_of(run.flavor) is None:
                yield f"{run.server_name} ({run.flavor}) of {run.startup} belongs to no pool"


def _unlisted_types(snapshot: Snapshot) -> Iterable[str]:
    """Startups' billable servers of a type that no catalogue lists: it may have GPUs."""
    for server in servers_seen(snapshot.sweeps.values()).values():
        owner = snapshot.program.owner(server.project_id, snapshot.now_s)
        if owner and server.is_billable and server.flavor not in snapshot.catalogue.gpus:
            yield f"{server.name} of {owner.name} is a {server.flavor}, which no catalogue lists"

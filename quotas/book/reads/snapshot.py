"""The snapshot that decisions and views are made from: one builder for all of them.

The cycle passes the state as its commit will leave it, with what it saw of the cloud. The API,
the portal and `cohortd status` pass the state as it was read, and nothing from the cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from quotas.book.cycle.state import BookState
from quotas.ledger.balance import balances_of
from quotas.metering.stop_latency import reserves_s
from quotas.model.observation import Sweep
from quotas.state.overrides import Overrides, with_effective_mode
from quotas.state.snapshot import Snapshot, announced_in_mode
from quotas.state.zones import open_zones, with_zones


def in_force(state: BookState, now_s: int) -> BookState:
    """The state with the mode and the prices in force at an instant, and every zone to sweep."""
    assert state.program is not None
    program = with_zones(state.program, open_zones(state.runs, state.notices, state.intents))
    program = with_effective_mode(program, Overrides(state.enforcement.overrides, now_s))
    return replace(state, program=program, catalogue=state.catalogue.at(now_s))


def build_snapshot(
    state: BookState,
    now_s: int,
    cycle_s: int,
    sweeps: Mapping[str, Sweep],
    stock: Mapping[str, str],
) -> Snapshot:
    """The snapshot of a state that is `in_force`."""
    assert state.program is not None
    program = state.program
    names = {s.name for s in program.startups()} | {grant.startup for grant in state.grants}
    names |= {run.startup for run in state.runs}
    measured, reserved_s = reserves_s(program.policy, names, state.runs, state.stops, cycle_s)
    return Snapshot(
        now_s=now_s,
        program=program,
        catalogue=state.catalogue,
        sweeps=sweeps,
        confirmed=state.confirmed,
        runs={run.id: run for run in state.runs},
        balances=balances_of(
            reserved_s, now_s, state.grants, state.runs, state.confirmed, state.holds
        ),
        notices=state.notices,
        intents=state.intents,
        announced=announced_in_mode(state.announced, program.mode),
        stop_latency_s=program.policy.stop_latency_s,
        measured_latency_s=measured,
        requests=state.requests,
        overuses=state.overuses,
        recent=state.recent,
        charged=state.charged,
        enforcement=state.enforcement,
        undelivered=state.undelivered,
        tokens=tuple(t for t in state.unexpired_tokens if t.state(now_s) == "active"),
        stock=stock,
    )

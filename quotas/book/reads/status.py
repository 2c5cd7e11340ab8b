"""The snapshot that decisions are made from, and the status of the program that everybody reads.

The cycle passes the state as its commit will leave it, with what it saw of the cloud and what it
decided. The API, the portal and `cohortd status` pass the state as it was read,
and `undecided`: the same shares, paces and levels, and nothing that changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from quotas.book.cycle.state import BookState
from quotas.decisions.queue_position import queue_positions
from quotas.enforcement.decide import DecideResult
from quotas.iam.closing import ClosingView, closing_views
from quotas.ledger.balance import CYCLE_S, balances_of, by_startup
from quotas.messages.catalogue.rules import level_text
from quotas.metering.runs import Run
from quotas.metering.stop_latency import reserves_s
from quotas.model.observation import Sweep
from quotas.rules.prepare import prepare
from quotas.state.notices import LIVE_NOTICES, Notice
from quotas.state.overrides import Overrides, with_effective_mode
from quotas.state.snapshot import Snapshot, announced_in_mode
from quotas.state.zones import known_until_s, open_zones, with_zones
from quotas.view import PoolStatus, ProgramStatus, StartupStatus

OFF = ("open", "the program's mode is off")


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
    open_books = (state.grants, state.runs, state.confirmed, state.holds)
    return Snapshot(
        now_s=now_s,
        program=program,
        catalogue=state.catalogue,
        sweeps=sweeps,
        confirmed=state.confirmed,
        runs={run.id: run for run in state.runs},
        balances=balances_of(reserved_s, now_s, *open_books),
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
        stock=stock,
    )


def read_status(state: BookState, now_s: int, cycle_s: int = CYCLE_S) -> ProgramStatus:
    """The program at an instant, or at the last instant that the book knows if that is later."""
    now_s = max([now_s, *state.confirmed.values()])  # a kept demo's book lies in the future
    state = in_force(state, now_s)
    snapshot = build_snapshot(state, now_s, cycle_s, {}, {})
    closings = closing_views(state.closing_history)
    return build_status(state, snapshot, undecided(snapshot), closings)


def undecided(snapshot: Snapshot) -> DecideResult:
    """A result that changes nothing: what follows from the snapshot as it is.

    The overuses stay those of the last cycle, because the book alone does not show the servers.
    """
    context = replace(prepare(snapshot, snapshot.requests), overuses=snapshot.overuses)
    return DecideResult(context=context, decisions=(), notices=(), intents=(), edges=())


def build_status(
    state: BookState, snapshot: Snapshot, decided: DecideResult, closings: tuple[ClosingView, ...]
) -> ProgramStatus:
    """The program as a decision leaves it."""
    program, now_s = snapshot.program, snapshot.now_s
    requests = {each.id: each for each in (*snapshot.requests, *decided.requests)}
    current = {n.subject: n for n in (*snapshot.notices, *decided.notices)}
    notices = tuple(n for n in current.values() if n.state in LIVE_NOTICES)
    running = [r for r in sorted(snapshot.runs.values(), key=lambda r: r.id) if r.end_s is None]
    used: Counter[str] = Counter()
    for run in running:
        pool = program.pool_of(run.flavor)
        if pool is not None:
            used[pool.name] += run.gpus
    return ProgramStatus(
        at_s=now_s,
        known_until_s=known_until_s(program, snapshot.confirmed),
        program=program,
        startups=_startups(state, snapshot, decided, running, notices),
        pools=tuple(PoolStatus(p.name, p.gpus_at(now_s), used[p.name]) for p in program.pools),
        shares=decided.context.shares,
        requests=queue_positions(decided.context, requests.values(), notices),
        overuses=decided.context.overuses,
        notices=notices,
        overrides=snapshot.overrides.active(),
        closings=closings,
        stop_latency_s=snapshot.measured_latency_s,
        overdraft=state.overdraft,
    )


def _startups(
    state: BookState,
    snapshot: Snapshot,
    decided: DecideResult,
    running: Iterable[Run],
    notices: Iterable[Notice],
) -> tuple[StartupStatus, ...]:
    program, restrictions = snapshot.program, decided.context.restrictions
    runs, own_notices = by_startup(running), by_startup(notices)
    shares = by_startup(decided.context.shares)
    found = []
    for name, balance in snapshot.balances.items():
        entry = program.startup(name)
        level, why = level_text(restrictions[name]) if name in restrictions else OFF
        status = StartupStatus(
            name=name,
            cohort=program.cohort(entry.cohort) if entry else None,
            balance=balance,
            charged_ucr=snapshot.charged.get(name, 0),
            unconfirmed_ucr=state.unconfirmed.get(name, 0),
            runs=tuple(runs.get(name, ())),
            level=level,
            level_reason=why,
            pace=decided.context.paces.get(name),
            shares=tuple(shares.get(name, ())),
            notices=tuple(own_notices.get(name, ())),
        )
        found.append(status)
    return tuple(found)

"""How do the parts of a cycle become the snapshot it decides from, and the view it shows?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from quotas.book.cycle.lease import Lease
from quotas.book.cycle.state import BookState
from quotas.decisions.notices import LIVE_NOTICES, servers_seen
from quotas.decisions.snapshot import Snapshot, announced_in_mode
from quotas.enforcement.decide import DecideResult
from quotas.iam.closing import ClosingView
from quotas.ledger.balance import balances_of
from quotas.ledger.posting import Posting
from quotas.ledger.transfers import overdraft_account, usage_account
from quotas.metering.runs import Metered, Run
from quotas.metering.stop_latency import reserves_s
from quotas.model.observation import Sweep
from quotas.model.program import Program
from quotas.queue.position import queue_positions
from quotas.view import PoolView, StartupView, View, ZoneView
from scheduler.observe.zones import sweep_outcomes


def build_snapshot(
    state: BookState,
    sweeps: Mapping[str, Sweep],
    metered: Metered,
    posting: Posting,
    now_s: int,
    cycle_s: int,
    stock: Mapping[str, str],
) -> Snapshot:
    """What this cycle decides from: the books as they will stand after its commit."""
    assert state.program is not None
    program = state.program
    policy = program.policy
    names = {s.name for s in program.startups()} | {g.startup for g in posting.grants}
    names |= {run.startup for run in posting.runs.values()}
    measured, reserved_s = reserves_s(policy, names, posting.runs.values(), state.stops, cycle_s)
    confirmed = dict(metered.confirmed)
    return Snapshot(
        now_s=now_s,
        program=program,
        catalogue=state.catalogue,
        sweeps=sweeps,
        confirmed=confirmed,
        runs=posting.runs,
        balances=balances_of(
            reserved_s,
            now_s,
            posting.grants,
            posting.runs.values(),
            confirmed,
            posting.holds,
        ),
        notices=state.notices,
        intents=state.intents,
        announced=announced_in_mode(state.announced, program.mode),
        stop_latency_s=policy.stop_latency_s,
        measured_latency_s=measured,
        requests=state.requests,
        overuses=state.overuses,
        recent=state.recent,
        charged=_charged(state, posting),
        enforcement=state.enforcement,
        undelivered=state.undelivered,
        stock=stock,
    )


def build_view(
    state: BookState,
    snapshot: Snapshot,
    posting: Posting,
    decided: DecideResult,
    lease: Lease,
    prices: Sequence[str],
    closings: tuple[ClosingView, ...],
    closing_alarms: Iterable[str],
) -> View:
    """The program as this cycle leaves it, with what is wrong with prices and with closings."""
    program, now_s = snapshot.program, snapshot.now_s
    running: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(posting.runs.values(), key=lambda each: each.id):
        if run.end_s is None:
            running[run.startup].append(run)
    requests = {each.id: each for each in (*snapshot.requests, *decided.requests)}
    changed = {intent.id for intent in decided.intents}
    live = {n.subject: n for n in (*snapshot.notices, *decided.notices)}
    notices = tuple(n for n in live.values() if n.state in LIVE_NOTICES)
    return View(
        at_s=now_s,
        mode=program.mode,
        epoch=lease.epoch,
        startups=_startups(state, snapshot, posting, decided, running),
        pools=tuple(
            PoolView(pool.name, pool.gpus_at(now_s), _used(running, pool.flavors))
            for pool in program.pools
        ),
        zones=tuple(
            ZoneView(zone, outcome, snapshot.confirmed.get(zone))
            for zone, outcome in sweep_outcomes(snapshot.sweeps).items()
        ),
        shares=decided.shares,
        closings=closings,
        requests=queue_positions(decided.context, requests.values(), notices),
        overuses=decided.current_overuses,
        deferred_gpus=decided.deferred_gpus,
        notices=notices,
        decisions=decided.decisions,
        pool_of={flavor: pool.name for pool in program.pools for flavor in pool.flavors},
        edges=decided.edges,
        stop_latency_s=snapshot.measured_latency_s,
        overdraft=_overdraft(state, posting),
        intents=(*(i for i in snapshot.intents if i.id not in changed), *decided.intents),
        price_alarms=len(prices),
        alarms=(
            *prices,
            *closing_alarms,
            *_alarms(program, running),
            *_unknown_types(state, snapshot),
            *decided.stop_problems,
        ),
        overrides=snapshot.overrides.active(),
    )


def _charged(state: BookState, posting: Posting) -> dict[str, int]:
    """What usage has cost each startup, this cycle's charges included."""
    charged = dict(state.charged)
    for transfer in posting.transfers:
        for entry in transfer.entries:
            if entry.account == usage_account(transfer.startup):
                charged[transfer.startup] = charged.get(transfer.startup, 0) + entry.amount_ucr
    return charged


def _overdraft(state: BookState, posting: Posting) -> dict[str, int]:
    """What the sponsor paid beyond grants, by cohort, this cycle's charges included."""
    total = defaultdict(int, state.overdraft)
    for transfer in posting.transfers:
        for entry in transfer.entries:
            if entry.account == overdraft_account(transfer.cohort):
                total[transfer.cohort] -= entry.amount_ucr
    return dict(total)


def _startups(
    state: BookState,
    snapshot: Snapshot,
    posting: Posting,
    decided: DecideResult,
    running: Mapping[str, list[Run]],
) -> tuple[StartupView, ...]:
    found = []
    for name, own in snapshot.balances.items():
        entry_of = snapshot.program.startup(name)
        level, why = decided.levels.get(name, ("open", "the program's mode is off"))
        view = StartupView(
            name=name,
            cohort=entry_of.cohort if entry_of else "",
            level=level,
            level_reason=why,
            balance=own,
            charged_ucr=snapshot.charged.get(name, 0),
            unconfirmed_ucr=state.unconfirmed.get(name, 0),
            runs=tuple(running.get(name, ())),
            pace=decided.paces.get(name),
        )
        found.append(view)
    return tuple(found)


def _used(running: Mapping[str, list[Run]], flavors: tuple[str, ...]) -> int:
    return sum(run.gpus for runs in running.values() for run in runs if run.flavor in flavors)


def _alarms(program: Program, running: Mapping[str, list[Run]]) -> Iterable[str]:
    for runs in running.values():
        for run in runs:
            if run.rate_ucr_per_h is None:
                yield f"{run.flavor} has no accepted price: {run.server_name} is not charged yet"
            if program.pool_of(run.flavor) is None:
                yield f"{run.server_name} ({run.flavor}) of {run.startup} belongs to no pool"


def _unknown_types(state: BookState, snapshot: Snapshot) -> Iterable[str]:
    """Billable servers of ours whose type no catalogue lists: GPUs or not, nobody can tell."""
    for server in servers_seen(snapshot.sweeps.values()).values():
        owner = snapshot.program.owner(server.project_id, snapshot.now_s)
        if owner and server.is_billable and server.flavor not in state.catalogue.gpus:
            yield f"{server.name} of {owner.name} is a {server.flavor}, which no catalogue lists"

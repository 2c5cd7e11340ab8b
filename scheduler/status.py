"""What does `cohortd status` show? The book as it stands, without asking the cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from quotas.balances import Balance, balance
from quotas.book import Book, BookError
from quotas.book.history import expiring_next
from quotas.book.state import State, load, read_zones
from quotas.closing import ClosingView, closing_views
from quotas.division import divide, usage_of
from quotas.levels import level
from quotas.metering import Run
from quotas.notices import Notice
from quotas.pacing import Curve, allowance_ucr
from quotas.program import Program
from quotas.snapshot import Snapshot
from quotas.units import Period, format_credits, format_duration, format_instant
from scheduler.past import expiring_of


def status_of(book: Book, now_s: int) -> dict[str, Any]:
    """One JSON-ready value from one read: startups, pools, zones, notices, the sentence.

    Raises BookError before the first program was applied.
    """
    state, zones = load(book), read_zones(book)
    if state.program is None:
        raise BookError("no program is applied yet: 'cohortd apply --program FILE' does")
    program = state.program
    now_s = max([now_s, *state.confirmed.values()])  # a kept demo's book lies in the future
    known = format_instant(min(state.confirmed.values())) if state.confirmed else None
    policy = program.policy
    reserve_s = policy.minimum_notice_s + policy.stop_latency_s
    open_runs = [run for run in state.runs if run.end_s is None]
    names = {s.name for s in program.startups()} | {grant.startup for grant in state.grants}
    balances = {
        name: balance(name, now_s, state.grants, state.runs, dict(state.confirmed), reserve_s)
        for name in sorted(names)
    }
    snapshot = _snapshot(state, program, balances, now_s)
    startups = [
        _startup(snapshot, own, [r for r in open_runs if r.startup == name], state, now_s)
        for name, own in balances.items()
    ]
    usage = usage_of(program, open_runs)
    shares = divide(program, state.catalogue, balances, usage, now_s)
    gpus = sum(run.gpus for run in open_runs if program.pool_of(run.flavor))
    capacity = sum(pool.gpus_at(now_s) for pool in program.pools)
    return {
        "as_of": format_instant(now_s),
        "known_until": known,
        "mode": program.mode,
        "program": program.name,
        "sentence": f"{len(startups)} startups, {gpus} of {capacity} GPUs, {program.mode} mode, "
        f"{f'known until {known}' if known else 'no zone was read yet'}",
        "startups": startups,
        "shares": [asdict(share) for share in shares],
        "closings": [_closing(view) for view in closing_views(state.closings)],
        "notices": [_notice(notice) for notice in state.notices],
        "zones": [_zone(zone) for zone in zones],
    }


def _snapshot(
    state: State, program: Program, balances: Mapping[str, Balance], now_s: int
) -> Snapshot:
    return Snapshot(
        now_s=now_s,
        program=program,
        catalogue=state.catalogue,
        sweeps={},
        confirmed=state.confirmed,
        runs={run.id: run for run in state.runs},
        balances=balances,
        notices=state.notices,
        intents=state.intents,
        told=state.told,
        stop_latency_s=program.policy.stop_latency_s,
    )


def _startup(
    snapshot: Snapshot, own: Balance, runs: Iterable[Run], state: State, now_s: int
) -> dict[str, Any]:
    name, why = level(snapshot, own.startup)
    own_grants = [grant for grant in state.grants if grant.startup == own.startup]
    exhausted = format_instant(own.exhausted_s) if own.exhausted_s is not None else None
    lasts = format_duration(max(0, own.exhausted_s - now_s)) if own.exhausted_s else None
    return {
        "name": own.startup,
        "level": name,
        "reason": why,
        "granted": format_credits(own.granted_ucr),
        "charged": format_credits(state.charged.get(own.startup, 0)),
        "posted": format_credits(own.posted_ucr),
        "accrued": format_credits(own.accrued_ucr),
        "held": format_credits(own.held_ucr),
        "reserve": format_credits(own.reserve_ucr),
        "available": format_credits(own.available_ucr),
        "disputed": format_credits(state.disputed.get(own.startup, 0)),
        "allowance": format_credits(_allowance_ucr(snapshot, own)),
        "burn_per_hour": format_credits(own.burn_ucr_per_h),
        "exhausted_at": exhausted,
        "runway": lasts,
        "expiring_next": expiring_of(expiring_next(own_grants, now_s)),
        "gpus": sum(run.gpus for run in runs),
        "servers": [_server(run) for run in runs],
    }


def _allowance_ucr(snapshot: Snapshot, own: Balance) -> int:
    """Credits paced evenly over the cohort to date; 0 for a startup that left the program."""
    startup = snapshot.program.startup(own.startup)
    if startup is None:
        return 0
    cohort = snapshot.program.cohort(startup.cohort)
    term = Period(cohort.starts_s, cohort.ends_s)
    return allowance_ucr(own.granted_ucr, term, snapshot.now_s, Curve.FLAT)


def _server(run: Run) -> dict[str, Any]:
    rate = run.rate_ucr_per_h
    return {
        "id": run.server_id,
        "name": run.server_name,
        "flavor": run.flavor,
        "gpus": run.gpus,
        "state": run.state,
        "since": format_instant(run.start_s),
        "credits_per_hour": format_credits(rate) if rate is not None else None,
    }


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "startup": notice.startup,
        "server": notice.server_id,
        "rule": notice.rule,
        "state": notice.state,
        "given": format_instant(notice.given_s),
        "deadline": format_instant(notice.deadline_s),
        "text": notice.text,
    }


def _closing(view: ClosingView) -> dict[str, Any]:
    return {
        "startup": view.startup,
        "state": view.state,
        "since": format_instant(view.since_s),
        "rules_withheld": view.is_withheld,
        "failures": view.failures,
        "detail": view.detail,
    }


def _zone(zone: Mapping[str, Any]) -> dict[str, Any]:
    until_s = zone["confirmed_until_s"]
    return {
        "name": zone["name"],
        "outcome": zone["outcome"],
        "detail": zone["detail"],
        "known_until": format_instant(until_s) if until_s is not None else None,
    }

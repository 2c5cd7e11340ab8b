"""What does `cohortd status` show? The book as it stands, without asking the cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from quotas.book import Book, BookError
from quotas.book.cycle.outbox import Pending, pending
from quotas.book.cycle.state import State, load, read_zones
from quotas.book.reads.present import present_of
from quotas.decisions.notices import Notice
from quotas.decisions.overrides import Word
from quotas.decisions.snapshot import Excess, Snapshot
from quotas.decisions.zones import known_until_s
from quotas.iam.closing import ClosingView, closing_views
from quotas.ledger.balance import Balance
from quotas.metering.runs import Run
from quotas.model.units import format_credits, format_duration, format_instant
from quotas.queue.position import Standing, standings
from quotas.queue.requests import Request
from quotas.rules.pace import Pace
from scheduler.views.status_at import expiring_of


def status_of(book: Book, now_s: int) -> dict[str, Any]:
    """One JSON-ready value from one read: startups, pools, zones, notices, the sentence.

    Raises BookError before the first program was applied.
    """
    state, zones = load(book), read_zones(book)
    if state.program is None:
        raise BookError("no program is applied yet: 'cohortd apply --program FILE' does")
    present = present_of(state, now_s)
    state, program, snapshot = present.state, present.program, present.snapshot
    now_s, shares = snapshot.now_s, present.shares
    known_s = known_until_s(program, state.confirmed)
    known = None if known_s is None else format_instant(known_s)
    open_runs = [run for run in state.runs if run.end_s is None]
    startups = [
        _startup(
            present.level(name),
            snapshot,
            own,
            [r for r in open_runs if r.startup == name],
            state,
            present.paces.get(name),
        )
        for name, own in snapshot.balances.items()
    ]
    waiting = standings(snapshot, state.requests, shares, state.excesses, state.notices)
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
        "stop_latency_s": {
            "default": program.policy.stop_latency_s,
            "measured": dict(present.snapshot.measured_latency_s),
        },
        "shares": [asdict(share) for share in shares],
        "closings": [_closing(view) for view in closing_views(state.closings)],
        "excesses": [_excess(excess) for excess in state.excesses],
        "requests": [standing_line(standing) for standing in waiting],
        "notices": [_notice(notice) for notice in state.notices],
        "words": [_word(word) for word in snapshot.words.standing()],
        "held": sum(1 for notice in state.notices if notice.state == "held"),
        "messages": _messages(pending(book, now_s)),
        "zones": [_zone(zone) for zone in zones],
    }


def _startup(
    reached: tuple[str, str],
    snapshot: Snapshot,
    own: Balance,
    runs: Iterable[Run],
    state: State,
    pace: Pace | None,
) -> dict[str, Any]:
    now_s = snapshot.now_s
    name, why = reached
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
        "later_tranches": format_credits(own.later_ucr),
        "next_tranche_at": format_instant(own.later_s) if own.later_s is not None else None,
        "disputed": format_credits(state.disputed.get(own.startup, 0)),
        "allowance": format_credits(pace.allowance_ucr if pace else 0),
        "burn_per_hour": format_credits(own.burn_ucr_per_h),
        "pace": _pace(pace),
        "exhausted_at": exhausted,
        "runway": lasts,
        "expiring_next": expiring_of(own.expiring),
        "gpus": sum(run.gpus for run in runs),
        "servers": [_server(run) for run in runs],
    }


def _pace(pace: Pace | None) -> dict[str, Any] | None:
    """A startup's pace; None where its cohort does not run."""
    if pace is None:
        return None
    limit = pace.daily_burn_ucr
    windows = zip(("1h", "24h", "7d"), pace.burn_ucr_per_h, strict=True)
    return {
        "text": pace.text,
        "ahead": pace.is_ahead,
        "action": pace.action.value,
        "spent": format_credits(pace.spent_ucr),
        "burn_per_hour": {window: format_credits(burn) for window, burn in windows},
        "today": format_credits(pace.today_ucr),
        "daily_burn": None if limit is None else format_credits(limit),
        "unused_at_end": {
            "low": format_credits(pace.unused.low_ucr),
            "expected": format_credits(pace.unused.expected_ucr),
            "high": format_credits(pace.unused.high_ucr),
        },
    }


def _server(run: Run) -> dict[str, Any]:
    rate = run.rate_ucr_per_h
    return {
        "id": run.server_id,
        "name": run.server_name,
        "flavor": run.flavor,
        "gpus": run.gpus,
        "state": run.state,
        "since": format_instant(run.began_s),
        "credits_per_hour": format_credits(rate) if rate is not None else None,
    }


def request_line(request: Request) -> dict[str, Any]:
    """A request as every listing shows it."""
    return {
        "id": request.id,
        "startup": request.startup,
        "pool": request.pool,
        "gpus": request.gpus,
        "duration": format_duration(request.duration_s),
        "state": request.state,
        "opened": format_instant(request.opened_s),
        "met": _written(request.met_s),
        "ended": _written(request.ended_s),
        "detail": request.detail,
        "refused": request.refused or None,
        "reason": request.reason,
        "by": request.actor,
    }


def standing_line(standing: Standing) -> dict[str, Any]:
    """A live request with its place in line, what it waits for and when it can be met."""
    return {
        **request_line(standing.request),
        "place": standing.place or None,
        "of": standing.of,
        "waits_for": standing.waits_for,
        "expected": _written(standing.expected_s),
        "standing": standing.text,
    }


def _excess(excess: Excess) -> dict[str, Any]:
    return {
        "startup": excess.startup,
        "pool": excess.pool,
        "gpus": excess.gpus,
        "owner": excess.owner,
        "since": format_instant(excess.since_s),
        "deadline": format_instant(excess.deadline_s),
        "reason": excess.reason,
    }


def _written(instant_s: int | None) -> str | None:
    return None if instant_s is None else format_instant(instant_s)


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


def _word(word: Word) -> dict[str, Any]:
    return {
        "about": word.family,
        "subject": word.subject,
        "value": word.value,
        "since": format_instant(word.at_s),
        "until": format_instant(word.until_s) if word.until_s is not None else None,
        "actor": word.actor,
        "reason": word.reason,
    }


def _messages(found: Pending) -> dict[str, Any]:
    since = None if found.since_s is None else format_instant(found.since_s)
    return {"unsent": found.count, "unsent_since": since, "failed": found.failed}


def _zone(zone: Mapping[str, Any]) -> dict[str, Any]:
    until_s = zone["confirmed_until_s"]
    return {
        "name": zone["name"],
        "outcome": zone["outcome"],
        "detail": zone["detail"],
        "known_until": format_instant(until_s) if until_s is not None else None,
    }

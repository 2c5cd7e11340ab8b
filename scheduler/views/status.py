"""What does `cohortd status` show? The book as it stands, without asking the cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from quotas.book import Book, BookError
from quotas.book.cycle.outbox import OutboxBacklog, read_backlog
from quotas.book.cycle.state import BookState, load_state, read_zones
from quotas.book.reads.present import compute_book_status
from quotas.decisions.notices import Notice
from quotas.decisions.overrides import Override
from quotas.decisions.snapshot import Overuse, Snapshot
from quotas.decisions.zones import known_until_s
from quotas.iam.closing import ClosingView, closing_views
from quotas.ledger.balance import Balance
from quotas.messages.catalogue import text_of
from quotas.messages.catalogue.requests import request_detail
from quotas.metering.runs import Run
from quotas.model.units import format_credits, format_duration, format_instant
from quotas.queue.position import QueuePosition, queue_positions
from quotas.queue.requests import Request
from quotas.rules.overuse import facts_of
from quotas.rules.pace import Pace
from scheduler.views.status_at import expiring_line


def status_of(book: Book, now_s: int) -> dict[str, Any]:
    """One JSON-ready value from one read: startups, pools, zones, notices, the sentence.

    Raises BookError before the first program was applied.
    """
    state, zones = load_state(book), read_zones(book)
    if state.program is None:
        raise BookError("no program is applied yet: 'cohortd apply --program FILE' does")
    book_status = compute_book_status(state, now_s)
    state, program, snapshot = book_status.state, book_status.program, book_status.snapshot
    now_s, shares = snapshot.now_s, book_status.shares
    known_s = known_until_s(program, state.confirmed)
    known = None if known_s is None else format_instant(known_s)
    open_runs = [run for run in state.runs if run.end_s is None]
    startups = [
        _startup(
            book_status.level(name),
            snapshot,
            own,
            [r for r in open_runs if r.startup == name],
            state,
            book_status.paces.get(name),
        )
        for name, own in snapshot.balances.items()
    ]
    waiting = queue_positions(book_status.context, state.requests, state.notices)
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
            "measured": dict(book_status.snapshot.measured_latency_s),
        },
        "shares": [asdict(share) for share in shares],
        "closings": [_closing(view) for view in closing_views(state.closing_history)],
        "overuse": [_overuse(overuse) for overuse in state.overuses],
        "requests": [position_line(position) for position in waiting],
        "notices": [_notice(notice) for notice in state.notices],
        "overrides": [_override(override) for override in snapshot.overrides.active()],
        "deferred": sum(1 for notice in state.notices if notice.state == "deferred"),
        "messages": _messages(read_backlog(book, now_s)),
        "zones": [_zone(zone) for zone in zones],
    }


def _startup(
    reached: tuple[str, str],
    snapshot: Snapshot,
    own: Balance,
    runs: Iterable[Run],
    state: BookState,
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
        "unconfirmed": format_credits(state.unconfirmed.get(own.startup, 0)),
        "allowance": format_credits(pace.allowance_ucr if pace else 0),
        "burn_per_hour": format_credits(own.burn_ucr_per_h),
        "pace": _pace(pace),
        "exhausted_at": exhausted,
        "runway": lasts,
        "expiring_next": expiring_line(own.expiring),
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
        "text": text_of("pace", pace.facts),
        "is_ahead": pace.is_ahead,
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
        "since": format_instant(run.up_since_s),
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
        "fulfilled": _instant_text(request.met_s),
        "closed": _instant_text(request.ended_s),
        "detail": request_detail(request),
        "refused_for": request.refused or None,
        "reason": request.reason,
        "actor": request.actor,
    }


def position_line(position: QueuePosition) -> dict[str, Any]:
    """A live request with its place in line, what it waits for and when it can be met."""
    return {
        **request_line(position.request),
        "position": position.place or None,
        "queue_length": position.of,
        "waits_for": position.waits_for,
        "expected": _instant_text(position.expected_s),
        "text": position.text,
    }


def _overuse(overuse: Overuse) -> dict[str, Any]:
    return {
        "startup": overuse.startup,
        "pool": overuse.pool,
        "gpus": overuse.gpus,
        "owner": overuse.owner,
        "since": format_instant(overuse.since_s),
        "deadline": format_instant(overuse.deadline_s),
        "reason": text_of("overuse", facts_of(overuse)),
    }


def _instant_text(instant_s: int | None) -> str | None:
    return None if instant_s is None else format_instant(instant_s)


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "startup": notice.startup,
        "server": notice.server_id,
        "rule": notice.rule,
        "state": notice.state,
        "opened": format_instant(notice.opened_s),
        "deadline": format_instant(notice.deadline_s),
        "text": notice.text,
    }


def _closing(view: ClosingView) -> dict[str, Any]:
    return {
        "startup": view.startup,
        "state": view.state,
        "since": format_instant(view.since_s),
        "rules_revoked": view.has_revoked_rules,
        "failures": view.failures,
        "detail": view.detail,
    }


def _override(override: Override) -> dict[str, Any]:
    return {
        "kind": override.family,
        "subject": override.subject,
        "value": override.value,
        "since": format_instant(override.at_s),
        "until": format_instant(override.until_s) if override.until_s is not None else None,
        "actor": override.actor,
        "reason": override.reason,
    }


def _messages(found: OutboxBacklog) -> dict[str, Any]:
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

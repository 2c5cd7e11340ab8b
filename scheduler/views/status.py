"""The value that `cohortd status` shows: the book as it is, without asking the cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quotas.book import Book, BookError
from quotas.book.cycle.outbox import OutboxBacklog, read_backlog
from quotas.book.cycle.state import load_state, read_zones
from quotas.book.reads.status import read_status
from quotas.decisions.queue_position import QueuePosition
from quotas.iam.closing import ClosingView
from quotas.ledger.forecast import Pace
from quotas.messages.catalogue import notice_text, text_of
from quotas.messages.catalogue.operators import result_text
from quotas.messages.catalogue.requests import position_text, request_detail
from quotas.metering.runs import Run
from quotas.model.units import format_credits, format_duration, format_instant
from quotas.rules.overuse import facts_of
from quotas.rules.pace import pace_facts
from quotas.state.notices import Notice
from quotas.state.overrides import Override
from quotas.state.requests import Request
from quotas.state.snapshot import Overuse
from quotas.view import StartupStatus
from scheduler.views.status_at import expiring_line


def status_of(book: Book, now_s: int) -> dict[str, Any]:
    """One JSON-ready value from one read: startups, pools, zones, notices, the sentence.

    Raises BookError before the first program was applied.
    """
    state, zones = load_state(book), read_zones(book)
    if state.program is None:
        raise BookError("no program is applied yet: 'cohortd apply --program FILE' does")
    status = read_status(state, now_s)
    program, now_s = status.program, status.at_s
    known = _instant_text(status.known_until_s)
    used = sum(pool.used for pool in status.pools)
    capacity = sum(pool.gpus for pool in status.pools)
    return {
        "as_of": format_instant(now_s),
        "known_until": known,
        "mode": program.mode,
        "program": program.name,
        "sentence": f"{len(status.startups)} startups, {used} of {capacity} GPUs, "
        f"{program.mode} mode, {f'known until {known}' if known else 'no zone was read yet'}",
        "startups": [_startup(each) for each in status.startups],
        "stop_latency_s": {
            "default": program.policy.stop_latency_s,
            "measured": dict(status.stop_latency_s),
        },
        "shares": [asdict(share) for share in status.shares],
        "closings": [_closing(view) for view in status.closings],
        "overuse": [_overuse(overuse) for overuse in status.overuses],
        "requests": [position_line(position) for position in status.requests],
        "notices": [_notice(notice) for notice in status.notices],
        "overrides": [_override(override) for override in status.overrides],
        "deferred": status.stops_deferred,
        "messages": _messages(read_backlog(book, now_s)),
        "zones": [_zone(zone) for zone in zones],
    }


def _startup(status: StartupStatus) -> dict[str, Any]:
    own, pace = status.balance, status.pace
    return {
        "name": status.name,
        "level": status.level,
        "reason": status.level_reason,
        "granted": format_credits(own.granted_ucr),
        "charged": format_credits(status.charged_ucr),
        "posted": format_credits(own.posted_ucr),
        "accrued": format_credits(own.accrued_ucr),
        "held": format_credits(own.held_ucr),
        "reserve": format_credits(own.reserve_ucr),
        "available": format_credits(own.available_ucr),
        "later_tranches": format_credits(own.later_ucr),
        "next_tranche_at": _instant_text(own.later_s),
        "unconfirmed": format_credits(status.unconfirmed_ucr),
        "allowance": format_credits(pace.allowance_ucr if pace else 0),
        "burn_per_hour": format_credits(own.burn_ucr_per_h),
        "pace": _pace(pace),
        "exhausted_at": _instant_text(own.exhausted_s),
        "runway": None if status.runway_s is None else format_duration(status.runway_s),
        "expiring_next": expiring_line(own.expiring),
        "gpus": status.gpus,
        "servers": [_server(run) for run in status.runs],
    }


def _pace(pace: Pace | None) -> dict[str, Any] | None:
    """A startup's pace; None while its cohort does not run."""
    if pace is None:
        return None
    limit = pace.daily_burn_ucr
    windows = zip(("1h", "24h", "7d"), pace.burn_ucr_per_h, strict=True)
    return {
        "text": text_of("pace", pace_facts(pace)),
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
    """A live request with its place in the queue, what it waits for and when it can be met."""
    return {
        **request_line(position.request),
        "position": position.place or None,
        "queue_length": position.of,
        "waits_for": position.waits_for,
        "expected": _instant_text(position.expected_s),
        "text": position_text(position),
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
        "text": notice_text(notice),
    }


def _closing(view: ClosingView) -> dict[str, Any]:
    return {
        "startup": view.startup,
        "state": view.state,
        "since": format_instant(view.since_s),
        "rules_revoked": view.has_revoked_rules,
        "failures": view.failures,
        "detail": result_text(view.result),
    }


def _override(override: Override) -> dict[str, Any]:
    return {
        "kind": override.family,
        "subject": override.subject,
        "value": override.value,
        "since": format_instant(override.at_s),
        "until": _instant_text(override.until_s),
        "actor": override.actor,
        "reason": override.reason,
    }


def _messages(found: OutboxBacklog) -> dict[str, Any]:
    since = _instant_text(found.since_s)
    return {"unsent": found.count, "unsent_since": since, "failed": found.failed}


def _zone(zone: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": zone["name"],
        "outcome": zone["outcome"],
        "detail": zone["detail"],
        "known_until": _instant_text(zone["confirmed_until_s"]),
    }

"""The value that `cohortd status` shows: the book as it is, without asking the cloud."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from quotas.book import Book, BookError
from quotas.book.cycle.outbox import read_backlog
from quotas.book.cycle.state import load_state, read_zones
from quotas.book.reads.status import read_status
from quotas.decisions.queue_position import QueuePosition
from quotas.ledger.forecast import Pace
from quotas.messages.catalogue import notice_text, text_of
from quotas.messages.catalogue.operators import result_text
from quotas.messages.catalogue.requests import position_text, request_detail
from quotas.model.units import format_credits, format_duration, format_instant
from quotas.rules.overuse import facts_of
from quotas.rules.pace import pace_facts
from quotas.state.requests import Request
from quotas.view import StartupStatus
from scheduler.views.json_fields import json_fields
from scheduler.views.status_at import balance_fields

CLOSING = "startup state since_s failures"
OVERRIDE = "subject value until_s actor reason"
NOTICE = "startup rule state opened_s deadline_s"
OVERUSE = "startup pool gpus owner since_s deadline_s"
SERVER = "flavor gpus state"


def status_of(book: Book, now_s: int) -> dict[str, Any]:
    """One JSON-ready value from one read: startups, pools, zones, notices, the sentence.

    Raises BookError before the first program was applied.
    """
    state, zones = load_state(book), read_zones(book)
    if state.program is None:
        raise BookError("no program is applied yet: 'cohortd apply --program FILE' does")
    status = read_status(state, now_s)
    program, now_s = status.program, status.at_s
    known = None if status.known_until_s is None else format_instant(status.known_until_s)
    used = sum(pool.used for pool in status.pools)
    capacity = sum(pool.gpus for pool in status.pools)
    backlog = read_backlog(book, now_s)
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
        "closings": [
            json_fields(view, CLOSING, rules_revoked="has_revoked_rules")
            | {"detail": result_text(view.result)}
            for view in status.closings
        ],
        "overuse": [
            json_fields(each, OVERUSE) | {"reason": text_of("overuse", facts_of(each))}
            for each in status.overuses
        ],
        "requests": [position_line(position) for position in status.requests],
        "notices": [
            json_fields(each, NOTICE, server="server_id") | {"text": notice_text(each)}
            for each in status.notices
        ],
        "overrides": [
            json_fields(each, OVERRIDE, kind="family", since="at_s") for each in status.overrides
        ],
        "deferred": status.stops_deferred,
        "messages": json_fields(backlog, "failed", unsent="count", unsent_since="since_s"),
        "zones": [
            json_fields(zone, "name outcome detail", known_until="confirmed_until_s")
            for zone in zones
        ],
    }


def _startup(status: StartupStatus) -> dict[str, Any]:
    own, pace = status.balance, status.pace
    servers = {"id": "server_id", "name": "server_name", "since": "up_since_s"}
    servers["credits_per_hour"] = "rate_ucr_per_h"
    return {
        **balance_fields(status),
        **json_fields(own, "", later_tranches="later_ucr", next_tranche_at="later_s"),
        "level": status.level,
        "reason": status.level_reason,
        "allowance": format_credits(pace.allowance_ucr if pace else 0),
        "pace": None if pace is None else _pace(pace),
        "servers": [json_fields(run, SERVER, **servers) for run in status.runs],
    }


def _pace(pace: Pace) -> dict[str, Any]:
    windows = zip(("1h", "24h", "7d"), pace.burn_ucr_per_h, strict=True)
    return {
        **json_fields(pace, "is_ahead spent_ucr today_ucr daily_burn_ucr"),
        "text": text_of("pace", pace_facts(pace)),
        "action": pace.action or "nothing",
        "burn_per_hour": {window: format_credits(burn) for window, burn in windows},
        "unused_at_end": json_fields(pace.unused, "low_ucr expected_ucr high_ucr"),
    }


def request_line(request: Request) -> dict[str, Any]:
    """A request as every listing shows it."""
    return {
        **json_fields(request, "id startup pool gpus state opened_s reason actor"),
        **json_fields(request, "", fulfilled="met_s", closed="ended_s"),
        "duration": format_duration(request.duration_s),
        "detail": request_detail(request),
        "refused_for": request.refused or None,
    }


def position_line(position: QueuePosition) -> dict[str, Any]:
    """A live request with its place in the queue, what it waits for and when it can be met."""
    return {
        **request_line(position.request),
        **json_fields(position, "waits_for expected_s", queue_length="of"),
        "position": position.place or None,
        "text": position_text(position),
    }

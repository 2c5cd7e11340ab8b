"""The value that `cohortd status --as-of` shows: every startup's credits at a past instant."""

from __future__ import annotations

from typing import Any

from quotas.book import Book
from quotas.book.reads.history import read_book_at
from quotas.ledger.expiry import Expiry
from quotas.model.units import format_credits, format_duration, format_instant
from quotas.view import StartupStatus


def status_at(book: Book, as_of_s: int, now_s: int) -> dict[str, Any]:
    """One JSON-ready value, the same whenever it is asked for. Raises InstantNotKnown."""
    past = read_book_at(book, as_of_s, now_s)
    startups = [_startup(status) for status in past.startups]
    gpus = sum(line["gpus"] for line in startups)
    return {
        "as_of": format_instant(as_of_s),
        "transfers": past.through_id,
        "mode": past.program.mode,
        "program": past.program.name,
        "sentence": f"{len(startups)} startups, {gpus} GPUs ran, {past.program.mode} mode, as of "
        f"{format_instant(as_of_s)} and {past.through_id} transfers",
        "startups": startups,
    }


def _startup(status: StartupStatus) -> dict[str, Any]:
    own = status.balance
    ends_s = own.exhausted_s
    return {
        "name": own.startup,
        "granted": format_credits(own.granted_ucr),
        "charged": format_credits(status.charged_ucr),
        "posted": format_credits(own.posted_ucr),
        "accrued": format_credits(own.accrued_ucr),
        "held": format_credits(own.held_ucr),
        "reserve": format_credits(own.reserve_ucr),
        "available": format_credits(own.available_ucr),
        "unconfirmed": format_credits(status.unconfirmed_ucr),
        "burn_per_hour": format_credits(own.burn_ucr_per_h),
        "exhausted_at": None if ends_s is None else format_instant(ends_s),
        "runway": None if status.runway_s is None else format_duration(status.runway_s),
        "gpus": status.gpus,
        "expiring_next": expiring_line(own.expiring),
    }


def expiring_line(expiring: Expiry | None) -> dict[str, str] | None:
    """The next expiry, as JSON."""
    if expiring is None:
        return None
    return {
        "grant": expiring.grant,
        "credits": format_credits(expiring.amount_ucr),
        "at": format_instant(expiring.at_s),
    }

"""What does `cohortd status --as-of` show? Every startup's credits at a past instant."""

from __future__ import annotations

from typing import Any

from quotas.book import Book
from quotas.book.reads.history import BalanceAt, read_book_at
from quotas.ledger.expiry import Expiry
from quotas.model.units import format_credits, format_duration, format_instant


def status_at(book: Book, as_of_s: int, now_s: int) -> dict[str, Any]:
    """One JSON-ready value that is the same whenever it is asked for. Raises NotKnown."""
    past = read_book_at(book, as_of_s, now_s)
    startups = [_startup(balance_at) for balance_at in past.balances]
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


def _startup(balance_at: BalanceAt) -> dict[str, Any]:
    own = balance_at.balance
    ends_s = own.exhausted_s
    return {
        "name": own.startup,
        "granted": format_credits(own.granted_ucr),
        "charged": format_credits(balance_at.charged_ucr),
        "posted": format_credits(own.posted_ucr),
        "accrued": format_credits(own.accrued_ucr),
        "held": format_credits(own.held_ucr),
        "reserve": format_credits(own.reserve_ucr),
        "available": format_credits(own.available_ucr),
        "unconfirmed": format_credits(balance_at.unconfirmed_ucr),
        "burn_per_hour": format_credits(own.burn_ucr_per_h),
        "exhausted_at": None if ends_s is None else format_instant(ends_s),
        "runway": None if ends_s is None else format_duration(max(0, ends_s - own.as_of_s)),
        "gpus": balance_at.gpus,
        "expiring_next": expiring_line(own.expiring),
    }


def expiring_line(expiring: Expiry | None) -> dict[str, str] | None:
    """What ends next, as JSON."""
    if expiring is None:
        return None
    return {
        "grant": expiring.grant,
        "credits": format_credits(expiring.amount_ucr),
        "at": format_instant(expiring.at_s),
    }

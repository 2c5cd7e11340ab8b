"""The value that `cohortd status --as-of` shows: every startup's credits at a past instant."""

from __future__ import annotations

from typing import Any

from quotas.book import Book
from quotas.book.reads.history import read_book_at
from quotas.model.units import format_duration, format_instant
from quotas.view import StartupStatus
from scheduler.views.json_fields import json_fields


def status_at(book: Book, as_of_s: int, now_s: int) -> dict[str, Any]:
    """One JSON-ready value, the same whenever it is asked for. Raises InstantNotKnown."""
    past = read_book_at(book, as_of_s, now_s)
    startups = [balance_fields(status) for status in past.startups]
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


def balance_fields(status: StartupStatus) -> dict[str, Any]:
    """The credits and GPUs of a startup, as the status of any instant shows them."""
    expiring = status.balance.expiring
    amounts = "granted_ucr posted_ucr accrued_ucr held_ucr reserve_ucr available_ucr burn_ucr_per_h"
    return {
        **json_fields(status.balance, amounts, name="startup", exhausted_at="exhausted_s"),
        **json_fields(status, "charged_ucr unconfirmed_ucr gpus"),
        "runway": None if status.runway_s is None else format_duration(status.runway_s),
        "expiring_next": None
        if expiring is None
        else json_fields(expiring, "grant at_s", credits="amount_ucr"),
    }

"""Builders of tranches, holds and sums for the tests of the ledger."""

from __future__ import annotations

from collections import Counter

from quotas.ledger.holds import Hold
from quotas.ledger.posting import Posting
from quotas.ledger.transfers import Entry, GrantBalance
from quotas.model.program import Rollover
from tests.builders import a_balance_of

HALF = Rollover(500_000)


def two_tranches(
    rollover: Rollover | None = None, first: int = 100, second: int = 100
) -> list[GrantBalance]:
    """Two tranches, in force from 0 and from 1000; the second ends at 2000."""
    end_s = 2000 if rollover is None else 1000
    rolls_to = None if rollover is None else "g/2"
    terms = {"expires_s": end_s, "rolls_to": rolls_to, "rollover": rollover}
    return [
        a_balance_of("g/1", first, **terms),
        a_balance_of("g/2", second, effective_s=1000, expires_s=2000, created=1),
    ]


def amounts_by_account(posting: Posting) -> Counter[str]:
    """The sum of the entries of each account."""
    found: Counter[str] = Counter()
    for transfer in posting.transfers:
        for entry in transfer.entries:
            found[entry.account] += entry.amount_ucr
    return found


def left_by_grant(posting: Posting) -> dict[str, int]:
    """What each grant has after a posting."""
    return {grant.id: grant.left_ucr for grant in posting.grants}


def a_hold(*drawn: tuple[str, int], expires_s: int = 900) -> Hold:
    """A hold of acme with these draws."""
    return Hold(
        "h1", "acme", "spring", 0, expires_s, tuple(Entry(f"grant:acme:{g}", n) for g, n in drawn)
    )

"""Verify price differences: what the program pays above a charge, at the prices known then."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, func, select

from quotas.book.cycle.state import read_prices
from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.book.verify.refunds import RefundAudit
from quotas.ledger.corrections import Charge, charge_from
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.repricing import difference_ucr, price_difference_account, provider_account
from quotas.ledger.transfers import Entry

MAX_REMEMBERED_CHARGES = 20_000
"""The most charges kept for differences that follow them. One commit has few."""
MAX_REMEMBERED_PRICES = 1_000
"""The most price lists kept. They are few, and many charges use each."""


class DifferenceAudit:
    """Checks each difference against its charge; memory does not grow with their number."""

    def __init__(self, connection: Connection, amended: RefundAudit) -> None:
        self._connection = connection
        self._amended = amended
        self._prices = prices = read_prices(connection)
        self._paid_as_known = lru_cache(MAX_REMEMBERED_PRICES)(
            lambda flavor, version, listed_s: prices.known(version, listed_s).paid(flavor)
        )
        flavors = {*self._prices.versions, *self._prices.listings}
        rates = {f: {step.rate_ucr_per_h for step in self._prices.paid(f)} for f in flavors}
        self._moved = {flavor for flavor, own in rates.items() if len(own) > 1}
        self._recent: dict[str, Charge] = {}

    def remember(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> None:
        """Keep a charge that a difference may follow soon, so that it is not read again."""
        if detail["flavor"] in self._moved:
            if len(self._recent) >= MAX_REMEMBERED_CHARGES:
                self._recent.clear()
            sides = [Entry(*entry) for entry in posted.entries]
            self._recent[posted.key] = charge_from(posted, detail, sides)

    def fault(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> str | None:
        """The first thing that is wrong with a price difference, or None."""
        key, version = detail["charge"], detail["version"]
        if posted.key == f"difference:{key}" and key in self._recent:
            charge: Charge | None = self._recent.pop(key)
        else:
            charge = self._amended.charge(key, posted)
        if charge is None or (charge.startup, charge.cohort) != (posted.startup, posted.cohort):
            return f"is of {key}, which is no earlier charge of {posted.startup}"
        if version > self._prices.newest:
            return f"is computed from version {version} of the prices, which there is not"
        paid = self._paid_as_known(charge.flavor, version, detail["listed_s"])
        due_ucr = difference_ucr(charge, paid) - self._posted(posted, key)
        sides = (
            (price_difference_account(posted.cohort), -due_ucr),
            (provider_account(posted.cohort), due_ucr),
        )
        if posted.entries != sides:
            return f"moves {posted.entries[-1][1]} ucr where {key} differs by {due_ucr}"
        return None

    def _posted(self, posted: PostedTransfer, charge: str) -> int:
        """What earlier differences of the charge moved: those of prices accepted since."""
        if posted.key == f"difference:{charge}":
            return 0  # the first: the charge's own
        of = TRANSFER.c.key.between(f"difference:{charge}:", f"difference:{charge};")
        query = select(func.sum(ENTRY.c.amount_ucr)).join(TRANSFER)
        query = query.where(of | (TRANSFER.c.key == f"difference:{charge}"))
        query = query.where(TRANSFER.c.id < posted.id, ENTRY.c.position == 1)
        return int(self._connection.scalar(query) or 0)

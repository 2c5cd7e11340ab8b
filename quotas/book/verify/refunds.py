"""Verify refunds and corrections: each returns exactly what its charge drew, once."""

from __future__ import annotations

import json
from collections import defaultdict

from sqlalchemy import Connection, select

from quotas.book.reads.charges import amendment_from, entries_of, with_amendments
from quotas.book.schema.tables import TRANSFER
from quotas.ledger.corrections import Charge, CorrectedPeriod, RefundedPeriod, charge_from
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.transfers import Entry, usage_account
from quotas.model.units import cost_ucr


class RefundAudit:
    """Checks each refund and correction against its charge; memory grows with their number."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._amended: dict[str, list[RefundedPeriod | CorrectedPeriod]] = defaultdict(list)

    def fault(self, row: PostedTransfer) -> str | None:
        """The first thing that is wrong with a refund or a correction, or None."""
        verb, key = "refunds" if row.kind == "refund" else "corrects", row.details["charge"]
        charge = self.charge(key, row)
        if charge is None:
            return f"{verb} {key}, which is no earlier charge of {row.startup}"
        sides = [Entry(*entry) for entry in row.entries]
        amendment = amendment_from(row, sides)
        period = amendment.period
        if charge.refundable_periods(period) != [period]:
            return f"{verb} seconds that {charge.key} does not have, or gave back already"
        owed_ucr = charge.cost_ucr(period)
        if isinstance(amendment, CorrectedPeriod):
            owed_ucr -= cost_ucr(amendment.rate_ucr_per_h, amendment.origin_s, period)
        # What is owed returns to the accounts that paid. A higher price may draw on any account.
        return_entries = charge.return_entries(owed_ucr) if owed_ucr > 0 else amendment.entries
        due = [Entry(usage_account(row.startup), -owed_ucr), *return_entries]
        if sides != due:
            return f"does not return what {charge.key} drew for these seconds"
        self._amended[charge.key].append(amendment)
        return None

    def charge(self, key: str, row: PostedTransfer) -> Charge | None:
        """The charge that a later transfer of its startup amends, as it stands by then."""
        earlier = select(TRANSFER).where(TRANSFER.c.key == key)
        earlier = earlier.where(TRANSFER.c.kind == "charge", TRANSFER.c.id < row.id)
        of = self._connection.execute(earlier).one_or_none()
        if of is None or (of.startup, of.cohort) != (row.startup, row.cohort):
            return None
        sides = entries_of(self._connection, [of.id])[of.id]
        charge = charge_from(of, json.loads(of.detail), sides)
        return with_amendments(charge, self._amended.get(key, ()))

"""Which charges may be amended, and is every refund and correction exactly what it may be?"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.ledger.corrections import Charge, CorrectedPeriod, RefundedPeriod
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.transfers import Entry, usage_account
from quotas.model.units import Period, cost_ucr

BATCH_IDS = 500


def read_charges(
    connection: Connection,
    startups: Collection[str],
    window: Period,
    server: str | None = None,
    zone: str | None = None,
) -> list[Charge]:
    """The charges of startups that overlap a window, of one server or zone where it is named."""
    mine = select(TRANSFER).where(TRANSFER.c.startup.in_(sorted(startups)))
    overlapping = mine.where(TRANSFER.c.kind == "charge", TRANSFER.c.at_s > window.start_s)
    found = [
        (row, detail)
        for row in connection.execute(overlapping.order_by(TRANSFER.c.id))
        if (detail := json.loads(row.detail))["start_s"] < window.end_s
        and server in (None, detail["server"])
        and zone in (None, detail["flavor"].rpartition("@")[2])
    ]
    amending = mine.where(TRANSFER.c.kind.in_(("refund", "correction")))
    amended = _amended(connection, connection.execute(amending))
    sides = _sides(connection, [row.id for row, _ in found])
    return [
        _with_amendments(_charge(row, detail, sides[row.id]), amended.get(row.key, ()))
        for row, detail in found
    ]


def read_differences(connection: Connection, startups: Collection[str]) -> dict[str, int]:
    """What was posted as the price difference of each charge so far, by the charge's key."""
    query = select(TRANSFER.c.detail, ENTRY.c.amount_ucr).join(
        ENTRY, (ENTRY.c.transfer_id == TRANSFER.c.id) & (ENTRY.c.position == 1)
    )
    query = query.where(TRANSFER.c.startup.in_(sorted(startups)), TRANSFER.c.kind == "difference")
    posted: dict[str, int] = defaultdict(int)
    for row in connection.execute(query):
        posted[json.loads(row.detail)["charge"]] += row.amount_ucr
    return posted


def _with_amendments(charge: Charge, amended: Iterable[RefundedPeriod | CorrectedPeriod]) -> Charge:
    """The charge with what amended it, in the order in which it was posted."""
    each = tuple(amended)
    return replace(
        charge,
        refunds=tuple(one for one in each if isinstance(one, RefundedPeriod)),
        corrections=tuple(one for one in each if isinstance(one, CorrectedPeriod)),
    )


def charge_from(posted: PostedTransfer, detail: Mapping[str, Any]) -> Charge:
    """A charge as it was posted."""
    return _charge(posted, detail, [Entry(*entry) for entry in posted.entries])


def _charge(
    row: Row[Any] | PostedTransfer, detail: Mapping[str, Any], sides: Iterable[Entry]
) -> Charge:
    return Charge(
        key=row.key,
        cohort=row.cohort,
        startup=row.startup,
        run=detail["run"],
        server=detail["server"],
        period=Period(detail["start_s"], detail["end_s"]),
        run_start_s=detail["run_start_s"],
        rate_ucr_per_h=detail["rate_ucr_per_h"],
        draws=tuple(Entry(e.account, -e.amount_ucr) for e in sides if e.amount_ucr < 0),
        flavor=detail["flavor"],
    )


def _amended(
    connection: Connection, rows: Iterable[Row[Any]]
) -> dict[str, list[RefundedPeriod | CorrectedPeriod]]:
    """What amended each charge, by its key, in the order in which it was posted."""
    kept = sorted(rows, key=lambda row: int(row.id))
    sides = _sides(connection, [row.id for row in kept])
    found: dict[str, list[RefundedPeriod | CorrectedPeriod]] = defaultdict(list)
    for row in kept:
        found[json.loads(row.detail)["charge"]].append(_amendment(row, sides[row.id]))
    return found


def _amendment(
    row: Row[Any] | PostedTransfer, sides: list[Entry]
) -> RefundedPeriod | CorrectedPeriod:
    """A refund or a correction as it was posted; the usage account's side stands first."""
    detail = json.loads(row.detail)
    period, others = Period(detail["start_s"], detail["end_s"]), tuple(sides[1:])
    if row.kind == "refund":
        return RefundedPeriod(period, others)
    return CorrectedPeriod(period, detail["rate_ucr_per_h"], detail["origin_s"], others)


def _sides(connection: Connection, ids: list[int]) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = defaultdict(list)
    for start in range(0, len(ids), BATCH_IDS):
        batch = ids[start : start + BATCH_IDS]
        query = select(ENTRY).where(ENTRY.c.transfer_id.in_(batch))
        for row in connection.execute(query.order_by(ENTRY.c.transfer_id, ENTRY.c.position)):
            found[row.transfer_id].append(Entry(row.account, row.amount_ucr))
    return found


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
        amendment = _amendment(row, sides)
        period = amendment.period
        if charge.refundable_periods(period) != [period]:
            return f"{verb} seconds that {charge.key} does not have, or gave back already"
        owed_ucr = charge.cost_ucr(period)
        if isinstance(amendment, CorrectedPeriod):
            owed_ucr -= cost_ucr(amendment.rate_ucr_per_h, amendment.origin_s, period)
        # What is owed goes back to whom it was drawn from; whoever pays more, it sums up.
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
        charge = _charge(of, json.loads(of.detail), _sides(self._connection, [of.id])[of.id])
        return _with_amendments(charge, self._amended.get(key, ()))

"""Which charges are there to refund, and is every refund in the book exactly what it may be?"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from quotas.corrections import Charge, Refunded
from quotas.ledger import Entry, usage_account
from quotas.posted import Posted
from quotas.tables import ENTRY, TRANSFER
from quotas.units import Period

IDS_AT_ONCE = 500


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
    refunds = _refunds(connection, connection.execute(mine.where(TRANSFER.c.kind == "refund")))
    sides = _sides(connection, [row.id for row, _ in found])
    return [
        replace(_charge(row, detail, sides[row.id]), refunds=tuple(refunds[row.key]))
        for row, detail in found
    ]


def _charge(row: Row[Any], detail: dict[str, Any], sides: Iterable[Entry]) -> Charge:
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
    )


def _refunds(connection: Connection, rows: Iterable[Row[Any]]) -> dict[str, list[Refunded]]:
    """The refunds of each charge, by its key, in the order in which they were posted."""
    kept = sorted(rows, key=lambda row: int(row.id))
    sides = _sides(connection, [row.id for row in kept])
    found: dict[str, list[Refunded]] = defaultdict(list)
    for row in kept:
        detail = json.loads(row.detail)
        back = tuple(entry for entry in sides[row.id] if entry.amount_ucr > 0)
        period = Period(detail["start_s"], detail["end_s"])
        found[detail["charge"]].append(Refunded(period, back))
    return found


def _sides(connection: Connection, ids: list[int]) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = defaultdict(list)
    for start in range(0, len(ids), IDS_AT_ONCE):
        batch = ids[start : start + IDS_AT_ONCE]
        query = select(ENTRY).where(ENTRY.c.transfer_id.in_(batch))
        for row in connection.execute(query.order_by(ENTRY.c.transfer_id, ENTRY.c.position)):
            found[row.transfer_id].append(Entry(row.account, row.amount_ucr))
    return found


class RefundAudit:
    """Checks each refund against its charge; memory grows with the number of refunds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._refunds: dict[str, list[Refunded]] = defaultdict(list)

    def fault(self, row: Posted) -> str | None:
        """The first thing that is wrong with a refund, or None."""
        detail = row.details
        earlier = select(TRANSFER).where(TRANSFER.c.key == detail["charge"])
        earlier = earlier.where(TRANSFER.c.kind == "charge", TRANSFER.c.id < row.id)
        of = self._connection.execute(earlier).one_or_none()
        if of is None or (of.startup, of.cohort) != (row.startup, row.cohort):
            return f"refunds {detail['charge']}, which is no earlier charge of {row.startup}"
        charge = _charge(of, json.loads(of.detail), _sides(self._connection, [of.id])[of.id])
        charge = replace(charge, refunds=tuple(self._refunds[charge.key]))
        period = Period(detail["start_s"], detail["end_s"])
        if charge.open_periods(period) != [period]:
            return f"refunds seconds that {charge.key} does not have, or gave back already"
        back = charge.returned(period)
        total_ucr = sum(entry.amount_ucr for entry in back)
        due = [(usage_account(row.startup), -total_ucr)]
        due += [(entry.account, entry.amount_ucr) for entry in back]
        if list(row.entries) != due:
            return f"does not return what {charge.key} drew for these seconds"
        self._refunds[charge.key].append(Refunded(period, back))
        return None

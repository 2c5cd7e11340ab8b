"""Reads of charges with their later amendments: refunds, corrections, price differences."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.ledger.corrections import Charge, CorrectedPeriod, RefundedPeriod, charge_from
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.transfers import Entry
from quotas.model.units import Period

BATCH_IDS = 500


def read_charges(
    connection: Connection,
    startups: Collection[str],
    window: Period,
    server: str | None = None,
    zone: str | None = None,
) -> list[Charge]:
    """The charges of startups that overlap a window; only of a server or zone if it is given."""
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
    sides = entries_of(connection, [row.id for row, _ in found])
    return [
        with_amendments(charge_from(row, detail, sides[row.id]), amended.get(row.key, ()))
        for row, detail in found
    ]


def read_differences(connection: Connection, startups: Collection[str]) -> dict[str, int]:
    """The price differences posted so far for each charge, by the charge's key."""
    query = select(TRANSFER.c.detail, ENTRY.c.amount_ucr).join(
        ENTRY, (ENTRY.c.transfer_id == TRANSFER.c.id) & (ENTRY.c.position == 1)
    )
    query = query.where(TRANSFER.c.startup.in_(sorted(startups)), TRANSFER.c.kind == "difference")
    posted: dict[str, int] = defaultdict(int)
    for row in connection.execute(query):
        posted[json.loads(row.detail)["charge"]] += row.amount_ucr
    return posted


def with_amendments(charge: Charge, amended: Iterable[RefundedPeriod | CorrectedPeriod]) -> Charge:
    """The charge with its refunds and corrections, each in the order of posting."""
    each = tuple(amended)
    refunds = tuple(one for one in each if isinstance(one, RefundedPeriod))
    corrections = tuple(one for one in each if isinstance(one, CorrectedPeriod))
    return replace(charge, refunds=refunds, corrections=corrections)


def _amended(
    connection: Connection, rows: Iterable[Row[Any]]
) -> dict[str, list[RefundedPeriod | CorrectedPeriod]]:
    """The refunds and corrections of each charge, by its key, in the order of posting."""
    kept = sorted(rows, key=lambda row: int(row.id))
    sides = entries_of(connection, [row.id for row in kept])
    found: dict[str, list[RefundedPeriod | CorrectedPeriod]] = defaultdict(list)
    for row in kept:
        found[json.loads(row.detail)["charge"]].append(amendment_from(row, sides[row.id]))
    return found


def amendment_from(
    row: Row[Any] | PostedTransfer, sides: list[Entry]
) -> RefundedPeriod | CorrectedPeriod:
    """A refund or a correction as it was posted; the usage account's side stands first."""
    detail = json.loads(row.detail)
    period, others = Period(detail["start_s"], detail["end_s"]), tuple(sides[1:])
    if row.kind == "refund":
        return RefundedPeriod(period, others)
    return CorrectedPeriod(period, detail["rate_ucr_per_h"], detail["origin_s"], others)


def entries_of(connection: Connection, ids: list[int]) -> dict[int, list[Entry]]:
    """The entries of transfers, in order, by the transfer's id."""
    found: dict[int, list[Entry]] = defaultdict(list)
    for start in range(0, len(ids), BATCH_IDS):
        batch = ids[start : start + BATCH_IDS]
        query = select(ENTRY).where(ENTRY.c.transfer_id.in_(batch))
        for row in connection.execute(query.order_by(ENTRY.c.transfer_id, ENTRY.c.position)):
            found[row.transfer_id].append(Entry(row.account, row.amount_ucr))
    return found

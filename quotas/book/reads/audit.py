"""Sums and runs of the whole books, from the first to the last, for audits."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select

from quotas.book.schema.tables import ENTRY, RUN, TRANSFER, UNCONFIRMED
from quotas.book.session import Book
from quotas.metering.runs import Run, UnconfirmedPeriod
from quotas.model.units import Period


def account_sums(book: Book) -> dict[str, int]:
    """Sum of the entries of every account, by account; not from the projection."""
    query = select(ENTRY.c.account, func.sum(ENTRY.c.amount_ucr).label("total"))
    with book.reading() as connection:
        rows = connection.execute(query.group_by(ENTRY.c.account).order_by(ENTRY.c.account))
        return {row.account: int(row.total) for row in rows}


def refunded_sums(book: Book) -> dict[str, int]:
    """What refunds took out of each startup's usage, by startup."""
    query = select(TRANSFER.c.startup, func.sum(ENTRY.c.amount_ucr).label("total"))
    query = query.join(ENTRY, ENTRY.c.transfer_id == TRANSFER.c.id)
    query = query.where(TRANSFER.c.kind == "refund", ENTRY.c.account.startswith("usage:"))
    with book.reading() as connection:
        rows = connection.execute(query.group_by(TRANSFER.c.startup))
        return {row.startup: -int(row.total) for row in rows}


def transfer_counts(book: Book) -> dict[str, int]:
    """How many transfers of each kind there are."""
    query = select(TRANSFER.c.kind, func.count().label("number")).group_by(TRANSFER.c.kind)
    with book.reading() as connection:
        rows = connection.execute(query.order_by(TRANSFER.c.kind))
        return {row.kind: int(row.number) for row in rows}


def read_runs(book: Book) -> Iterable[Run]:
    """Every run ever metered, by id."""
    with book.reading() as connection:
        rows = connection.execute(select(RUN).order_by(RUN.c.id)).mappings().all()
    return [Run(**row) for row in rows]


def read_unconfirmed_periods(book: Book) -> Iterable[UnconfirmedPeriod]:
    """Every stretch set aside, by server and start."""
    with book.reading() as connection:
        query = select(UNCONFIRMED).order_by(UNCONFIRMED.c.server_id, UNCONFIRMED.c.start_s)
        rows = connection.execute(query).all()
    return [
        UnconfirmedPeriod(
            row.server_id,
            row.startup,
            row.flavor,
            Period(row.start_s, row.end_s),
            row.rate_ucr_per_h,
        )
        for row in rows
    ]

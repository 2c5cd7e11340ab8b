"""Sums, runs and unconfirmed periods of the whole book, for audits."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select

from quotas.book.reads.transfers import newest_transfer_id, sums_of_entries
from quotas.book.rows import RUN_FIELDS, read_values
from quotas.book.schema.tables import ENTRY, RUN, TRANSFER, UNCONFIRMED
from quotas.book.session import Book
from quotas.metering.runs import Run, UnconfirmedPeriod
from quotas.model.units import Period


def account_sums(book: Book) -> dict[str, int]:
    """Sum of the entries of every account, by account; not from the projection."""
    with book.reading() as connection:
        return sums_of_entries(connection, newest_transfer_id(connection))


def refunded_sums(book: Book) -> dict[str, int]:
    """What refunds took out of each startup's usage, by startup."""
    query = select(TRANSFER.c.startup, func.sum(ENTRY.c.amount_ucr)).join(ENTRY)
    query = query.where(TRANSFER.c.kind == "refund", ENTRY.c.account.startswith("usage:"))
    with book.reading() as connection:
        rows = connection.execute(query.group_by(TRANSFER.c.startup))
        return {startup: -int(total) for startup, total in rows}


def transfer_counts(book: Book) -> dict[str, int]:
    """How many transfers of each kind there are."""
    query = select(TRANSFER.c.kind, func.count()).group_by(TRANSFER.c.kind)
    with book.reading() as connection:
        return dict(connection.execute(query.order_by(TRANSFER.c.kind)).all())


def read_runs(book: Book) -> Iterable[Run]:
    """Every run ever metered, by id."""
    with book.reading() as connection:
        return read_values(connection, Run, select(*RUN_FIELDS).order_by(RUN.c.id))


def read_unconfirmed_periods(book: Book) -> Iterable[UnconfirmedPeriod]:
    """Every unconfirmed period, by server and start."""
    query = select(UNCONFIRMED).order_by(UNCONFIRMED.c.server_id, UNCONFIRMED.c.start_s)
    with book.reading() as connection:
        found = []
        for row in connection.execute(query):
            of, period = (row.server_id, row.startup, row.flavor), Period(row.start_s, row.end_s)
            found.append(UnconfirmedPeriod(*of, period, row.rate_ucr_per_h))
        return found

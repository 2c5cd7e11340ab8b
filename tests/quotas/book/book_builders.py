"""Shared builders of the book's tests: a filled book, and a digest of every row."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import text
from sqlmodel import SQLModel

from quotas.book.cycle.commit import CycleResult, apply_program
from quotas.book.cycle.lease import Lease, acquire
from quotas.book.schema.tables import BALANCE
from quotas.book.session import Book
from quotas.book.transfers import post
from quotas.ledger.transfers import GrantBalance, Transfer, charge_transfer
from quotas.model.units import Period
from tests.builders import Z, a_balance_of, a_grant, a_program, a_run, a_startup, seen


def charges(count: int, first: int = 0) -> list[Transfer]:
    """Hourly charges of run s1@0 to grant g1, which is taken to have enough."""
    grant: list[GrantBalance] = [a_balance_of(left_ucr=10**9)]
    made = [
        charge_transfer("spring", a_run(), Period(n * 3600, (n + 1) * 3600), grant)
        for n in range(first, first + count)
    ]
    return [transfer for transfer in made if transfer is not None]


def result_of(**changes: Any) -> CycleResult:
    """A cycle's result that writes a sweep, a run and one charge."""
    values: dict[str, Any] = {
        "sweeps": [seen(3600)],
        "confirmed": {Z: 3600},
        "runs": [a_run(posted_until_s=3600)],
        "unconfirmed_periods": [],
        "transfers": charges(1),
        "decisions": [],
        "notices": [],
        "intents": [],
        "mode": "enforce",
        **changes,
    }
    return CycleResult(**values)


def filled(book: Book, count: int = 3) -> Book:
    """Acme with one grant and a few charges, written under epoch 1."""
    apply_program(book, a_program(a_startup(grants=(a_grant(),))), 0, "tests")
    lease_of(book)
    with book.writing() as connection:
        post(connection, charges(count), recorded_s=count * 3600, epoch=1, actor="cohortd")
    return book


def lease_of(book: Book, holder: str = "a", now_s: int = 0) -> Lease:
    """The lease, which must be free."""
    lease = acquire(book, holder, now_s, 180)
    assert lease is not None
    return lease


def amounts(book: Book) -> dict[str, int]:
    """Every account's projected balance."""
    with book.reading() as connection:
        return {row.account: row.amount_ucr for row in connection.execute(BALANCE.select())}


def digest(book: Book) -> str:
    """A hash over every row of every table."""
    sha = hashlib.sha256()
    with book.reading() as connection:
        for table in SQLModel.metadata.sorted_tables:
            for row in sorted(map(repr, connection.execute(table.select()).all())):
                sha.update(f"{table.name}{row}".encode())
    return sha.hexdigest()


def thaw(book: Book) -> None:
    """Drop the triggers that keep the ledger append-only, as a forger would."""
    with book.writing() as connection:
        names = connection.scalars(text("SELECT name FROM sqlite_master WHERE type='trigger'"))
        for name in names.all():
            connection.execute(text(f"DROP TRIGGER {name}"))

"""Rows of a play's book, in memory or on disk, for the checks of each cycle."""

from __future__ import annotations

from itertools import islice
from typing import Any

from sqlalchemy import text

from .memory_book import InMemoryBook


def balances_of(book: Any) -> dict[str, int]:
    """The balance of each account of the book."""
    if isinstance(book, InMemoryBook):
        return dict(book.balances)
    with book.reading() as connection:
        rows = connection.execute(text("SELECT account, amount_ucr FROM balance"))
        return {row.account: row.amount_ucr for row in rows}


def transfers_of(book: Any, from_: int) -> list[Any]:
    """The transfers of the book from the n-th on."""
    if isinstance(book, InMemoryBook):
        return list(islice(book.posted.values(), from_, None))
    query = text(
        "SELECT t.*, e.account, e.amount_ucr FROM "
        "(SELECT * FROM transfer ORDER BY id LIMIT 1000000 OFFSET :from_) t "
        "JOIN entry e ON e.transfer_id = t.id ORDER BY t.id, e.position"
    )
    with book.reading() as connection:
        rows: dict[int, list[Any]] = {}
        for row in connection.execute(query, {"from_": from_}):
            rows.setdefault(row.id, []).append(tuple(row))
        return list(rows.values())

"""A flip of any byte of any ledger row is found, and its transfer is named."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quotas.book import Book
from quotas.book.actions.grants import VoidCommand
from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.book.verify.verify import verify

from ..book_builders import thaw
from ..test_book_stateful import Books

COLUMNS = [(t.name, c.name) for t in (TRANSFER, ENTRY) for c in t.columns]
Value = int | str


@pytest.fixture(scope="module")
def book() -> Iterator[Book]:
    """A month of charges, a refund, a transfer, a void and an expiry; its triggers dropped."""
    played = Books()
    played.begin(mode="shadow")
    played.hours_pass(hours=3)
    played.grants(name="acme", amount=7_000_000, priority=0, lasts_s=3601, in_s=1)
    played.hours_pass(hours=2)
    played.refunds(name="acme", share=0, for_s=6 * 3600)
    played.transfers(name="birch", amount=25_330_801)
    played.holds(name="acme", amount=7_000_000, lasts_s=3600)
    played.did(VoidCommand("birch", "birch-1"), played.model.void("birch", "birch-1"))
    played.time_passes(after_s=20 * 86_400, is_dark=False)
    kinds = {row["kind"] for row in played.harness.all("transfer")}
    assert kinds >= {"grant", "charge", "refund", "expiry", "transfer", "void", "hold"}
    thaw(played.harness.book)
    yield played.harness.book
    played.harness.book.close()


def rows_of(raw: sqlite3.Connection, table: str, column: str) -> list[tuple[int, int, Value]]:
    """Row id, transfer and value of every row."""
    of = "id" if table == "transfer" else "transfer_id"
    return raw.execute(f"SELECT rowid, {of}, {column} FROM {table} ORDER BY rowid").fetchall()


def with_flip(value: Value, place: int, mask: int) -> int | bytes:
    """The value with one byte changed; text is given as bytes, since it may be none now."""
    data = value.to_bytes(8, "big", signed=True) if isinstance(value, int) else value.encode()
    assume(data)
    place %= len(data)
    data = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
    return int.from_bytes(data, "big", signed=True) if isinstance(value, int) else data


@contextmanager
def written(
    raw: sqlite3.Connection, table: str, column: str, row: tuple[int, int, Value], new: int | bytes
) -> Iterator[bool]:
    """The book with another value in a row; False where SQLite itself refuses it."""
    rowid, _, old = row
    marked = "CAST(? AS TEXT)" if isinstance(new, bytes) else "?"
    raw.execute("PRAGMA foreign_keys = OFF")
    change = f"UPDATE {table} SET {column} = {marked} WHERE rowid = ?"
    try:
        raw.execute(change, (new, rowid))
    except sqlite3.IntegrityError:
        yield False
        return
    try:
        yield True
    finally:
        at = new if (table, column) == ("transfer", "id") else rowid
        raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (old, at))


def first_wrong(table: str, column: str, of: int, new: int | bytes, newest: int) -> set[int]:
    """Which transfers may be named as the first that is wrong."""
    assert not (column in ("id", "transfer_id") and isinstance(new, bytes))
    if (table, column) == ("transfer", "id"):
        return {of + 1, int(new)}  # a number is missing, or one is there that must not be
    if column == "transfer_id" and 1 <= int(new) <= newest:
        return {min(of, int(new))}
    return {of}


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=map(".".join, COLUMNS))
@settings(max_examples=12)
@given(data=st.data(), place=st.integers(0, 10_000), mask=st.integers(1, 255))
def test_any_flipped_byte_is_found(
    book: Book, table: str, column: str, data: st.DataObject, place: int, mask: int
) -> None:
    """I7: whichever byte of whichever column, `verify` names the first transfer it makes wrong."""
    raw = book.engine.raw_connection().driver_connection
    assert isinstance(raw, sqlite3.Connection)
    rows = rows_of(raw, table, column)
    row = data.draw(st.sampled_from(rows))
    new = with_flip(row[2], place, mask)
    with written(raw, table, column, row, new) as changed:
        if changed:
            fault = verify(book).fault or ""
            named = re.match(r"transfer (-?\d+)\b", fault)
            newest = max(number for _, number, _ in rows)
            assert named, fault
            assert int(named[1]) in first_wrong(table, column, row[1], new, newest), fault
    assert verify(book).fault is None

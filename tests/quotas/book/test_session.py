"""Transactions hold the write lock from their start, and the schema is what the tables say."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from quotas.book.schema.records import LeaseRow
from quotas.book.schema.tables import BALANCE, LEASE
from quotas.book.session import FILE_NAME, Book, BookError, rows_of

from .book_builders import amounts, digest, filled

TIMES = 100


def test_no_update_is_lost_between_two_writers(tmp_path: Path) -> None:
    """The BEGIN IMMEDIATE regression: two writers that read, then write, lose nothing."""
    book = Book.open(tmp_path)
    with book.writing() as connection:
        connection.execute(BALANCE.insert().values(account="n", amount_ucr=0))
    start, errors = threading.Barrier(2), []

    def count() -> None:
        try:
            start.wait()
            for _ in range(TIMES):
                with book.writing() as connection:
                    read = connection.scalar(select(BALANCE.c.amount_ucr)) or 0
                    connection.execute(update(BALANCE).values(amount_ucr=read + 1))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert amounts(book) == {"n": 2 * TIMES}
    book.close()


@pytest.mark.parametrize("table", ["transfer", "entry", "decision", "program_version"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_what_is_written_stays_as_it_is(table: str, verb: str) -> None:
    """I7: a trigger refuses to change or delete what is append-only."""
    book = filled(Book.in_memory())
    with book.writing() as connection:
        connection.execute(
            text("INSERT INTO decision VALUES (1, 0, 'off', 'v', 's', '', 'r', 'c', '{}')")
        )
    before = digest(book)
    column = "position" if table == "entry" else "id"
    with pytest.raises(IntegrityError, match="append-only"), book.writing() as connection:
        connection.execute(text(verb.format(table, column, column)))
    assert digest(book) == before


def test_a_transaction_that_fails_writes_nothing() -> None:
    """I24: an error in the middle takes back all that the transaction wrote."""
    book = filled(Book.in_memory())
    before = digest(book)
    with pytest.raises(IntegrityError, match="UNIQUE"), book.writing() as connection:
        connection.execute(BALANCE.insert(), 2 * [{"account": "n", "amount_ucr": 0}])
    assert digest(book) == before


def test_single_rows_are_written_with_their_transaction() -> None:
    """What a session adds or changes is there after it, and gone if the transaction fails."""
    book = Book.in_memory()
    with book.writing() as connection:
        with rows_of(connection) as rows:
            rows.add(LeaseRow(name="a", holder="one", epoch=1, expires_s=0))
        assert connection.scalar(select(LEASE.c.epoch)) == 1
    with suppress(ZeroDivisionError), book.writing() as connection:
        with rows_of(connection) as rows:
            row = rows.get(LeaseRow, "a")
            assert row is not None
            row.epoch = 2
        assert connection.scalar(select(LEASE.c.epoch)) == 2
        raise ZeroDivisionError
    with book.reading() as connection:
        assert connection.scalar(select(LEASE.c.epoch)) == 1


def test_nothing_is_written_through_a_read() -> None:
    """What a reader writes by mistake is gone when it leaves."""
    book = Book.in_memory()
    with book.reading() as connection:
        connection.execute(BALANCE.insert().values(account="n", amount_ucr=0))
    assert amounts(book) == {}


def test_a_reader_sees_one_instant(tmp_path: Path) -> None:
    """A commit in between does not change what a read in progress sees."""
    book = filled(Book.open(tmp_path))
    query = select(BALANCE.c.amount_ucr).where(BALANCE.c.account == "usage:acme")
    with book.reading() as reader:
        before = reader.scalar(query)
        with book.writing() as writer:
            writer.execute(update(BALANCE).values(amount_ucr=0))
        assert reader.scalar(query) == before
    book.close()


def test_the_migrated_schema_is_that_of_the_tables() -> None:
    """I23: migrations lead to exactly the tables, columns and indexes that the schema declares."""
    with Book.in_memory().reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_a_newer_book_is_refused_and_left_alone(tmp_path: Path) -> None:
    """I23: a downgrade refuses loudly, and changes not a row."""
    book = filled(Book.open(tmp_path))
    with book.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = digest(book)
    with pytest.raises(BookError, match=r"9999.*newer.*nothing was changed"):
        Book.open(tmp_path)
    assert digest(book) == before
    with book.reading() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    book.close()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """A book of this version is taken as it is."""
    first = filled(Book.open(tmp_path))
    before = digest(first)
    first.close()
    second = Book.open_existing(tmp_path)
    assert digest(second) == before
    second.close()


def test_a_book_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    """Commands that only read refuse a folder without a book, and leave none behind."""
    with pytest.raises(BookError, match="no book there"):
        Book.open_existing(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_book_is_refused(tmp_path: Path) -> None:
    """Something else under our name is a BookError that names it, and stays as it was."""
    other = tmp_path / FILE_NAME
    other.write_bytes(b"this is no database" * 100)
    with pytest.raises(BookError, match=FILE_NAME):
        Book.open(tmp_path)
    assert other.read_bytes() == b"this is no database" * 100


def test_commits_survive_a_power_loss(tmp_path: Path) -> None:
    """The file is in WAL mode with synchronous=FULL, and foreign keys bind."""
    book = Book.open(tmp_path)
    with book.reading() as connection:
        values = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]
    book.close()

"""The view: it equals the book after each publishing, and a reader's lock delays only itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from quotas.book import Address, Book, BookError
from quotas.book.actions.notices import acknowledge
from quotas.book.actions.tokens import list_tokens
from quotas.book.cycle.state import load_state
from quotas.book.schema.records import METADATA
from quotas.book.view_file import COPIED_TABLES, publish, published_s
from tests.exporters.api.api_fixture import NOW_S, fill, mint_all

NOT_SHOWN = {"lease", "chain_head", "alembic_version"}
SECRETS = {"outbox": {"recipient", "facts", "detail"}}


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[Book, Address]]:
    """A book with rows of two startups, and the address of its view."""
    address = Address(tmp_path / "state")
    book = Book.open(address)
    fill(book)
    mint_all(book)
    yield book, address.view
    book.close()


def rows(connection: Connection, name: str) -> list[tuple[object, ...]]:
    """The rows of a table, without what readers need not know."""
    hidden = SECRETS.get(name, set())
    columns = [column for column in METADATA.tables[name].c if column.name not in hidden]
    return sorted(map(tuple, connection.execute(select(*columns))), key=repr)


def assert_equal(book: Book, view: Address) -> None:
    """Each table that readers need has the same rows in both, and so has the state."""
    with closing(Book.open_read_only(view)) as copy:
        assert load_state(copy) == load_state(book)
        with copy.reading() as seen, book.reading() as truth:
            for name in COPIED_TABLES:
                assert rows(seen, name) == rows(truth, name), name


def test_each_table_is_shown_or_is_not_for_readers() -> None:
    """A new table must be copied, or named here as one that no reader needs."""
    assert set(METADATA.tables) <= COPIED_TABLES | NOT_SHOWN
    assert not COPIED_TABLES & NOT_SHOWN


def test_a_change_of_each_kind_is_published(filled: tuple[Book, Address]) -> None:
    """New rows, a final notice that is acknowledged, a revocation, and a row that is gone."""
    book, view = filled
    publish(book, view, NOW_S)
    assert_equal(book, view)
    with book.writing() as connection:
        connection.execute(text("UPDATE notice SET state = 'cancelled'"))
        connection.execute(text("UPDATE run SET end_s = 3600 WHERE startup = 'acme'"))
        connection.execute(text("UPDATE token SET revoked_s = 5"))
        connection.execute(text("DELETE FROM zone"))
        connection.execute(text("UPDATE balance SET amount_ucr = amount_ucr + 1"))
    publish(book, view, NOW_S + 1)
    assert_equal(book, view)
    acknowledge(book, 1, "ada", NOW_S + 2)
    publish(book, view, NOW_S + 3)
    assert_equal(book, view)
    assert published_s(view) == NOW_S + 3


def test_a_book_that_was_restored_is_shown_whole(filled: tuple[Book, Address]) -> None:
    """The view of another book is built again: of fewer rows, or of other rows with their ids."""
    book, view = filled
    publish(book, view, NOW_S)
    with Book.open(Address(view.folder / "other")).writing() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transfer")) == 0
    other = Book.open(Address(view.folder / "other"))
    publish(other, view, NOW_S)
    assert_equal(other, view)
    with other.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO override VALUES (1, 'mode', '*', 'shadow', 1, NULL, 'ada', 'one', '')"
            )
        )
    publish(other, view, NOW_S)
    with sqlite3.connect(view.folder / "other" / "cohortd.db") as raw:
        raw.execute("DROP TRIGGER override_refuses_update")
        raw.execute("UPDATE override SET reason = 'two'")
    publish(other, view, NOW_S)
    assert_equal(other, view)
    other.close()


def test_a_damaged_view_is_replaced(filled: tuple[Book, Address]) -> None:
    """A file that is no database, or of another schema, is built again in one step."""
    book, view = filled
    publish(book, view, NOW_S)
    assert view.file is not None
    for damage in (b"no database" * 1000, b""):
        view.file.write_bytes(damage)
        publish(book, view, NOW_S)
        assert_equal(book, view)
    assert sorted(path.name for path in view.folder.iterdir()) == ["view.db"]


def test_a_reader_s_lock_delays_a_publishing_and_no_write_of_the_book(
    filled: tuple[Book, Address],
) -> None:
    """While a reader holds the view nothing is published, and the book is written as ever."""
    book, view = filled
    publish(book, view, NOW_S)
    with closing(sqlite3.connect(f"file:{view.file}?mode=ro", uri=True)) as reader:
        reader.isolation_level = None
        reader.execute("BEGIN")
        with book.reading() as connection:
            tokens = connection.execute(text("SELECT count(*) FROM token")).scalar_one()
        assert reader.execute("SELECT count(*) FROM token").fetchone() == (tokens,)
        with book.writing() as connection:
            connection.execute(text("UPDATE token SET revoked_s = 5"))
        with pytest.raises((OperationalError, BookError), match="locked"):
            publish(book, view, NOW_S + 1)
        with book.writing() as connection:  # the failed publishing holds nothing of the book
            connection.execute(text("UPDATE token SET revoked_s = 6"))
        with closing(sqlite3.connect(view.folder.parent / "cohortd.db")) as raw:
            assert raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        assert published_s(view) == NOW_S
        reader.execute("ROLLBACK")
    publish(book, view, NOW_S + 2)
    with closing(Book.open_read_only(view)) as copy:
        assert {token.revoked_s for token in list_tokens(copy)} == {6}


def test_nothing_is_written_where_nothing_changed(filled: tuple[Book, Address]) -> None:
    """The same book published twice is the same file, with another instant."""
    book, view = filled
    publish(book, view, NOW_S)
    assert view.file is not None
    before, number = view.file.read_bytes(), os.stat(view.file).st_ino
    publish(book, view, NOW_S + 9)
    assert (view.file.read_bytes(), os.stat(view.file).st_ino) == (before, number)
    assert published_s(view) == NOW_S + 9


def test_the_view_has_no_addresses_and_no_letters(filled: tuple[Book, Address]) -> None:
    """Recipients and texts of messages, which may be secret, are not shown to the API."""
    book, view = filled
    columns = [column.name for column in METADATA.tables["outbox"].c]
    values = dict.fromkeys(columns, "'x'") | dict.fromkeys(
        ("id", "notice_id", "created_s", "due_s", "deadline_s", "attempts", "epoch"), "1"
    )
    values |= {"is_urgent": "1", "claimed_s": "NULL", "ended_s": "NULL"}
    values |= dict.fromkeys(SECRETS["outbox"], "'https://hooks.example/secret'")
    with book.writing() as connection:
        listed = f"({', '.join(values)}) VALUES ({', '.join(values.values())})"
        connection.execute(text(f"INSERT INTO outbox {listed}"))
    publish(book, view, NOW_S)
    assert view.file is not None and b"hooks.example" not in view.file.read_bytes()
    assert_equal(book, view)

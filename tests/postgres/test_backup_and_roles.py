"""What docs/install.md says of PostgreSQL holds: backups are whole, a reader's role is enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, ProgrammingError

from quotas.book import Book, postgresql
from quotas.book.cycle.commit import commit
from quotas.book.cycle.state import load_state
from quotas.book.reads.changes import open_watch
from quotas.book.schema.tables import BALANCE, TRANSFER
from quotas.book.verify.verify import verify
from tests.quotas.book.book_builders import charges, digest, filled, lease_of, result_of

from .server import Server


def test_a_dump_restored_elsewhere_is_the_same_book(server: Server, tmp_path: Path) -> None:
    """A backup has rows, chain and triggers, and the copy can be written."""
    places = [server.database(tmp_path) for _ in range(2)]
    book = filled(Book.open(places[0]))
    head = verify(book).chain_heads
    server.copy(*places)
    copy = Book.open_existing(places[1])
    assert digest(copy) == digest(book)
    assert verify(copy, expected_heads=frozenset(head.values())).fault is None
    with pytest.raises(IntegrityError, match="append-only"), copy.writing() as connection:
        connection.execute(TRANSFER.delete())
    later = result_of(transfers=charges(1, first=3))
    commit(copy, later, lease_of(copy, now_s=4 * 3600), 4 * 3600)
    assert verify(copy).fault is None and verify(copy).transfers == verify(book).transfers + 1
    book.close()
    copy.close()


def test_a_role_that_may_only_read_is_enough_to_serve(server: Server, tmp_path: Path) -> None:
    """The reader's role reads the book and sees commits; the database refuses its writes."""
    owners = server.database(tmp_path)
    readers = server.reader(owners)
    book = filled(Book.open(owners))
    reader, watch = Book.open_read_only(readers), open_watch(readers)
    assert load_state(reader) == load_state(book)
    assert verify(reader).fault is None
    before = watch.version()
    with book.writing() as connection:
        connection.execute(BALANCE.insert().values(account="n", amount_ucr=0))
    assert watch.version() != before
    direct = Book(postgresql.make_engine(readers.url, writes=True))
    with pytest.raises(ProgrammingError, match="permission denied"), direct.writing() as connection:
        connection.execute(BALANCE.delete())
    for each in (reader, book, direct):
        each.close()
    watch.close()

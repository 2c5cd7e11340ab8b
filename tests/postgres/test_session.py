"""Sessions on PostgreSQL: one writer at a time, one schema, append-only rows, pure readers."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError
from sqlmodel import SQLModel

from quotas.book import Address, Book, BookError, BookUnreachable, postgresql
from quotas.book.cycle.lease import Lease, StaleEpoch, acquire, fence
from quotas.book.reads.changes import open_watch
from quotas.book.schema.tables import BALANCE
from quotas.book.verify import verify as verification
from quotas.book.verify.verify import verify
from quotas.migrations.guards import behave_as_sqlite
from tests.quotas.book.book_builders import amounts, digest, filled

from .server import Server

TIMES = 50
APPEND_ONLY = ["transfer", "entry", "decision", "program_version", "statement", "chain_head"]
APPEND_ONLY += ["override", "inbox_answer", "price", "listing"]
CHANGES = ["UPDATE {} SET epoch = 0", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
SCHEMA = """
SELECT table_name, column_name, data_type, is_nullable, collation_name
FROM information_schema.columns WHERE table_schema = current_schema()
AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
INDEXES = """
SELECT tablename, indexname, replace(indexdef, schemaname || '.', '') FROM pg_indexes
WHERE schemaname = current_schema() AND tablename <> 'alembic_version' ORDER BY 1, 2
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0
AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
"""
NUMBERED = """
SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema()
AND column_default LIKE 'next_id(%' ORDER BY 1
"""


def hasten(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """Let that timeout of writing transactions end at once."""
    quick = re.sub(rf"{setting} = \d+", f"{setting} = 50", postgresql.BEGIN_WRITING)
    assert quick != postgresql.BEGIN_WRITING
    monkeypatch.setattr(postgresql, "BEGIN_WRITING", quick)


def test_no_update_is_lost_between_two_writers(address: Address) -> None:
    """As with BEGIN IMMEDIATE, two programs that read and then write lose nothing."""
    books = [Book.open(address) for _ in range(2)]
    with books[0].writing() as connection:
        connection.execute(BALANCE.insert().values(account="n", amount_ucr=0))
    start, errors = threading.Barrier(2), []

    def count(book: Book) -> None:
        try:
            start.wait()
            for _ in range(TIMES):
                with book.writing() as connection:
                    read = connection.scalar(select(BALANCE.c.amount_ucr)) or 0
                    connection.execute(update(BALANCE).values(amount_ucr=read + 1))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=count, args=[book]) for book in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert amounts(books[0]) == {"n": 2 * TIMES}
    for book in books:
        book.close()


def test_two_programs_that_migrate_at_once_both_open(address: Address) -> None:
    """The lock exists before the first table: one program migrates, the other finds it done."""
    start, opened = threading.Barrier(2), []

    def migrate() -> None:
        start.wait()
        opened.append(Book.open(address))

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 2
    for book in opened:
        book.close()


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_what_is_written_stays_as_it_is(book: Book, table: str) -> None:
    """I7: every append-only table has triggers against UPDATE, DELETE and TRUNCATE."""
    query = text(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = CAST(:table AS regclass) "
        "AND NOT tgisinternal AND tgenabled = 'O' ORDER BY 1"
    )
    with book.reading() as connection:
        found = connection.scalars(query, {"table": table}).all()
    assert found == [f"{table}_refuses_{verb}" for verb in ("delete", "truncate", "update")]


@pytest.mark.parametrize(
    "verb", ["UPDATE {} SET epoch = 0", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_the_ledger_refuses_every_change(book: Book, verb: str) -> None:
    """I7: the three are refused with the text of SQLite's triggers, and change nothing."""
    before = digest(filled(book))
    with pytest.raises(IntegrityError, match="transfer is append-only"), book.writing() as writer:
        writer.execute(text(verb.format("transfer")))
    assert digest(book) == before


def test_a_reader_sees_one_instant(book: Book) -> None:
    """A commit in between does not change what a read in progress sees."""
    filled(book)
    query = select(BALANCE.c.amount_ucr).where(BALANCE.c.account == "usage:acme")
    with book.reading() as reader:
        before = reader.scalar(query)
        with book.writing() as writer:
            writer.execute(update(BALANCE).values(amount_ucr=0))
        assert reader.scalar(query) == before
    with book.reading() as reader:
        assert reader.scalar(query) == 0


def test_nothing_is_written_through_a_read(address: Address, book: Book) -> None:
    """The database refuses writes in a read, and in every transaction of a reader's book."""
    reader = Book.open_read_only(address)
    row = BALANCE.insert().values(account="n", amount_ucr=0)
    for way in (book.reading, reader.reading, reader.writing):
        with pytest.raises(InternalError, match="read-only transaction"), way() as connection:
            connection.execute(row)
    assert amounts(book) == {}
    reader.close()


def test_the_migrated_schema_is_that_of_the_tables(server: Server, tmp_path: Path) -> None:
    """I23: migrations lead to the columns, indexes and constraints of a fresh schema."""
    migrated, empty = (Book.open(server.database(tmp_path)) for _ in range(2))
    with migrated.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
        schema = schema_of(connection)
    with empty.writing() as connection:
        connection.execute(text("CREATE SCHEMA fresh"))
        connection.execute(text("SET LOCAL search_path = fresh"))
        SQLModel.metadata.create_all(connection, checkfirst=False)
        behave_as_sqlite(connection)
        assert schema_of(connection) == schema
    collations = {row[4] for row in schema[0] if row[2] == "character varying"}
    assert collations == {"C"}
    wide = [row for row in schema[0] if re.search("(?<!error)_s$|_ucr", str(row[1]))]
    assert {row[2] for row in wide} == {"bigint"} and len(wide) > 50
    for book in (migrated, empty):
        book.close()


def schema_of(connection: Connection) -> list[list[tuple[object, ...]]]:
    """Columns, indexes and constraints, and the tables that number their own rows."""
    queries = (SCHEMA, INDEXES, CONSTRAINTS, NUMBERED)
    return [[tuple(row) for row in connection.execute(text(query))] for query in queries]


def test_a_number_is_one_above_the_highest(book: Book) -> None:
    """As in SQLite, a rollback leaves no gap, and the rows of one statement are numbered on."""
    insert = "INSERT INTO override (family, subject, value, at_s, actor, reason, before) VALUES "
    row = "('f', 's', 'v', 0, 'a', 'r', '')"
    with suppress(ZeroDivisionError), book.writing() as connection:
        connection.execute(text(insert + row))
        raise ZeroDivisionError
    with book.writing() as connection:
        connection.execute(text(f"{insert}{row}, {row}, {row}"))
    with book.reading() as connection:
        assert connection.scalars(text("SELECT id FROM override ORDER BY id")).all() == [1, 2, 3]


def test_a_newer_book_is_refused_and_left_alone(address: Address, book: Book) -> None:
    """I23: a downgrade is refused with a sentence, and changes no row."""
    before = digest(filled(book))
    with book.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BookError, match=r"9999.*newer.*nothing was changed"):
        Book.open(address)
    with pytest.raises(BookError, match=r"9999.*does not read"):
        Book.open_read_only(address)
    assert digest(book) == before


def test_a_database_that_cannot_hold_every_name_is_refused(server: Server, tmp_path: Path) -> None:
    """A database in another encoding is refused at once, before a name that it cannot store."""
    latin = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    with pytest.raises(BookError, match=r"LATIN1.*createdb --encoding UTF8"):
        Book.open(server.database(tmp_path, latin))


def test_an_empty_database_has_no_book(address: Address) -> None:
    """A command that only reads refuses an empty database, and creates nothing in it."""
    with pytest.raises(BookError, match="no book there"):
        Book.open_existing(address)
    assert not Book.exists_at(address)


@pytest.mark.parametrize(
    "url", ["mysql://a@b/c", "postgresql://", "somewhere", "postgresql://a:b:c"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """A bad URL gets one sentence with the right form; the input may hold a password."""
    with pytest.raises(BookError, match="write postgresql://USER@HOST/NAME"):
        Book.open(Address(Path("s"), url))


def test_a_server_that_is_away_is_told_without_the_password(address: Address) -> None:
    """Unreachable is another error than a wrong book: one line, without the password."""
    where = address.url.update_query_dict({"host": f"{address.folder}/nowhere"})
    ways = (where.set(password="sesame"), where.update_query_dict({"password": "sesame"}))
    for url in (way.render_as_string(hide_password=False) for way in ways):
        found = Address(address.folder, url)
        with pytest.raises(BookUnreachable) as refused:
            Book.open(found)
        assert "sesame" in url and "\n" not in str(refused.value)
        assert "sesame" not in f"{refused.value} {found} {found!r} {found.book}"


def test_who_waits_too_long_for_the_lock_hears_an_error(
    address: Address, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that does not end delays others for a bounded time; then they may try again."""
    other = Book.open(address)
    hasten(monkeypatch, "lock_timeout")
    with book.writing() as held:
        with pytest.raises(OperationalError, match="lock timeout"), other.writing():
            pass
        held.execute(BALANCE.insert().values(account="n", amount_ucr=1))
    with other.writing() as connection:
        assert connection.scalar(select(BALANCE.c.amount_ucr)) == 1
    other.close()


def test_a_writer_that_fell_silent_loses_the_lock(
    address: Address, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a host that stalls in a transaction, so another host can lead."""
    other, lease = Book.open(address), Lease("a", 1, 100)
    assert acquire(book, "a", 0, 100) == lease
    hasten(monkeypatch, "idle_in_transaction_session_timeout")
    with suppress(DBAPIError), book.writing() as stalled:
        stalled.execute(BALANCE.insert().values(account="n", amount_ucr=1))
        monkeypatch.undo()
        # This waits for the lock, until the server takes it from the stalled host.
        assert acquire(other, "b", 100, 100) == Lease("b", 2, 200)
    assert amounts(book) == {}
    with pytest.raises(StaleEpoch), book.writing() as connection:
        fence(connection, lease)
    other.close()


TAMPERED = {
    "UPDATE entry SET amount_ucr = amount_ucr + 1 WHERE transfer_id = 2": "transfer 2",
    "UPDATE transfer SET reason = 'nothing' WHERE id = 3": "content does not match its hash",
    "DELETE FROM transfer WHERE id = 2": "some are missing",
    "UPDATE balance SET amount_ucr = 7 WHERE account = 'usage:acme'": "balance of usage:acme",
}


@pytest.mark.parametrize("statement", TAMPERED)
def test_verify_finds_what_a_superuser_changed(
    server: Server, address: Address, book: Book, statement: str
) -> None:
    """I7: if triggers are bypassed, the hash chain shows it."""
    filled(book)
    assert verify(book).fault is None
    server.tamper(address, statement)
    assert TAMPERED[statement] in str(verify(book).fault)


def test_a_server_that_goes_away_is_no_fault_of_the_book(
    server: Server, address: Address, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If `verify` loses its connection, it fails as such, and reports no transfer as false."""
    filled(book)
    newest = verification.newest_transfer_id

    def interrupted(connection: Connection) -> int:
        server.end_sessions(address)
        return newest(connection)

    monkeypatch.setattr(verification, "newest_transfer_id", interrupted)
    with pytest.raises(OperationalError):
        verify(book)
    monkeypatch.undo()
    assert verify(book).fault is None


def test_the_watch_tells_commits_from_silence(address: Address, book: Book) -> None:
    """The change mark is stable without a commit, and differs after one."""
    watch = open_watch(address)
    before = watch.version()
    assert watch.version() == before
    with book.writing() as connection:
        connection.execute(BALANCE.insert().values(account="n", amount_ucr=0))
        assert watch.version() == watch.version()
    assert watch.version() != before
    watch.close()
    with pytest.raises(BookError):
        open_watch(replace(address, database=address.database.replace("/postgres", "/nothing")))


def test_ranges_of_names_are_those_of_code_points(book: Book) -> None:
    """As in SQLite, `B` comes before `a` and `-` before letters, in any locale."""
    names = ["a", "B", "a-b", "ab", "é"]
    with book.writing() as connection:
        rows = [{"account": name, "amount_ucr": 0} for name in names]
        connection.execute(BALANCE.insert(), rows)
        order = select(BALANCE.c.account).order_by(BALANCE.c.account)
        assert connection.scalars(order).all() == sorted(names)
        between = order.where(BALANCE.c.account.between("a", "b"))
        assert connection.scalars(between).all() == ["a", "a-b", "ab"]

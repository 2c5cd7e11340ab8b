"""I23: a book of the first schema migrates to the next with its rows, on both databases.

The next version is synthetic: the migrations of this one, with one more that a later version
might bring. Opening a book applies it, as it applies every version.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

import quotas.migrations
from quotas.book import Address, Book, BookError
from quotas.book.actions.execute import perform_action
from quotas.book.verify.verify import verify
from tests.quotas.book.action_builders import GRANT, a_book, an_action

from .test_session import schema_of

REPO = Path(__file__).resolve().parents[2]
FIRST = Path(quotas.migrations.__file__).parent
SECOND = '''
"""A note on each run, and a table with numbered rows."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("run", sa.Column("note", sa.String(), nullable=False, server_default=""))
    op.execute("UPDATE run SET note = 'ran as ' || server_name")
    op.create_table(
        "comment",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("text", sa.String(), nullable=False, index=True),
    )
    op.execute("INSERT INTO comment (text) SELECT note FROM run")
'''
FAULTY = SECOND + "    op.execute('INSERT INTO nowhere VALUES (1)')\n"
SPEAKS_SQLITE = re.compile(
    r"dialects\.sqlite|dialects import sqlite|json_extract\(|json_each|\browid\b|INSERT OR|LIMIT -1"
    r"|PRAGMA|GLOB|sqlite_master|sqlite_schema"
)
MAY = {
    "quotas/book/sqlite.py": "is SQLite's side of the book",
    "quotas/book/reads/history.py": "has a branch for each",
    "quotas/book/reads/changes.py": "has a class for each",
    "quotas/book/inbox.py": "is a SQLite file beside either book",
}


@pytest.fixture(params=["file", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    """Where to make a book on each of the two databases."""
    if request.param == "file":
        return Address(tmp_path)
    found: Address = request.getfixturevalue("address")
    return found


class Versions:
    """Choose the migrations: those of the product, or those of a later version."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch

    def install(self, second: str) -> None:
        """Use the migrations of this version, and a second one."""
        package = self._folder / "migrations"
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(FIRST, package)
        (package / "versions/0002_second.py").write_text(second)
        self._monkeypatch.setattr(quotas.migrations, "__file__", str(package / "__init__.py"))

    def install_first(self) -> None:
        """Use the migrations of this version only."""
        self._monkeypatch.undo()


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    """The migrations of this version; a test may install a second one."""
    return Versions(tmp_path, monkeypatch)


def test_an_upgrade_keeps_every_row(place: Address, versions: Versions) -> None:
    """Every row stays, the values that the new version derives exist, and keys work."""
    book = a_book(Book.open(place))
    answer = perform_action(book, an_action(GRANT, "k"))
    before = _rows(book)
    assert (
        before["transfer"]
        and before["run"]
        and before["operator_action"]
        and before["program_version"]
    )
    book.close()
    versions.install(SECOND)
    book = Book.open(place)
    with book.reading() as connection:
        assert _revision(connection) == "0002"
        assert _all(connection, "SELECT DISTINCT note FROM run") == [("ran as name-s1",)]
    assert _rows(book) == before
    assert verify(book).fault is None
    assert perform_action(book, an_action(GRANT, "k")) == answer
    with pytest.raises(IntegrityError, match="append-only"), book.writing() as connection:
        connection.execute(text("UPDATE transfer SET epoch = 9"))
    assert book.engine.dialect.name == ("postgresql" if place.database else "sqlite")
    book.close()


def test_an_upgrade_that_fails_midway_leaves_the_book(place: Address, versions: Versions) -> None:
    """A failed migration is rolled back as a whole, and can be tried again."""
    book = a_book(Book.open(place))
    before = _rows(book)
    versions.install(FAULTY)
    with pytest.raises(BookError, match="nowhere"):
        Book.open(place)
    with book.reading() as connection:
        assert _revision(connection) == "0001"
        assert not inspect(connection).has_table("comment")
    assert _rows(book) == before
    book.close()
    versions.install(SECOND)
    book = Book.open(place)
    assert _rows(book) == before
    book.close()


def test_the_version_before_refuses_an_upgraded_book(place: Address, versions: Versions) -> None:
    """A downgrade says what to do, and the book keeps the newer version."""
    versions.install(SECOND)
    Book.open(place).close()
    versions.install_first()
    with pytest.raises(BookError, match=r"0002.*newer.*nothing was changed"):
        Book.open(place)
    with pytest.raises(BookError, match=r"0002.*does not read"):
        Book.open_read_only(place)


def test_an_upgrade_leads_to_the_schema_of_a_new_book(
    address: Address, versions: Versions, request: pytest.FixtureRequest
) -> None:
    """PostgreSQL's tables are the same for a new book and for a migrated one."""
    Book.open(address).close()
    versions.install(SECOND)
    direct = Book.open(request.getfixturevalue("server").address(address.folder))
    slowly = Book.open(address)
    with direct.reading() as one, slowly.reading() as two:
        assert schema_of(one) == schema_of(two)
        assert ("comment",) in schema_of(one)[3]
    direct.close()
    slowly.close()


def test_only_a_few_modules_speak_sqlite() -> None:
    """Only the listed modules contain SQL that PostgreSQL lacks, each beside a branch for it."""
    found = {
        str(path.relative_to(REPO))
        for folder in ("quotas", "scheduler", "exporters")
        for path in (REPO / folder).rglob("*.py")
        if "migrations" not in path.parts and SPEAKS_SQLITE.search(path.read_text())
    }
    assert found == set(MAY)


def _all(connection: Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


def _revision(connection: Connection) -> object:
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def _rows(book: Book) -> dict[str, list[str]]:
    """Every row of every table of this version."""
    with book.reading() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(table.select()).all()))
            for table in SQLModel.metadata.sorted_tables
        }

"""The book: open it, migrate it, and read or write it in transactions.

`quotas.book.sqlite` and `quotas.book.postgresql` hold what differs between the databases.
Both promise that a transaction that writes holds the book's one write lock from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

import quotas.migrations
from quotas.book import postgresql, sqlite
from quotas.book.address import FILE_NAME, Address, BookError, BookUnreachable

__all__ = ["FILE_NAME", "Address", "Book", "BookError", "BookUnreachable", "rows_of"]


class Book:
    """A connection factory to one database, migrated to this version's schema."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        is_sqlite = engine.dialect.name == "sqlite"
        self._reading = {"reading": True, **({} if is_sqlite else postgresql.READING)}

    @classmethod
    def open(cls, location: Path | Address) -> Book:
        """Open, or create, the book at an address. Raises BookError."""
        address = Address.from_path(location)
        if address.database:
            return cls._migrated(postgresql.make_engine(address.url, writes=True), address)
        _create_file(address)
        return cls._migrated(sqlite.make_engine(f"sqlite:///{address.file}"), address)

    @classmethod
    def open_view(cls, view: Address) -> Book:
        """Open, or create, a copy of the book for readers, in order to write it.

        Raises BookError.
        """
        return cls._migrated(sqlite.make_view_engine(_create_file(view)), view)

    @classmethod
    def open_existing(cls, location: Path | Address) -> Book:
        """Open a book that exists already. Raises BookError."""
        address = Address.from_path(location)
        if not cls.exists_at(address):
            raise BookError(
                f"{address}: no book there; 'cohortd apply {address} --program FILE' makes one"
            )
        return cls.open(address)

    @classmethod
    def exists_at(cls, location: Path | Address) -> bool:
        """Whether a book exists at an address. Creates none. Raises BookError."""
        address = Address.from_path(location)
        if address.file is not None:
            return address.file.is_file()
        book = cls(postgresql.make_engine(address.url, writes=False))
        try:
            return book._revision(address) is not None
        finally:
            book.close()

    @classmethod
    def open_read_only(cls, location: Path | Address) -> Book:
        """Open a book that another process writes; the database refuses every write here.

        Raises BookError if it does not exist, cannot be read, or has another schema.
        """
        address = Address.from_path(location)
        file = address.file
        engine = (
            postgresql.make_engine(address.url, writes=False)
            if file is None
            else sqlite.make_reader_engine(file)
        )
        book = cls(engine)
        try:
            current = book._revision(address)
            if current != _scripts().get_current_head():
                raise BookError(
                    f"the book {address.book} is of schema {current}, which this cohortd does "
                    "not read: run 'cohortd run' and 'cohortd serve' of the same version"
                )
        except BookError:
            engine.dispose()
            raise
        return book

    @classmethod
    def in_memory(cls) -> Book:
        """A book that lives as long as this object, for tests and simulations."""
        engine = sqlite.make_engine("sqlite://", poolclass=StaticPool)
        return cls._migrated(engine, Address(Path("in memory")))

    @classmethod
    def _migrated(cls, engine: Engine, address: Address) -> Book:
        book = cls(engine)
        try:
            book._upgrade()
        except SQLAlchemyError as error:
            engine.dispose()
            raise _refusal(address, "opened", error) from error
        return book

    def _revision(self, address: Address) -> str | None:
        """The schema's revision; None where there is none. Raises BookError."""
        try:
            with self.reading() as connection:
                return MigrationContext.configure(connection).get_current_revision()
        except SQLAlchemyError as error:
            raise _refusal(address, "read", error) from None

    def _upgrade(self) -> None:
        config = _settings()
        with self.writing() as connection:
            script = ScriptDirectory.from_config(config)
            current = MigrationContext.configure(connection).get_current_revision()
            known = {revision.revision for revision in script.walk_revisions()}
            if current is not None and current not in known:
                raise BookError(
                    f"the book is of schema {current}, which is newer than this cohortd "
                    "knows: install the newer cohortd again; nothing was changed"
                )
            if current != script.get_current_head():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that holds the write lock from its start, committed at the end."""
        return self.engine.begin()

    def reading(self) -> AbstractContextManager[Connection]:
        """A consistent view of the book. Nothing can be written through it."""
        return self.engine.connect().execution_options(**self._reading)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def rows_of(connection: Connection) -> Iterator[Session]:
    """Single rows as objects within a transaction. The end of the block writes every change.

    The transaction belongs to the connection. Statements that the connection executes inside
    the block see what the session has flushed.
    """
    with Session(connection, join_transaction_mode="rollback_only") as rows:
        yield rows
        rows.flush()


def _create_file(address: Address) -> Path:
    """The file at an address, created if it is absent. Raises BookError."""
    assert address.file is not None, "a database has no file"
    try:
        sqlite.create_file(address.file)
    except OSError as error:
        raise BookError(f"{address}: {error.strerror}; name a writable folder") from None
    return address.file


def _refusal(address: Address, verb: str, error: SQLAlchemyError) -> BookError:
    """The database's error as one sentence."""
    why = " ".join(str(error.args[0]).split())
    gone = address.file is None and isinstance(error, OperationalError | InterfaceError)
    kind = BookUnreachable if gone else BookError
    return kind(f"the book {address.book} cannot be {verb}: {why}")


def _settings() -> Config:
    config = Config()
    folder = Path(quotas.migrations.__file__).parent
    config.set_main_option("script_location", str(folder))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_settings())

"""How is the book opened, and how does a transaction begin and end?

SQLite in WAL mode with `synchronous=FULL`. The driver's own transactions are off and
every write begins with BEGIN IMMEDIATE: with SQLAlchemy's defaults a SELECT opens no
transaction, and two writers that read and then write lose half of their updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

import quotas.migrations

BUSY_TIMEOUT_MS = 10_000
FILE_NAME = "cohortd.db"


class BookError(Exception):
    """The book cannot be opened, read or written; the text says what to do."""


class Book:
    """A connection factory to one database, migrated to this version's schema."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, state: Path) -> Book:
        """Open, or create, the SQLite book in a state directory. Raises BookError."""
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BookError(f"--state {state}: {error.strerror}; name a writable folder") from None
        return cls._migrated(f"sqlite:///{state / FILE_NAME}")

    @classmethod
    def open_existing(cls, state: Path) -> Book:
        """Open a book that must be there already. Raises BookError."""
        if not (state / FILE_NAME).is_file():
            raise BookError(
                f"--state {state}: no book there; 'cohortd apply --state {state} "
                "--program FILE' makes one"
            )
        return cls.open(state)

    @classmethod
    def open_read_only(cls, state: Path) -> Book:
        """Open a book that another process writes; SQLite itself refuses every write here.

        Raises BookError where it is not there, not readable, or of another schema.
        """
        path = state / FILE_NAME
        url = f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true"
        engine = create_engine(url, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _configure_reader)
        event.listen(engine, "begin", _begin)
        book = cls(engine)
        try:
            with book.reading() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
        except SQLAlchemyError as error:
            engine.dispose()
            raise BookError(f"the book {path} cannot be read: {error.args[0]}") from None
        if current != _scripts().get_current_head():
            engine.dispose()
            raise BookError(
                f"the book {path} is of schema {current}, which this cohortd does not read: "
                "run 'cohortd run' and 'cohortd serve' of the same version"
            )
        return book

    @classmethod
    def in_memory(cls) -> Book:
        """A book that lives as long as this object, for tests and simulations."""
        return cls._migrated("sqlite://", poolclass=StaticPool)

    @classmethod
    def _migrated(cls, url: str, **options: Any) -> Book:
        engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        book = cls(engine)
        try:
            book._upgrade()
        except SQLAlchemyError as error:
            raise BookError(f"the book {url} cannot be opened: {error.args[0]}") from error
        return book

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

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start, committed at the end."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view of the book, which nothing is written through."""
        with self.engine.connect().execution_options(reading=True) as connection:
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _settings() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(quotas.migrations.__file__).parent))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_settings())


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _configure_reader(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("query_only=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

"""A watch on the book: whether it changed since it was read, in microseconds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import SQLAlchemyError

from quotas.book import postgresql
from quotas.book.address import Address, BookError

DataVersion = tuple[int | str, ...]
_SNAPSHOT = text("SELECT CAST(pg_current_snapshot() AS text)")


class BookWatch(Protocol):
    """One connection that only asks whether another one committed."""

    def version(self) -> DataVersion:
        """A value that differs once anything was committed. Raises BookError."""

    def close(self) -> None:
        """Give the connection back."""


def open_watch(location: Path | Address) -> BookWatch:
    """A watch on the book at an address. Raises BookError."""
    address = Address.from_path(location)
    return PostgresWatch(address.url) if address.file is None else SqliteWatch(address.file)


class SqliteWatch:
    """Asks SQLite, and that the file is still the one that was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        uri = f"file:{quote(str(self._path))}?mode=ro"
        try:
            self._file = self._path.stat().st_ino
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self.version()
        except (OSError, sqlite3.Error) as error:
            raise BookError(f"the book {self._path} cannot be read: {error}") from None

    def version(self) -> DataVersion:
        """A value that differs once anything was committed. Raises BookError.

        A restore puts another file in the place of the one that is open: refused too.
        """
        try:
            file = self._path.stat().st_ino
            (commits,) = self._connection.execute("PRAGMA data_version").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise BookError(f"the book {self._path} cannot be read: {error}") from None
        if file != self._file:
            raise BookError(f"the book {self._path} was replaced: open it again")
        return file, int(commits)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


class PostgresWatch:
    """Asks PostgreSQL which transactions are to be seen; other databases' count too, harmlessly."""

    def __init__(self, url: URL) -> None:
        engine = postgresql.make_engine(url, writes=False)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT", reading=True)
        self._connection: Connection | None = None
        self.version()

    def version(self) -> DataVersion:
        """A value that differs once anything was committed. Raises BookError."""
        try:
            self._connection = self._connection or self._engine.connect()
            seen = self._connection.scalar(_SNAPSHOT)
        except SQLAlchemyError as error:
            self.close()
            why = " ".join(str(error.args[0]).split())
            raise BookError(f"the book cannot be read: {why}") from None
        return (str(seen),)

    def close(self) -> None:
        """Give the connection back; the next question takes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

"""The book on SQLite: WAL, `synchronous=FULL`, and BEGIN IMMEDIATE.

The driver's own transactions are off, and every write begins with BEGIN IMMEDIATE. With
SQLAlchemy's defaults a SELECT opens no transaction: two writers that read and then write
would lose half of their updates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event

BUSY_TIMEOUT_MS = 10_000


def make_engine(url: str, **options: Any) -> Engine:
    """An engine that reads and writes."""
    return _engine(url, ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"), **options)


def make_reader_engine(path: Path) -> Engine:
    """An engine on a file that another process writes; SQLite itself refuses every write."""
    url = f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true"
    return _engine(url, ("query_only=ON",))


def _engine(url: str, pragmas: tuple[str, ...], **options: Any) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False}, **options)

    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (*pragmas, f"busy_timeout={BUSY_TIMEOUT_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

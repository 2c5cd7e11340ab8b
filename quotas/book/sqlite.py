"""The book on SQLite: WAL, `synchronous=FULL`, and BEGIN IMMEDIATE.

The driver's own transactions are off, and every write begins with BEGIN IMMEDIATE. With
SQLAlchemy's defaults a SELECT opens no transaction: two writers that read and then write
would lose half of their updates.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event

BUSY_TIMEOUT_MS, VIEW_BUSY_TIMEOUT_MS = 10_000, 1_000
BOOK_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
VIEW_PRAGMAS = ("journal_mode=DELETE", "synchronous=FULL")
"""Not WAL: its readers need a right to write, and one that never leaves makes it grow for ever."""
FOLDER_MODE, FILE_MODE = 0o750, 0o640


def create_file(path: Path) -> None:
    """Create an empty file in its folder if it is absent, each with its mode under any umask.

    SQLite gives the mode of a database to the files that it makes beside the database.
    """
    create_folder(path.parent)
    try:
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE)
    except FileExistsError:
        return
    os.fchmod(made, FILE_MODE)
    os.close(made)


def create_folder(folder: Path) -> None:
    """Create a folder, and those above it, if absent, with their mode under any umask."""
    if not folder.is_dir():
        create_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)


def make_engine(url: str, **options: Any) -> Engine:
    """An engine that reads and writes the book."""
    return _engine(url, (*BOOK_PRAGMAS, f"busy_timeout={BUSY_TIMEOUT_MS}"), **options)


def make_view_engine(path: Path) -> Engine:
    """An engine that writes the copy for readers; it waits only briefly for a reader's lock."""
    return _engine(f"sqlite:///{path}", (*VIEW_PRAGMAS, f"busy_timeout={VIEW_BUSY_TIMEOUT_MS}"))


def make_reader_engine(path: Path) -> Engine:
    """An engine on a file that another process writes; SQLite itself refuses every write."""
    url = f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true"
    return _engine(url, ("query_only=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"))


def _engine(url: str, pragmas: tuple[str, ...], **options: Any) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False}, **options)

    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

"""The inbox: writes that the API received, in `inbox.db`, and the answers to them in the book.

The API process alone writes this file, which also holds each token's last use. The scheduler
only reads the file, as untrusted input, and writes its answers into the book. The file is in a
folder of its own, so that the API needs no right to write beside the book.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlmodel import col, select

from quotas.book.address import BookError
from quotas.book.rows import add_row
from quotas.book.schema.records import InboxAnswerRow
from quotas.book.session import Book, rows_of
from quotas.state.facts import canonical_json

FOLDER, INBOX_NAME = "inbox", "inbox.db"
MAX_WAITING = 100
"""The most writes of one bearer that may wait for the scheduler."""
BUSY_S = 5
_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
  id TEXT PRIMARY KEY, bearer TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
  startup TEXT NOT NULL, body TEXT NOT NULL, token TEXT NOT NULL, at_s INTEGER NOT NULL,
  waits INTEGER NOT NULL, UNIQUE (bearer, key)
);
CREATE INDEX IF NOT EXISTS ix_message_waits ON message (waits, at_s);
CREATE TABLE IF NOT EXISTS token_use (token TEXT PRIMARY KEY, at_s INTEGER NOT NULL);
"""
_SELECT = "SELECT id, kind, startup, body, token, at_s FROM message"


class InboxFull(Exception):
    """Too many writes of this bearer wait already."""


class KeyReused(Exception):
    """The idempotency key was used for another write before."""


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A write as the API received it, before the scheduler checked it."""

    id: str
    kind: str
    startup: str
    body: Mapping[str, Any]
    token: str
    at_s: int


class Inbox:
    """The API's own store: waiting writes, and the last uses of tokens."""

    def __init__(self, state: Path) -> None:
        folder = state.joinpath(FOLDER)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder.joinpath(INBOX_NAME)
            # The group may read and write the file, whoever creates it and whatever the umask.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o660))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise BookError(f"the inbox in {folder} cannot be opened: {error}") from None
        self._lock = threading.Lock()

    def put(self, message: InboxMessage, key: str) -> InboxMessage:
        """Keep a write, or return the same one that came with this key before.

        Raises KeyReused and InboxFull, and then keeps nothing.
        """
        bearer, body = message.startup or message.token, canonical_json(message.body)
        with self._lock, self._connection as inbox:
            inbox.execute("BEGIN IMMEDIATE")
            known = inbox.execute(
                f"{_SELECT} WHERE bearer = ? AND key = ?", (bearer, key)
            ).fetchone()
            if known is not None:
                if (known[1], known[3]) != (message.kind, body):
                    raise KeyReused(key)
                return _message(known)
            count = "SELECT count(*) FROM message WHERE bearer = ? AND waits = 1"
            if inbox.execute(count, (bearer,)).fetchone()[0] >= MAX_WAITING:
                raise InboxFull(bearer)
            row = (message.id, bearer, key, message.kind, message.startup, body)
            inbox.execute(
                "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
                (*row, message.token, message.at_s),
            )
        return message

    def find(self, id: str, startup: str) -> InboxMessage | None:
        """A write of this startup."""
        query = f"{_SELECT} WHERE id = ? AND startup = ?"
        row = self._connection.execute(query, (id, startup)).fetchone()
        return None if row is None else _message(row)

    def waiting_ids(self) -> tuple[str, ...]:
        """Ids of writes without a known answer, at most 500."""
        rows = self._connection.execute("SELECT id FROM message WHERE waits = 1 LIMIT 500")
        return tuple(id for (id,) in rows)

    def mark_answered(self, ids: tuple[str, ...]) -> None:
        """Mark writes as answered: the book has their answers."""
        with self._lock, self._connection as inbox:
            inbox.execute("BEGIN IMMEDIATE")
            inbox.executemany("UPDATE message SET waits = 0 WHERE id = ?", [(id,) for id in ids])

    def record_token_uses(self, uses: Mapping[str, int]) -> None:
        """Record when tokens were last used."""
        with self._lock, self._connection as inbox:
            inbox.execute("BEGIN IMMEDIATE")
            inbox.executemany("INSERT OR REPLACE INTO token_use VALUES (?, ?)", uses.items())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def waiting_messages(state: Path, limit: int) -> list[tuple[Any, ...]]:
    """The oldest waiting writes, as raw columns. The caller must check each one."""
    return read_rows(
        state,
        "SELECT id, kind, startup, body, token, at_s FROM message WHERE waits = 1 "
        "ORDER BY at_s, rowid LIMIT ?",
        (limit,),
    )


def last_token_uses(state: Path) -> dict[str, int]:
    """When each token was last used, by id. Empty if the API never ran here."""
    rows = read_rows(state, "SELECT token, at_s FROM token_use")
    return {token: at_s for token, at_s in rows if isinstance(token, str) and type(at_s) is int}


def read_rows(state: Path, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Rows of the inbox as another process left them: untrusted, and never written here.

    Raises BookError if the file cannot be read.
    """
    path = state.joinpath(FOLDER, INBOX_NAME)
    if not path.exists():
        return []
    if path.is_symlink() or not path.is_file():
        raise BookError(f"the inbox {path} is not a regular file: remove it")
    uri = f"file:{quote(str(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=1)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise BookError(f"the inbox {path} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class InboxAnswer:
    """The answer to a write: done or refused, a sentence, and the number of the changed row."""

    id: str
    startup: str
    kind: str
    at_s: int
    state: str
    text: str
    reference: int | None = None


def read_answers(book: Book, ids: Collection[str]) -> dict[str, InboxAnswer]:
    """The answers that the book has to these writes."""
    if not ids:
        return {}
    query = select(InboxAnswerRow).where(col(InboxAnswerRow.id).in_(sorted(ids)))
    with book.reading() as connection, rows_of(connection) as rows:
        return {row.id: InboxAnswer(**row.model_dump()) for row in rows.exec(query)}


def write_answer(book: Book, answer: InboxAnswer) -> None:
    """Write an answer into the book, once."""
    with book.writing() as connection:
        add_row(connection, InboxAnswerRow(**asdict(answer)))


def _message(row: tuple[Any, ...]) -> InboxMessage:
    id, kind, startup, body, token, at_s = row
    return InboxMessage(id, kind, startup, json.loads(body), token, at_s)

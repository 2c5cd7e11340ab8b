"""The inbox: writes that the API received, in `inbox.db`, and the answers to them in the book.

The API process alone writes this file, which also holds ended sessions and each token's last
use. The scheduler only reads the file, and writes its answers into the book. The file is in a
folder of its own, so that the API needs no right to write beside the book.

The API may be compromised, so its file is untrusted input, and `_read` bounds what a read costs:
a real table, so many rows, so many bytes, so many steps. It takes no lock and maps no shared
memory, because whoever writes the file could hold the lock or cut the memory off.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Collection, Iterable, Mapping
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
from quotas.book.sqlite import create_file
from quotas.model.units import DAY_S
from quotas.state.facts import canonical_json

FOLDER, INBOX_NAME = "inbox", "inbox.db"
MAX_WAITING = 100
"""The most writes of one bearer that may wait for the scheduler."""
SETTLED_KEPT_S = 7 * DAY_S
"""How long an answered write is kept, and its idempotency key is known."""
BUSY_S = 5
MAX_VALUE_BYTES = 65_536
MAX_READ_BYTES = 4 * 2**20
STEP, MAX_STEPS = 1_000, 5_000
"""A read ends after five million operations of SQLite, which take a second or so."""
MAX_TOKENS = 100_000
HEADER_BYTES = 100
_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
  id TEXT PRIMARY KEY, bearer TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
  startup TEXT NOT NULL, body TEXT NOT NULL, token TEXT NOT NULL, at_s INTEGER NOT NULL,
  settled_s INTEGER, UNIQUE (bearer, key)
);
CREATE INDEX IF NOT EXISTS ix_message_settled ON message (settled_s, at_s);
CREATE TABLE IF NOT EXISTS ended_session (nonce TEXT PRIMARY KEY, until_s INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS token_use (token TEXT PRIMARY KEY, at_s INTEGER NOT NULL);
"""
_SELECT = "SELECT id, kind, startup, body, token, at_s FROM message"


class InboxFull(Exception):
    """Too many writes of this bearer wait already."""


class InboxBusy(BookError):
    """The API writes its file at this moment."""


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
    """The API's own store: waiting writes, ended sessions, last uses of tokens."""

    def __init__(self, state: Path) -> None:
        folder = state.joinpath(FOLDER)
        try:
            path = folder.joinpath(INBOX_NAME)
            create_file(path)
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
            count = "SELECT count(*) FROM message WHERE bearer = ? AND settled_s IS NULL"
            if inbox.execute(count, (bearer,)).fetchone()[0] >= MAX_WAITING:
                raise InboxFull(bearer)
            row = (message.id, bearer, key, message.kind, message.startup, body)
            inbox.execute(
                "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
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
        rows = self._connection.execute("SELECT id FROM message WHERE settled_s IS NULL LIMIT 500")
        return tuple(id for (id,) in rows)

    def settle(self, ids: Iterable[str], now_s: int) -> None:
        """Mark writes as answered in the book, and forget those answered long ago."""
        with self._lock, self._connection as inbox:
            inbox.execute("BEGIN IMMEDIATE")
            settled = "UPDATE message SET settled_s = ? WHERE id = ?"
            inbox.executemany(settled, [(now_s, id) for id in ids])
            old = "DELETE FROM message WHERE settled_s <= ?"
            inbox.execute(old, (now_s - SETTLED_KEPT_S,))

    def record_token_uses(self, uses: Mapping[str, int]) -> None:
        """Record when tokens were last used."""
        with self._lock, self._connection as inbox:
            inbox.execute("BEGIN IMMEDIATE")
            inbox.executemany("INSERT OR REPLACE INTO token_use VALUES (?, ?)", uses.items())

    def end_session(self, nonce: str, until_s: int, now_s: int) -> None:
        """Remember that a session of the portal was ended before its cookie runs out."""
        with self._lock, self._connection as inbox:
            inbox.execute("BEGIN IMMEDIATE")
            inbox.execute("DELETE FROM ended_session WHERE until_s <= ?", (now_s,))
            inbox.execute("INSERT OR REPLACE INTO ended_session VALUES (?, ?)", (nonce, until_s))

    def has_ended(self, nonce: str) -> bool:
        """Whether a session was ended."""
        query = "SELECT 1 FROM ended_session WHERE nonce = ?"
        return self._connection.execute(query, (nonce,)).fetchone() is not None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def waiting_messages(state: Path, limit: int) -> list[tuple[Any, ...]]:
    """The oldest waiting writes, as raw columns. The caller must check each one.

    Raises InboxBusy, and BookError if the file is not an inbox as the API writes it.
    """
    query = f"{_SELECT} WHERE settled_s IS NULL ORDER BY at_s LIMIT ?"
    return _read(state, "message", query, limit)


def last_token_uses(state: Path) -> dict[str, int]:
    """When each token was last used, by id. Empty if the API never ran here. Raises as above."""
    rows = _read(state, "token_use", "SELECT token, at_s FROM token_use LIMIT ?", MAX_TOKENS)
    return {token: at_s for token, at_s in rows if isinstance(token, str) and type(at_s) is int}


def _read(state: Path, table: str, query: str, limit: int) -> list[tuple[Any, ...]]:
    """Rows of an untrusted file, within bounds and without a lock.

    The file is opened as one that does not change. That holds if it had no journal and the same
    header before and after: SQLite creates the journal before it writes, and counts each
    transaction in the header.
    """
    path = state.joinpath(FOLDER, INBOX_NAME)
    try:
        header = _unlocked_header(path)
        rows = _bounded_rows(path, table, query, limit) if header else []
        if header != _unlocked_header(path):
            raise InboxBusy(f"the inbox {path} is being written")
    except (sqlite3.Error, OSError) as error:
        raise BookError(f"the inbox {path} cannot be read: {error}") from None
    return rows


def _unlocked_header(path: Path) -> bytes:
    """The header of a database that nobody is writing; empty if there is no file."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise BookError(f"the inbox {path} is not a regular file: remove it")
        header = os.read(opened, HEADER_BYTES)
    finally:
        os.close(opened)
    if path.with_name(f"{path.name}-journal").exists():
        raise InboxBusy(f"the inbox {path} is being written")
    return header


def _bounded_rows(path: Path, table: str, query: str, limit: int) -> list[tuple[Any, ...]]:
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    steps, rows, size = iter(range(MAX_STEPS)), [], 0
    with closing(sqlite3.connect(uri, uri=True)) as inbox:
        inbox.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        inbox.set_progress_handler(lambda: next(steps, None) is None, STEP)
        inbox.execute("PRAGMA trusted_schema=OFF")
        # Not sqlite_master: there a view can be listed as a table.
        kinds = [kind for _, _, kind, *_ in inbox.execute(f"PRAGMA main.table_list({table})")]
        if kinds != ["table"]:
            raise BookError(f"the inbox {path} has no table {table}: remove it")
        for row in inbox.execute(query, (limit,)):
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if size > MAX_READ_BYTES:
                break  # the rest is read when these are settled
            rows.append(row)
    return rows


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

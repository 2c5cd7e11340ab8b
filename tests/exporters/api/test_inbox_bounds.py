"""An inbox written by a compromised API: whatever is in it, a read of it is bounded."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from quotas.book import BookError
from quotas.book.inbox import (
    FOLDER,
    INBOX_NAME,
    MAX_READ_BYTES,
    SETTLED_KEPT_S,
    Inbox,
    InboxBusy,
    InboxMessage,
    waiting_messages,
)
from scheduler.jobs.inbox import InboxReader, inbox_worker

COLUMNS = "id, bearer, key, kind, startup, body, token, at_s, settled_s"
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT i AS id, '' AS kind, '' AS startup, '' AS body, '' AS token, -i AS at_s, "
    "NULL AS settled_s FROM n"
)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A state folder with an empty inbox."""
    Inbox(tmp_path).close()
    return tmp_path


def play(state: Path, *statements: str) -> None:
    """Write to the inbox as somebody who owns the file."""
    with closing(sqlite3.connect(state / FOLDER / INBOX_NAME)) as file:
        for statement in statements:
            file.execute(statement)
        file.commit()


def message(number: int) -> InboxMessage:
    """A write of acme."""
    return InboxMessage(f"{number:032x}", "request.open", "acme", {"gpus": number}, "tok", number)


def refused_in_s(state: Path, match: str) -> float:
    """How long the refusal of a read takes."""
    started = time.monotonic()
    with pytest.raises(BookError, match=match):
        waiting_messages(state, 1000)
    return time.monotonic() - started


def test_a_view_over_an_endless_query_is_no_inbox(inbox: Path) -> None:
    """A view in the table's place is refused at once, also one that calls itself a table."""
    play(inbox, "DROP TABLE message", f"CREATE VIEW message AS {ENDLESS}")
    assert refused_in_s(inbox, "no table message") < 1
    play(
        inbox,
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET type = 'table' WHERE name = 'message'",
    )
    assert refused_in_s(inbox, "no table message|malformed") < 1


def test_a_read_that_does_not_end_is_interrupted(inbox: Path) -> None:
    """A sort of a million rows without the index ends at the bound of operations."""
    columns = "id, kind, startup, body, token, at_s, settled_s AS (NULL)"
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)"
    play(
        inbox,
        "DROP TABLE message",
        f"CREATE TABLE message ({columns})",
        f"INSERT INTO message (id, at_s) {many} SELECT i, -i FROM n",
    )
    assert refused_in_s(inbox, "interrupted") < 10


def test_six_rows_of_90_mb_are_not_loaded(inbox: Path) -> None:
    """A value above 64 KiB refuses the read before it is in memory."""
    row = "'a' || {n}, 'b', {n}, 'k', 'acme', CAST(zeroblob(90000000) AS TEXT), 't', 1, NULL"
    play(inbox, *(f"INSERT INTO message VALUES ({row.format(n=n)})" for n in range(6)))
    assert (inbox / FOLDER / INBOX_NAME).stat().st_size > 500_000_000
    assert refused_in_s(inbox, "too big") < 1


def test_all_rows_together_are_bounded(inbox: Path) -> None:
    """Of many large rows so many are read as fit; the rest waits."""
    row = "'a' || {n}, 'b', {n}, 'k', 'acme', CAST(zeroblob(60000) AS TEXT), 't', {n}, NULL"
    play(inbox, *(f"INSERT INTO message VALUES ({row.format(n=n)})" for n in range(200)))
    found = waiting_messages(inbox, 1000)
    assert len(found) == MAX_READ_BYTES // 60_010
    assert [each[5] for each in found] == list(range(len(found)))


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_neither_a_lock_nor_a_write_ahead_log_delays_a_read(inbox: Path) -> None:
    """The reader takes no lock and maps no shared memory, which its owner could cut off."""
    path = inbox / FOLDER / INBOX_NAME
    command = [sys.executable, "-c", HOLD, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as holder:  # type: ignore[call-overload]  # pipes
        assert holder.stdout.readline() == "held\n"
        assert waiting_messages(inbox, 1000) == []
        holder.stdin.close()
    play(inbox, "PRAGMA journal_mode=WAL")
    assert waiting_messages(inbox, 1000) == []
    assert [each.name for each in path.parent.iterdir()] == [INBOX_NAME]


def test_a_write_in_the_middle_is_read_later(inbox: Path) -> None:
    """While a transaction is being written, the reader keeps what it knew; then it reads again."""
    api, reader = Inbox(inbox), InboxReader(inbox)
    api.put(message(1), "one")
    reader()
    assert [each.id for each in reader.found()] == [message(1).id]
    with closing(sqlite3.connect(inbox / FOLDER / INBOX_NAME, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size=1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE message SET at_s = 5")
        with pytest.raises(InboxBusy):
            waiting_messages(inbox, 10)
        reader()
        assert [each.id for each in reader.found()] == [message(1).id]
        writer.execute("COMMIT")
    assert [row[5] for row in waiting_messages(inbox, 10)] == [5]
    api.close()


def test_a_pipe_in_the_inbox_s_place_hangs_nobody(inbox: Path) -> None:
    """A pipe, a folder and a link are refused."""
    path = inbox / FOLDER / INBOX_NAME
    path.unlink()
    os.mkfifo(path)
    assert refused_in_s(inbox, "not a regular file") < 1
    path.unlink()
    path.mkdir()
    assert refused_in_s(inbox, "not a regular file|cannot be read") < 1


def test_a_reader_that_hangs_delays_no_drain(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cycle takes what the last look found, however long the next look takes."""
    begun, never = threading.Event(), threading.Event()

    def hang(*_: object) -> list[tuple[object, ...]]:
        begun.set()
        never.wait()
        return []

    monkeypatch.setattr("scheduler.jobs.inbox.waiting_messages", hang)
    reader = InboxReader(inbox)
    worker = inbox_worker(reader)
    worker.start()
    assert begun.wait(5)
    assert reader.found() == ()
    never.set()
    worker.stop()


def test_settled_writes_leave_after_seven_days(inbox: Path) -> None:
    """A write leaves seven days after it was answered; one that waits stays however old it is."""
    api = Inbox(inbox)
    for number in (1, 2):
        api.put(message(number), f"k{number}")
    api.settle([message(1).id], 1000)
    api.settle([], 1000 + SETTLED_KEPT_S - 1)
    assert api.find(message(1).id, "acme") is not None
    api.settle([], 1000 + SETTLED_KEPT_S)
    assert api.find(message(1).id, "acme") is None
    assert api.find(message(2).id, "acme") is not None
    api.close()

"""The state folder has mode 0750 and its files 0640, whatever the umask of who starts cohortd."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters.portal.sessions import signing_key
from quotas.book import Address, Book
from quotas.book.inbox import Inbox, InboxMessage
from quotas.book.view_file import publish


@pytest.fixture(params=[0o000, 0o022, 0o077])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """A umask that opens everything, the usual one, and one that shuts the group out."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("any_umask")
@pytest.mark.parametrize("who", ["daemon", "api"])
def test_nobody_else_reads_the_state(tmp_path: Path, who: str) -> None:
    """Book, log and index of the book, view and inbox, whichever process makes the folder."""
    state = tmp_path / "above" / "state"
    inbox = Inbox(state) if who == "api" else None
    book = Book.open(state)
    with book.writing() as connection:
        connection.exec_driver_sql("UPDATE lease SET epoch = epoch")
    publish(book, Address(state).view, 100)
    inbox = inbox or Inbox(state)
    inbox.put(InboxMessage("a" * 32, "request.open", "acme", {}, "tok", 1), "key")
    signing_key(state)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.rglob("*"))}
    folders = {path.name for path in (state, *state.rglob("*")) if path.is_dir()}
    assert {name: modes.pop(name) for name in folders} == dict.fromkeys(folders, 0o750)
    assert modes.pop("session.key") == 0o600
    assert modes == dict.fromkeys(modes, 0o640)
    assert {"cohortd.db", "cohortd.db-wal", "view.db", "inbox.db"} <= modes.keys()
    inbox.close()
    book.close()

"""Maintenance jobs: verify the book, count IAM bypasses, report that the daemon lives."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from exporters.heartbeat import Heartbeat
from quotas.book import Address, Book
from quotas.book.session import FILE_NAME
from scheduler.jobs.maintenance import bypass_job, verification_job
from tests.exporters.prometheus_server import Receiver, listening
from tests.scheduler.harness import Harness, server


def verdicts(state: Path | Address) -> list[int]:
    """The result of one run of the verification."""
    told: list[int] = []
    verification_job(state, told.append).run()
    return told


def charged(state: Path) -> None:
    """A book with a charge."""
    harness = Harness(book=Book.open(state))
    harness.cloud.add(server())
    for _ in range(3):
        harness.run(3600)
    harness.book.close()


def test_a_sound_book_is_told_sound_and_a_forged_one_is_not(tmp_path: Path) -> None:
    """The metric is 1 for a sound book, and 0 once an amount was changed behind its triggers."""
    charged(tmp_path)
    assert verdicts(tmp_path) == [1]
    with sqlite3.connect(tmp_path / FILE_NAME) as forger:
        names = forger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            forger.execute(f"DROP TRIGGER {name}")
        forger.execute("UPDATE entry SET amount_ucr = amount_ucr + 1 WHERE transfer_id = 2")
    assert verdicts(tmp_path) == [0]


def test_a_book_that_cannot_be_opened_is_not_told_sound(tmp_path: Path) -> None:
    """If the file is gone or no database any more, an earlier verification no longer counts."""
    assert verdicts(tmp_path) == [0]
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    assert verdicts(tmp_path) == [0]


def test_a_database_that_is_away_has_no_verdict(tmp_path: Path) -> None:
    """A database that is away counts as unknown, neither sound nor forged."""
    pytest.importorskip("psycopg")
    assert verdicts(Address(tmp_path, "postgresql://127.0.0.1:1/nobody")) == []


def test_without_a_key_for_iam_there_is_nothing_to_get_round() -> None:
    """If no startup is closed by IAM, no principal counts as a bypass."""
    harness, told = Harness(), []
    bypass_job(harness.book, harness.clock, lambda: None, told.append).run()
    assert told == [0]


def test_a_heartbeat_follows_good_cycles_only() -> None:
    """Good cycles cause one GET, however many they are; a failed cycle causes none."""
    heard = Receiver()
    with listening(heard) as port:
        heart = Heartbeat(f"http://127.0.0.1:{port}/alive")
        heart.cycle("failed")
        heart.run()
        heart.cycle("done")
        heart.cycle("done")
        heart.run()
        heart.run()
        assert heard.wait() == ("/alive", b"")
        assert heard.heard.empty()


def test_a_heartbeat_that_nobody_hears_is_no_error() -> None:
    """A heartbeat URL that does not answer disturbs nothing."""
    with listening(Receiver()) as port:
        pass
    heart = Heartbeat(f"http://127.0.0.1:{port}/alive")
    heart.cycle("done")
    heart.run()

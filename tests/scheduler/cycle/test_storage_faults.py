"""Faults of the book's storage: a full disk, a lock, a corrupt page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from quotas.book import Book
from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import VoidCommand
from quotas.book.session import FILE_NAME
from quotas.book.transfers import StaleBalance
from quotas.book.verify.verify import verify
from quotas.model.observation import Sweep
from quotas.model.units import HOUR_S
from tests.cli.command import run_in_process

from ..harness import (
    T0,
    ZONE,
    Harness,
    digest,
    program,
    server,
)
from .charges import ran_ucr


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """A book on disk. acme has run a server for two hours, and its limit allows no more."""
    made = Harness(program(limit=8), Book.open(tmp_path))
    made.cloud.add(server())
    made.run()
    made.run_until(T0 + 2 * HOUR_S, 600)
    return made


@contextmanager
def pragma(harness: Harness, name: str, hard: object, soft: object) -> Iterator[None]:
    """Set a pragma on the book's only connection, and set it back afterwards."""
    for value in (hard, soft):
        with harness.book.reading() as connection:
            connection.execute(text(f"PRAGMA {name} = {value}"))
        if value is hard:
            yield


@contextmanager
def full(harness: Harness) -> Iterator[None]:
    """The disk has no room for another page."""
    with harness.book.reading() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
    with pragma(harness, "max_page_count", pages, 10**9):
        yield


@contextmanager
def locked(harness: Harness) -> Iterator[None]:
    """Another program holds the write lock for longer than a cycle waits."""
    file = str(harness.book.engine.url.database)
    other = sqlite3.connect(file, isolation_level=None)
    with closing(other), pragma(harness, "busy_timeout", 0, 10_000):
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def read_only(harness: Harness) -> Iterator[None]:
    """SQLite refuses every write, as on a file system that was remounted."""
    with pragma(harness, "query_only", "ON", "OFF"):
        yield


def crowd(harness: Harness) -> None:
    """Add so many servers beyond the limit that the cycle's commit needs new pages."""
    now_s = harness.clock.now_s()
    harness.cloud.add(*(server(f"n{n}", now_s) for n in range(300)))


@pytest.mark.parametrize(
    ("trouble", "word"),
    [(full, "full"), (locked, "locked"), (read_only, "readonly")],
    ids=["disk full", "locked", "read-only"],
)
def test_a_database_that_takes_no_write_costs_nothing_and_is_caught_up(
    harness: Harness, trouble: Callable[[Harness], object], word: str
) -> None:
    """Each cycle fails as a whole and changes nothing; later, every second is charged once."""
    before = digest(harness)
    crowd(harness)
    with trouble(harness):  # type: ignore[attr-defined]  # a context manager
        for _ in range(3):
            with pytest.raises(OperationalError, match=word):
                harness.run(600)
    assert digest(harness) == before
    assert not harness.cloud.stops
    harness.cloud.servers = {"s1": harness.cloud.servers["s1"]}
    harness.run_until(T0 + 4 * HOUR_S, 600)
    assert harness.charged_ucr() == ran_ucr(4 * HOUR_S)
    assert verify(harness.book).fault is None


def spoil(harness: Harness, file: Path, table: str) -> None:
    """Overwrite the first page of a table with garbage, then start the daemon again."""
    with harness.book.reading() as connection:
        size = connection.scalar(text("PRAGMA page_size"))
        page = text("SELECT rootpage FROM sqlite_master WHERE name = :table")
        root = connection.scalar(page, {"table": table})
    harness.book.close()
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as pages:
        pages.seek((root - 1) * size)
        pages.write(b"\xa5" * size)
    harness.book = Book.open(file.parent)
    harness.cycle = harness.daemon("a")


@pytest.mark.parametrize("table", ["transfer", "chain_head", "balance", "intent", "price"])
def test_any_corrupt_table_is_told_of_in_a_sentence(
    harness: Harness, tmp_path: Path, table: str
) -> None:
    """`cohortd verify` names a corrupt table in one sentence, with exit 1 and no traceback."""
    spoil(harness, tmp_path / FILE_NAME, table)
    harness.book.close()
    found = run_in_process("verify", "--state", tmp_path)
    assert found.code == 1 and "Traceback" not in found.err
    assert "cannot be read" in found.out + found.err


def test_a_corrupt_page_is_named_and_charges_nothing(harness: Harness, tmp_path: Path) -> None:
    """A cycle on a corrupt page fails as a whole, charges nothing, and `verify` exits 1."""
    kept = ("balance", "run", "zone", "notice", "intent", "decision")
    spoil(harness, tmp_path / FILE_NAME, "entry")
    before = [harness.all(each) for each in kept]
    for _ in range(3):
        with pytest.raises(DatabaseError, match="malformed"):
            harness.run(HOUR_S)
    assert [harness.all(each) for each in kept] == before
    harness.book.close()
    found = run_in_process("verify", "--state", tmp_path)
    assert found.code == 1 and "Traceback" not in found.err
    assert "transfer 1 cannot be read" in found.out + found.err


def test_a_grant_voided_inside_a_cycle_rolls_it_back_and_the_next_reads_anew(
    harness: Harness,
) -> None:
    """A grant voided between a cycle's read and its charge refuses the whole cycle."""

    def voided(at_s: int) -> Sweep:
        del harness.cloud.answers[ZONE]
        perform_action(harness.book, OperatorAction(VoidCommand("acme", "g1"), "left", "op", at_s))
        return harness.cloud.sweep(ZONE, at_s)

    harness.cloud.answers[ZONE] = voided
    runs, charges = harness.all("run"), harness.charged_ucr()
    with pytest.raises(StaleBalance, match="grant:acme:g1"):
        harness.run(HOUR_S)
    assert (harness.all("run"), harness.charged_ucr()) == (runs, charges)
    harness.run()
    assert harness.charged_ucr() == ran_ucr(3 * HOUR_S)
    assert harness.rows("balance")["overdraft:c"] == ran_ucr(2 * HOUR_S) - ran_ucr(3 * HOUR_S)
    assert verify(harness.book).fault is None

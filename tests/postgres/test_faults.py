"""Faults of PostgreSQL in a cycle: the next cycle continues from the book, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from quotas.book import Address, Book
from quotas.book.cycle.lease import StaleEpoch
from quotas.book.verify.verify import verify
from quotas.model.units import HOUR_S
from tests.scheduler.harness import NOTICE_S, Harness, digest, program, server

from .server import Server
from .test_session import hasten

Fault = Callable[[], object]


def rig_on(book: Book) -> Harness:
    """Acme with a server above its limit, so that there is a charge, a notice and a stop."""
    harness = Harness(program(limit=0), book)
    harness.run()
    harness.cloud.add(server())
    return harness


PAUSES_S = (HOUR_S, NOTICE_S, 30, 30)
"""The cycles until the server was charged, announced, stopped and seen off."""


def go_on(harness: Harness, pauses_s: Iterator[int]) -> None:
    """Run the remaining cycles, up to the first that fails."""
    for pause_s in pauses_s:
        harness.run(pause_s)


def goes_on_after_one_error(harness: Harness) -> None:
    """One cycle fails as the loop expects and is repeated at once; the others continue."""
    pauses_s = iter(PAUSES_S)
    with pytest.raises(OperationalError):
        go_on(harness, pauses_s)
    harness.run()
    go_on(harness, pauses_s)


def undisturbed() -> Harness:
    """The same cycles on SQLite, without a fault."""
    harness = rig_on(Book.in_memory())
    go_on(harness, iter(PAUSES_S))
    return harness


@contextmanager
def at_statement(book: Book, number: int, fault: Fault) -> Iterator[list[str]]:
    """Cause a fault just before a statement of the next writing transactions."""
    seen: list[str] = []

    def count(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if not connection.get_execution_options().get("reading", False):
            seen.append(statement)
            if len(seen) == number:
                fault()

    event.listen(book.engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(book.engine, "before_cursor_execute", count)


@pytest.mark.parametrize("number", [2, 3, 6, 9, 12])
def test_a_backend_that_is_terminated_in_a_cycle(
    server: Server, address: Address, book: Book, number: int
) -> None:
    """The cycle fails as the loop expects, and the next one writes what a sound run writes."""
    harness = rig_on(book)
    with at_statement(book, number, lambda: server.end_sessions(address)):
        goes_on_after_one_error(harness)
    assert harness.cloud.stops == ["s1"]
    assert digest(harness) == digest(undisturbed())
    assert verify(book).fault is None


def test_a_backend_that_is_terminated_between_cycles(
    server: Server, address: Address, book: Book
) -> None:
    """A connection that broke while idle is replaced, and no cycle fails."""
    harness = rig_on(book)
    for pause_s in PAUSES_S:
        assert server.end_sessions(address) > 0
        harness.run(pause_s)
    assert digest(harness) == digest(undisturbed())


def test_the_server_restarts_in_the_middle(server: Server, book: Book) -> None:
    """A crash of the server loses the open transaction only."""
    harness = rig_on(book)
    with at_statement(book, 6, server.restart):
        goes_on_after_one_error(harness)
    server.restart()
    harness.run()
    assert digest(harness) == digest(undisturbed())
    assert verify(book).fault is None


GIVE_UP = """
CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN RAISE EXCEPTION ''conflict'' USING ERRCODE = ''{}''; END'
"""
TRIGGER = "CREATE TRIGGER t BEFORE INSERT ON entry EXECUTE FUNCTION give_up()"


@pytest.mark.parametrize("state", ["serialization_failure", "deadlock_detected"])
def test_a_transaction_that_the_server_gives_up(
    server: Server, address: Address, book: Book, state: str
) -> None:
    """A conflict with another writer raises an error that is tried again."""
    harness, pauses_s = rig_on(book), iter(PAUSES_S)
    server.tamper(address, GIVE_UP.format(state), TRIGGER)
    with pytest.raises(OperationalError, match="conflict"):
        go_on(harness, pauses_s)
    server.tamper(address, "DROP TRIGGER t ON entry")
    harness.run()
    go_on(harness, pauses_s)
    assert digest(harness) == digest(undisturbed())


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_commit_whose_answer_is_lost(
    server: Server, address: Address, book: Book, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a commit succeeded but reported an error, the repetition adds nothing (I6)."""
    harness = rig_on(book)
    real, commits = book.engine.dialect.do_commit, []

    def lossy(connection: Any) -> None:
        real(connection)
        commits.append(connection)
        if len(commits) == nth:
            server.end_sessions(address)
            connection.execute("SELECT 1")

    monkeypatch.setattr(book.engine.dialect, "do_commit", lossy)
    goes_on_after_one_error(harness)
    assert harness.cloud.stops == ["s1"]
    assert digest(harness) == digest(undisturbed())
    assert verify(book).fault is None


def test_somebody_else_holds_the_lock(
    address: Address, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cycle waits for a lock for a bounded time, fails, and continues once the lock is free."""
    harness, other, pauses_s = rig_on(book), Book.open(address), iter(PAUSES_S)
    hasten(monkeypatch, "lock_timeout")
    with other.writing(), pytest.raises(OperationalError, match="lock timeout"):
        go_on(harness, pauses_s)
    harness.run()
    go_on(harness, pauses_s)
    assert digest(harness) == digest(undisturbed())
    other.close()


def test_two_daemons_at_the_same_moment(address: Address, book: Book) -> None:
    """I14: two daemons on one book charge each second once, under epochs that only rise."""
    harness, other = rig_on(book), Book.open(address)
    mine, theirs = harness.daemon("b"), harness.daemon("c")
    theirs.book = other
    theirs.reconnect(harness.cloud)
    outcomes: list[str] = []
    epochs: list[int] = []
    start = threading.Barrier(2)

    def beat(daemon: Any) -> None:
        start.wait()
        try:
            outcomes.append(daemon.run().outcome)
        except StaleEpoch:
            outcomes.append("stale")

    for pause_s in (HOUR_S, NOTICE_S, 30, 200, 30, HOUR_S, 200):
        harness.clock.move_to(harness.clock.now_s() + pause_s)
        threads = [threading.Thread(target=beat, args=[each]) for each in (mine, theirs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        epochs.append(int(str(harness.all("lease")[0]["epoch"])))
    assert outcomes.count("done") == outcomes.count("follower") == 7
    assert epochs == sorted(epochs) and len(set(epochs)) > 3
    assert harness.cloud.stops == ["s1"]
    assert verify(book).fault is None
    assert harness.charged_ucr() == undisturbed().charged_ucr()
    other.close()


def test_a_daemon_that_lost_the_lease_in_its_cycle_writes_nothing(
    address: Address, book: Book
) -> None:
    """I14: the epoch refuses a daemon that was overtaken, whatever it decided."""
    harness, other = rig_on(book), Book.open(address)
    harness.clock.move_to(harness.clock.now_s() + HOUR_S)
    theirs = harness.daemon("b")
    theirs.book = other
    theirs.reconnect(harness.cloud)
    sweep, slow = harness.cloud.sweep, [True]

    def stalled(zone: str, at_s: int) -> Any:
        found = sweep(zone, at_s)
        if slow.pop() if slow else False:
            harness.clock.move_to(harness.clock.now_s() + 200)
            assert theirs.run().outcome == "done"
        return found

    harness.cloud.sweep = stalled  # type: ignore[method-assign]
    with pytest.raises(StaleEpoch):
        harness.cycle.run()
    epochs = [row["epoch"] for row in harness.all("transfer") if row["epoch"]]
    assert epochs and set(epochs) == {harness.all("lease")[0]["epoch"]}
    assert verify(book).fault is None
    other.close()

"""Faults of the machine, the calendar and the world, each where it hits the daemon."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from quotas.book import Book
from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import VoidCommand
from quotas.book.actions.holds import HoldCommand
from quotas.book.session import FILE_NAME
from quotas.book.transfers import StaleBalance
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Sweep, Unknown
from quotas.model.units import HOUR_S, Period, cost_ucr
from scheduler.cli.setup import run
from scheduler.clouds.base import KeyRefused
from tests.cli.command import run_in_process

from ..harness import (
    DAY_S,
    END,
    NOTICE_S,
    OTHER,
    RATE,
    T0,
    ZONE,
    FakeCloud,
    Harness,
    digest,
    program,
    server,
)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """A book on disk; acme has run a server for two hours, and may run no more than that one."""
    made = Harness(program(limit=8), Book.open(tmp_path))
    made.cloud.add(server())
    made.run()
    made.run_until(T0 + 2 * HOUR_S, 600)
    return made


def ran_ucr(seconds: int) -> int:
    """What a server costs from T0 on."""
    return cost_ucr(RATE, T0, Period(T0, T0 + seconds))


def dark(at_s: int) -> Sweep:
    """The zone does not answer."""
    return Unknown(ZONE, at_s, Cause.UNREACHABLE, "no route")


@contextmanager
def pragma(harness: Harness, name: str, hard: object, soft: object) -> Iterator[None]:
    """The book's one connection under a setting of SQLite's, and again without it."""
    for value in (hard, soft):
        with harness.book.reading() as connection:
            connection.execute(text(f"PRAGMA {name} = {value}"))
        if value is hard:
            yield


@contextmanager
def full(harness: Harness) -> Iterator[None]:
    """No page more fits on the disk."""
    with harness.book.reading() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
    with pragma(harness, "max_page_count", pages, 10**9):
        yield


@contextmanager
def locked(harness: Harness) -> Iterator[None]:
    """Another program writes, for longer than a cycle waits."""
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
    """So many servers beyond the limit that a cycle's commit needs pages."""
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
    """Each cycle fails as a whole and changes nothing; afterwards every second is charged once."""
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
    """The first page of a table is garbage on the disk; the daemon starts again."""
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
    """`cohortd verify` reads the transfers, and what was computed of them: exit 1, no traceback."""
    spoil(harness, tmp_path / FILE_NAME, table)
    harness.book.close()
    found = run_in_process("verify", "--state", tmp_path)
    assert found.code == 1 and "Traceback" not in found.err
    assert "cannot be read" in found.out + found.err


def test_a_corrupt_page_is_named_and_charges_nothing(harness: Harness, tmp_path: Path) -> None:
    """No charge is committed on it: the cycle fails whole, and `cohortd verify` exits 1."""
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


def test_a_clock_that_is_slewed_or_steps_by_seconds_loses_and_doubles_nothing() -> None:
    """Up to 5 s ahead or behind in each cycle: every one decides, and all the time is charged."""
    harness = Harness(program())
    harness.cloud.add(server())
    harness.run()
    confirmed_s = T0
    for step_s in (1, -1, 5, -4, 2, -5, 5, 3) * 40:
        harness.clock.step(step_s)
        assert harness.run(30).outcome == "done"
        (now_s,) = {row["confirmed_until_s"] for row in harness.all("zone")}
        assert now_s >= confirmed_s, "what is confirmed stays confirmed"
        confirmed_s = now_s
    harness.cloud.turn_off("s1")
    over_s = harness.clock.now_s()
    harness.run(30)
    assert harness.charged_ucr() == ran_ucr(over_s - T0)
    assert verify(harness.book).fault is None


def test_a_daemon_that_was_down_at_a_deadline_stops_in_its_first_cycle() -> None:
    """Three hours late, never early; what ran beyond the credits is the sponsor's overdraft."""
    harness = Harness(program(credits=100))
    harness.cloud.add(server())
    report = harness.run()
    while not (given := [row for row in harness.all("notice") if row["rule"] == "credits"]):
        harness.clock.move_to(harness.cycle.next_due_s(report))
        report = harness.run()
    (deadline_s,) = [row["deadline_s"] for row in given]
    assert harness.run(deadline_s - 1 - harness.clock.now_s()).sent == 0
    harness.clock.move_to(deadline_s + 3 * HOUR_S)
    harness.cycle = harness.daemon("b")
    assert harness.run().sent == 1 and harness.cloud.stops == ["s1"]
    over_s = harness.clock.now_s()
    harness.run(30)
    assert harness.charged_ucr() == ran_ucr(over_s - T0)
    amounts = harness.rows("balance")
    assert amounts["overdraft:c"] == 100_000_000 - ran_ucr(over_s - T0) < 0
    assert amounts.get("grant:acme:g1", 0) == 0
    assert verify(harness.book).fault is None


def test_a_machine_that_slept_for_thirty_days_catches_up_exactly() -> None:
    """The wall is 30 days ahead, monotonic time is not: first observed, then charged whole."""
    long = program(mode="shadow")
    (cohort,) = long.cohorts
    harness = Harness(replace(long, cohorts=(replace(cohort, ends_s=T0 + 90 * DAY_S),)))
    harness.cloud.add(server())
    harness.run()
    harness.run(30)
    before = digest(harness)
    harness.clock.step(30 * DAY_S)
    assert harness.run().outcome == "observed"
    assert digest(harness) == before and not harness.cloud.stops
    harness.run(30)
    harness.run_until(T0 + 30 * DAY_S + HOUR_S, 600)
    harness.cloud.turn_off("s1")
    harness.run(30)
    assert harness.charged_ucr() == ran_ucr(30 * DAY_S + HOUR_S)
    assert [row["month"] for row in harness.all("statement")] == ["2027-01"]
    assert verify(harness.book).fault is None


def test_a_server_made_again_under_its_old_name_is_another_server() -> None:
    """Deleted and made again between two sweeps: two runs by id, none longer than was seen."""
    harness = Harness(program(mode="shadow"))
    harness.cloud.add(replace(server("id-1"), name="trainer"))
    harness.run()
    harness.run_until(T0 + HOUR_S, 600)
    del harness.cloud.servers["id-1"]
    harness.cloud.add(replace(server("id-2", T0 + HOUR_S + 200), name="trainer"))
    harness.run_until(T0 + 2 * HOUR_S, 600)
    spans = {run["server_id"]: (run["start_s"], run["end_s"]) for run in harness.all("run")}
    assert spans == {"id-1": (T0, T0 + HOUR_S), "id-2": (T0 + HOUR_S + 200, None)}
    assert verify(harness.book).fault is None


def test_what_is_of_nobody_or_has_no_gpu_is_never_touched() -> None:
    """Where acme may run nothing: only its GPU server has a notice, a stop and a charge (I13)."""
    harness = Harness(program(limit=0))
    strangers = replace(server("x"), project_id=OTHER)
    harness.cloud.add(server(), strangers, replace(server("cpu"), commercial_type="DEV1-S"))
    harness.run()
    harness.run_until(T0 + HOUR_S, 30)
    assert harness.cloud.stops == ["s1"]
    for table in ("run", "notice", "intent"):
        assert {row["server_id"] for row in harness.all(table)} <= {"s1", ""}
    assert harness.charged_ucr() == ran_ucr(NOTICE_S)


def test_a_grant_voided_inside_a_cycle_rolls_it_back_and_the_next_reads_anew(
    harness: Harness,
) -> None:
    """Read, then voided, then drawn on: refused whole; then the overdraft pays what ran since."""

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


def test_a_program_that_ends_in_an_outage_stops_when_it_is_over() -> None:
    """Nothing is stopped in the dark; then at once, for it was told; all of it is charged."""
    harness = Harness(program(credits=100_000))
    harness.cloud.add(server())
    harness.run()
    harness.run_until(END - 2 * HOUR_S, HOUR_S)
    harness.cloud.answers[ZONE] = dark
    harness.run_until(END + HOUR_S, 600)
    assert harness.cloud.stops == []
    harness.cloud.answers.clear()
    harness.run(30)
    assert harness.cloud.stops == ["s1"]
    over_s = harness.clock.now_s()
    harness.run(60)
    assert harness.charged_ucr() == ran_ucr(over_s - T0)
    amounts = harness.rows("balance")
    assert amounts["overdraft:c"] == -ran_ucr(over_s - T0) + ran_ucr(END - T0)
    assert verify(harness.book).fault is None


def test_a_program_that_ends_with_its_holds_keeps_none_of_them() -> None:
    """A hold may last to the grant's last second, and no longer: then it and the grant end."""
    harness = Harness(program(mode="shadow"))
    harness.run()
    harness.run_until(END - HOUR_S, 12 * HOUR_S)
    perform_action(
        harness.book, OperatorAction(HoldCommand("acme", 7, HOUR_S), "a study", "op", END - HOUR_S)
    )
    harness.run_until(END, 600)
    harness.run(60)
    amounts = {account: ucr for account, ucr in harness.rows("balance").items() if ucr}
    assert amounts == {"sponsor:c": -(10**10), "expired:c": 10**10}
    assert verify(harness.book).fault is None


class NoAnswer:
    """Metrics and deliveries of a reload that needs neither."""

    settings = None

    def request(self, *_: object) -> None: ...


def reload(harness: Harness) -> None:
    """What SIGHUP does."""
    run._reload(harness.cycle, NoAnswer(), NoAnswer())  # type: ignore[arg-type]  # neither is used


def test_a_key_that_was_rotated_is_refused_until_the_settings_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """401 for the old key: nothing stopped or charged; SIGHUP brings the new one, and all since."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    old = FakeCloud(harness.clock)
    old.answers[ZONE] = lambda at_s: Unknown(ZONE, at_s, KeyRefused.cause, "401")
    harness.cycle.reconnect(old)
    harness.run_until(T0 + 2 * HOUR_S, 600)
    assert harness.cloud.stops == old.stops == [] and harness.charged_ucr() == 0
    monkeypatch.setattr(run, "connect", lambda _: harness.cloud)
    monkeypatch.setattr(run, "connect_permissions", lambda _: None)
    reload(harness)
    harness.run(600)
    assert harness.cloud.stops == ["s1"]
    assert harness.charged_ucr() == ran_ucr(2 * HOUR_S + 600)


def test_settings_that_cannot_be_read_leave_the_old_ones_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A SIGHUP with half a key: told in the log, and the cycle keeps its connection."""
    harness = Harness(program())
    before = harness.cycle.cloud
    monkeypatch.delenv("SCW_SECRET_KEY", raising=False)
    monkeypatch.setenv("SCW_ACCESS_KEY", "nonsense")
    monkeypatch.setenv("SCW_CONFIG_PATH", "/nonexistent")
    said: list[str] = []
    log = SimpleNamespace(error=lambda event, **_: said.append(event))
    monkeypatch.setattr(run, "log", log)
    reload(harness)
    assert said == ["settings.refused"]
    assert harness.cycle.cloud is before


def stopping() -> Harness:
    """A server over its limit whose notice is over: the stop was asked for."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    harness.run_until(T0 + 60)
    assert harness.cloud.stops == ["s1"]
    return harness


def test_a_read_that_is_stale_after_a_stop_asks_for_no_second_one() -> None:
    """For two minutes the list still says running: one call; then the end is the true one."""
    harness = stopping()
    true = harness.cloud.servers["s1"]
    harness.cloud.servers["s1"] = replace(true, state="running", modified_s=T0)
    harness.run_until(T0 + 180)
    assert harness.cloud.stops == ["s1"]
    harness.cloud.servers["s1"] = true
    harness.run(30)
    assert [intent["state"] for intent in harness.all("intent")] == ["confirmed"]
    (run,) = harness.all("run")
    assert run["end_s"] == T0 + 180, "seen off late: dated at the last sweep that saw it on"
    assert harness.charged_ucr() == ran_ucr(180)


def test_a_server_stuck_in_stopping_is_free_and_its_promise_is_kept() -> None:
    """It is billed no more from the poweroff on: nothing is charged, asked again or alarmed."""
    harness = stopping()
    harness.run_until(T0 + DAY_S, 600)
    assert harness.cloud.stops == ["s1"] and harness.cloud.servers["s1"].state == "stopping"
    assert harness.charged_ucr() == ran_ucr(60)
    assert [notice["state"] for notice in harness.all("notice")] == ["executed"]
    assert not harness.views[-1].alarms

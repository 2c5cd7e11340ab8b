"""Cycles: each charges known time once, and does nothing on unknown data."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from quotas.book import Book
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Complete, Partial, Sweep, Unknown
from quotas.model.units import HOUR_S
from scheduler.timing import Timing

from ..harness import NOTICE_S, T0, ZONE, Harness, digest, program, server


def unknown(zone: str, cause: Cause = Cause.FAULT) -> Unknown:
    """A zone that does not answer."""
    return Unknown(zone, T0, cause, "test")


def partial(zone: str) -> Partial:
    """A zone that shows one server of several."""
    return Partial(zone, T0, (server(),), Cause.INCONSISTENT, "test")


def test_a_cycle_twice_is_a_cycle_once() -> None:
    """Running the cycle again at the same instant changes no row of the book."""
    harness = Harness(program(limit=0))
    harness.run()
    harness.cloud.add(server(since_s=T0 + 10))
    for pause_s in (30, HOUR_S, 40, 300, HOUR_S):
        if harness.run(pause_s).sent:
            harness.run()  # its stop changed the world, so one more cycle changes the book
        before = digest(harness)
        harness.run()
        assert digest(harness) == before
    assert harness.cloud.stops == ["s1"]


def test_many_cycles_charge_what_one_does() -> None:
    """However time is divided into cycles, the charge is equal to the micro-credit."""
    charges = []
    for every_s in (37, 450, 3_600, 8_000):
        harness = Harness()
        harness.run()
        harness.cloud.add(server(since_s=T0 + 5))
        harness.run_until(T0 + 8_000, every_s)
        harness.cloud.turn_off("s1")
        harness.run()
        harness.run(30)
        charges.append(harness.charged_ucr())
    assert set(charges) == {25_330_800 * 7_995 // HOUR_S}


def test_a_server_that_starts_while_a_cycle_reads_is_charged_from_its_date() -> None:
    """A server that starts while its zone's pages are read (36 s) is charged its own seconds."""
    harness = Harness()
    harness.run()
    started_s = T0 + 30 + 35

    def slow(at_s: int) -> Sweep:
        harness.clock.move_to(at_s + 36)
        harness.cloud.add(server(since_s=started_s))
        return Complete(ZONE, at_s, tuple(harness.cloud.servers.values()))

    harness.cloud.answers[ZONE] = slow
    harness.run(30)
    del harness.cloud.answers[ZONE]
    harness.run_until(T0 + HOUR_S)
    harness.cloud.turn_off("s1")
    harness.run(30)
    assert [row["start_s"] for row in harness.all("run")] == [started_s]
    assert harness.charged_ucr() == 25_330_800 * (T0 + HOUR_S - started_s) // HOUR_S


def test_a_quiet_cycle_posts_nothing() -> None:
    """A cycle in which nothing changed writes only the instants of its zones."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    before = [harness.all(table) for table in ("transfer", "run", "decision", "notice", "intent")]
    harness.run(30)
    assert before == [harness.all(t) for t in ("transfer", "run", "decision", "notice", "intent")]
    assert {row["confirmed_until_s"] for row in harness.all("zone")} == {T0 + 30}


@pytest.mark.parametrize("answer", [unknown, partial], ids=["no answer", "a part of the servers"])
def test_a_zone_that_is_not_known_stops_and_charges_nothing(answer: Callable[[str], Sweep]) -> None:
    """Past a notice's deadline, an Unknown or Partial zone keeps the server running."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    harness.cloud.answers[ZONE] = lambda _: answer(ZONE)
    runs, transfers = harness.all("run"), harness.all("transfer")
    for report in harness.run_until(T0 + 3 * HOUR_S, 900):
        assert report.outcome == "done" and f"{ZONE} not known" in report.sentence
    assert not harness.cloud.stops and not harness.all("intent")
    assert (harness.all("run"), harness.all("transfer")) == (runs, transfers)
    del harness.cloud.answers[ZONE]
    harness.run(30)
    assert harness.cloud.stops == ["s1"]
    assert harness.charged_ucr() == 25_330_800 * (3 * HOUR_S + 30) // HOUR_S


def test_an_outage_of_another_zone_does_not_save_a_server() -> None:
    """Exhaustion and limits need an answer of the server's own zone only."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.cloud.answers["pl-waw-2"] = lambda _: unknown("pl-waw-2")
    harness.run()
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]


def test_a_revoked_key_is_told_apart_and_stops_nothing() -> None:
    """If every zone answers 401, the book records the cause and nothing is stopped."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    for zone in ("fr-par-1", ZONE, "pl-waw-2"):
        harness.cloud.answers[zone] = lambda _, z=zone: unknown(z, Cause.KEY_REFUSED)
    harness.run_until(T0 + 600)
    assert not harness.cloud.stops
    assert {str(row["detail"]).split(":")[0] for row in harness.all("zone")} == {"key_refused"}


def test_zones_that_hang_are_unknown_at_the_deadline() -> None:
    """At the cycle's deadline a hung zone counts as Unknown, and its late answer is dropped."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    let_go, entered = threading.Event(), threading.Semaphore(0)

    def hang(at_s: int) -> Sweep:
        entered.release()
        let_go.wait(30)
        return Complete(ZONE, at_s, ())  # late and wrong: believed, this answer would end the run

    for zone in ("fr-par-1", ZONE, "pl-waw-2"):
        harness.cloud.answers[zone] = hang
    slow = harness.daemon("a", Timing(cycle_max_s=0))
    harness.clock.move_to(T0 + 30)
    assert "not known" in slow.run().sentence
    assert {str(row["detail"]).split(":")[0] for row in harness.all("zone")} == {"deadline"}
    harness.clock.move_to(T0 + 60)
    slow.run()
    let_go.set()
    slow.observer._zones._pool.shutdown(wait=True)
    asked = sum(1 for _ in iter(lambda: entered.acquire(blocking=False), False))
    assert asked == 3, "a zone that is still busy is not asked again"
    assert [row["end_s"] for row in harness.all("run")] == [None]


def test_a_jump_of_the_clock_forward_only_observes() -> None:
    """If the wall clock jumps ahead by more than 5 s, nothing is written or stopped."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    before = digest(harness)
    harness.clock.step(HOUR_S)
    report = harness.run()
    assert report.outcome == "observed" and "jumped by 3600 s" in report.sentence
    assert digest(harness) == before and not harness.cloud.stops
    harness.run(30)
    assert harness.cloud.stops == ["s1"], "the cycle after it decides again"


def test_a_step_of_the_clock_back_charges_nothing_until_time_passes() -> None:
    """After a step back, confirmed time stays confirmed, and the total is for the time passed."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    harness.run_until(T0 + 2 * HOUR_S, 600)
    before = harness.charged_ucr()
    harness.clock.step(-HOUR_S)
    harness.run_until(T0 + 2 * HOUR_S, 600)
    assert harness.charged_ucr() == before
    harness.run_until(T0 + 3 * HOUR_S, 600)
    assert harness.charged_ucr() == 3 * 25_330_800
    assert verify(harness.book).fault is None


def test_credits_run_out_and_the_stop_lands_above_zero() -> None:
    """The final notice starts with the reserve left; the balance ends at or above zero."""
    harness = Harness(program(credits=100))
    harness.cloud.add(server())
    report = harness.run()
    while not harness.cloud.stops:
        harness.clock.move_to(harness.cycle.next_due_s(report))
        report = harness.run()
        assert harness.clock.now_s() < T0 + 5 * HOUR_S
    harness.run(30)
    view = harness.views[-1].status.startups[0]
    assert view.level == "stopped" and 0 <= view.balance.available_ucr < 5_000_000
    given = next(row for row in harness.all("notice") if row["rule"] == "credits")
    assert int(str(given["deadline_s"])) - int(str(given["opened_s"])) >= NOTICE_S
    assert "overdraft:c" not in harness.rows("balance")


def test_the_fixpoint_is_quiet() -> None:
    """After a stop the books converge within three cycles, and ten more change nothing."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run_until(T0 + NOTICE_S + 90)
    tables = ("transfer", "run", "decision", "notice", "intent")
    before = [harness.all(table) for table in tables]
    harness.run_until(T0 + NOTICE_S + 390)
    assert [harness.all(table) for table in tables] == before
    assert [row["state"] for row in harness.all("intent")] == ["confirmed"]


def test_no_program_is_no_work() -> None:
    """A cycle without a program makes no call to the cloud."""
    harness = Harness()
    harness.cycle.book = Book.in_memory()
    harness.cloud.answers[ZONE] = lambda _: pytest.fail("the cloud was asked")
    assert harness.run().outcome == "idle"


def test_timing_refuses_a_lease_that_is_too_short() -> None:
    """The settings guarantee that cycle_max + 2 x database timeout < lease."""
    with pytest.raises(ValueError, match="too short"):
        Timing(cycle_max_s=160, database_timeout_s=10, lease_s=180)

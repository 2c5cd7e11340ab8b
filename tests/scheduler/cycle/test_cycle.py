"""A cycle counts what it knows, once, and does nothing where it knows nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from quotas.book import Book
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Complete, Partial, Sweep, Unknown
from quotas.model.units import HOUR_S
from scheduler.timing import Timing

from ..harness import NOTICE_S, T0, ZONE, Rig, digest, program, server


def unknown(zone: str, cause: Cause = Cause.FAULT) -> Unknown:
    """A zone that does not answer."""
    return Unknown(zone, T0, cause, "test")


def partial(zone: str) -> Partial:
    """A zone that shows one server of several."""
    return Partial(zone, T0, (server(),), Cause.INCONSISTENT, "test")


def test_a_cycle_twice_is_a_cycle_once() -> None:
    """Running the cycle again at the same instant changes no row of the book."""
    rig = Rig(program(limit=0))
    rig.run()
    rig.cloud.add(server(since_s=T0 + 10))
    for pause_s in (30, HOUR_S, 40, 300, HOUR_S):
        if rig.run(pause_s).sent:
            rig.run()  # the stop it sent has changed the world: that is one cycle more
        before = digest(rig)
        rig.run()
        assert digest(rig) == before
    assert rig.cloud.stops == ["s1"]


def test_many_cycles_charge_what_one_does() -> None:
    """Any partition of the time into cycles gives the same charge to the micro-credit."""
    charges = []
    for every_s in (37, 450, 3_600, 8_000):
        rig = Rig()
        rig.run()
        rig.cloud.add(server(since_s=T0 + 5))
        rig.run_until(T0 + 8_000, every_s)
        rig.cloud.turn_off("s1")
        rig.run()
        rig.run(30)
        charges.append(rig.charged_ucr())
    assert set(charges) == {25_330_800 * 7_995 // HOUR_S}


def test_a_server_that_starts_while_a_cycle_reads_is_charged_from_its_date() -> None:
    """The zone's pages take 36 s, and it starts within: the charge is of its seconds exactly."""
    rig = Rig()
    rig.run()
    started_s = T0 + 30 + 35

    def slow(at_s: int) -> Sweep:
        rig.clock.move_to(at_s + 36)
        rig.cloud.add(server(since_s=started_s))
        return Complete(ZONE, at_s, tuple(rig.cloud.servers.values()))

    rig.cloud.answers[ZONE] = slow
    rig.run(30)
    del rig.cloud.answers[ZONE]
    rig.run_until(T0 + HOUR_S)
    rig.cloud.turn_off("s1")
    rig.run(30)
    assert [row["start_s"] for row in rig.all("run")] == [started_s]
    assert rig.charged_ucr() == 25_330_800 * (T0 + HOUR_S - started_s) // HOUR_S


def test_a_quiet_cycle_posts_nothing() -> None:
    """A cycle in which nothing changed writes its zones and nothing else."""
    rig = Rig()
    rig.cloud.add(server())
    rig.run()
    before = [rig.all(table) for table in ("transfer", "run", "decision", "notice", "intent")]
    rig.run(30)
    assert before == [rig.all(t) for t in ("transfer", "run", "decision", "notice", "intent")]
    assert {row["confirmed_until_s"] for row in rig.all("zone")} == {T0 + 30}


@pytest.mark.parametrize("answer", [unknown, partial])
def test_a_zone_that_is_not_known_stops_and_charges_nothing(answer: Callable[[str], Sweep]) -> None:
    """Past a notice's deadline, an Unknown or Partial zone keeps the server running."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.run()
    rig.cloud.answers[ZONE] = lambda _: answer(ZONE)
    runs, transfers = rig.all("run"), rig.all("transfer")
    for report in rig.run_until(T0 + 3 * HOUR_S, 900):
        assert report.outcome == "done" and f"{ZONE} not known" in report.sentence
    assert not rig.cloud.stops and not rig.all("intent")
    assert (rig.all("run"), rig.all("transfer")) == (runs, transfers)
    del rig.cloud.answers[ZONE]
    rig.run(30)
    assert rig.cloud.stops == ["s1"]
    assert rig.charged_ucr() == 25_330_800 * (3 * HOUR_S + 30) // HOUR_S


def test_an_outage_of_another_zone_does_not_save_a_server() -> None:
    """Exhaustion and limits need only the server's own zone."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.cloud.answers["pl-waw-2"] = lambda _: unknown("pl-waw-2")
    rig.run()
    rig.run(NOTICE_S)
    assert rig.cloud.stops == ["s1"]


def test_a_revoked_key_is_told_apart_and_stops_nothing() -> None:
    """Every zone answers 401: the cause is in the book, and nothing is stopped."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.run()
    for zone in ("fr-par-1", ZONE, "pl-waw-2"):
        rig.cloud.answers[zone] = lambda _, z=zone: unknown(z, Cause.KEY_REFUSED)
    rig.run_until(T0 + 600)
    assert not rig.cloud.stops
    assert {str(row["detail"]).split(":")[0] for row in rig.all("zone")} == {"key_refused"}


def test_zones_that_hang_are_unknown_at_the_deadline() -> None:
    """At the cycle's deadline a hung zone is Unknown; its late answer is dropped."""
    rig = Rig()
    rig.cloud.add(server())
    rig.run()
    let_go, entered = threading.Event(), threading.Semaphore(0)

    def hang(at_s: int) -> Sweep:
        entered.release()
        let_go.wait(30)
        return Complete(ZONE, at_s, ())  # late and wrong: believed, it would end the run

    for zone in ("fr-par-1", ZONE, "pl-waw-2"):
        rig.cloud.answers[zone] = hang
    slow = rig.daemon("a", Timing(cycle_max_s=0))
    rig.clock.move_to(T0 + 30)
    assert "not known" in slow.run().sentence
    assert {str(row["detail"]).split(":")[0] for row in rig.all("zone")} == {"deadline"}
    rig.clock.move_to(T0 + 60)
    slow.run()
    let_go.set()
    slow.observer._zones._pool.shutdown(wait=True)
    asked = sum(1 for _ in iter(lambda: entered.acquire(blocking=False), False))
    assert asked == 3, "a zone that is still busy is not asked again"
    assert [row["end_s"] for row in rig.all("run")] == [None]


def test_a_jump_of_the_clock_forward_only_observes() -> None:
    """Wall ahead of monotonic time by more than 5 s: nothing is written or stopped."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.run()
    before = digest(rig)
    rig.clock.step(HOUR_S)
    report = rig.run()
    assert report.outcome == "observed" and "jumped by 3600 s" in report.sentence
    assert digest(rig) == before and not rig.cloud.stops
    rig.run(30)
    assert rig.cloud.stops == ["s1"], "the cycle after it decides again"


def test_a_step_of_the_clock_back_charges_nothing_until_time_passes() -> None:
    """What is confirmed stays; the total after the step is that of the time that passed."""
    rig = Rig()
    rig.cloud.add(server())
    rig.run()
    rig.run_until(T0 + 2 * HOUR_S, 600)
    before = rig.charged_ucr()
    rig.clock.step(-HOUR_S)
    rig.run_until(T0 + 2 * HOUR_S, 600)
    assert rig.charged_ucr() == before
    rig.run_until(T0 + 3 * HOUR_S, 600)
    assert rig.charged_ucr() == 3 * 25_330_800
    assert verify(rig.book).fault is None


def test_credits_run_out_and_the_stop_lands_above_zero() -> None:
    """The final notice starts with the reserve left; the balance ends at or above zero."""
    rig = Rig(program(credits=100))
    rig.cloud.add(server())
    report = rig.run()
    while not rig.cloud.stops:
        rig.clock.move_to(rig.cycle.next_s(report))
        report = rig.run()
        assert rig.clock.now_s() < T0 + 5 * HOUR_S
    rig.run(30)
    view = rig.views[-1].startups[0]
    assert view.level == "stopped" and 0 <= view.balance.available_ucr < 5_000_000
    given = next(row for row in rig.all("notice") if row["rule"] == "credits")
    assert int(str(given["deadline_s"])) - int(str(given["given_s"])) >= NOTICE_S
    assert "overdraft:c" not in rig.rows("balance")


def test_the_fixpoint_is_quiet() -> None:
    """After a stop the books converge within three cycles, and ten more change nothing."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.run_until(T0 + NOTICE_S + 90)
    tables = ("transfer", "run", "decision", "notice", "intent")
    before = [rig.all(table) for table in tables]
    rig.run_until(T0 + NOTICE_S + 390)
    assert [rig.all(table) for table in tables] == before
    assert [row["state"] for row in rig.all("intent")] == ["confirmed"]


def test_no_program_is_no_work() -> None:
    """Without a program a cycle asks the cloud nothing."""
    rig = Rig()
    rig.cycle.book = Book.in_memory()
    rig.cloud.answers[ZONE] = lambda _: pytest.fail("the cloud was asked")
    assert rig.run().outcome == "idle"


def test_timing_refuses_a_lease_that_is_too_short() -> None:
    """cycle_max + 2 x database timeout < lease is checked where they are put together."""
    with pytest.raises(ValueError, match="too short"):
        Timing(cycle_max_s=160, database_timeout_s=10, lease_s=180)

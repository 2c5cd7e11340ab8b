"""Faults of time: a slewed clock, a machine that sleeps, a daemon or a zone that is down."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.holds import HoldCommand
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Sweep, Unknown
from quotas.model.units import HOUR_S

from ..harness import (
    DAY_S,
    END,
    T0,
    ZONE,
    Harness,
    digest,
    program,
    server,
)
from .charges import ran_ucr


def dark(at_s: int) -> Sweep:
    """The zone does not answer."""
    return Unknown(ZONE, at_s, Cause.UNREACHABLE, "no route")


def test_a_clock_that_is_slewed_or_steps_by_seconds_loses_and_doubles_nothing() -> None:
    """With a clock up to 5 s off, every cycle decides, and every second is charged once."""
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
    """The stop is three hours late, never early; the sponsor pays the use beyond the credits."""
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
    """After a sleep of 30 days the first cycle only observes; the next ones charge every second."""
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


def test_a_program_that_ends_in_an_outage_stops_when_it_is_over() -> None:
    """Nothing is stopped in the outage; the announced stop follows at once after it."""
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
    """A hold that lasts to the grant's last second ends with the grant."""
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

"""Notice compensation: the missing seconds of a short notice are refunded once."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from quotas.book.cycle.commit import changed_since
from quotas.book.cycle.state import load_state
from quotas.book.schema.tables import NOTICE
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Unknown
from quotas.model.units import HOUR_S, Period, cost_ucr
from tests.scheduler.harness import RATE, T0, ZONE, Harness, override, program, server
from tests.scheduler.scenarios import last_notice, turn, with_acme

SHORT_S = 600


def stopped_too_early() -> Harness:
    """A server over its limit whose notice turns out to have run ten minutes longer."""
    harness = Harness(program(limit=4, notice_s=3600))
    harness.cloud.add(server())
    harness.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # it takes its time
    harness.run_until(T0 + 4200, 600)
    assert harness.cloud.stops == ["s1"]
    sent_s = int(str(harness.all("intent")[0]["sent_s"]))
    with harness.book.writing() as connection:
        connection.execute(update(NOTICE).values(deadline_s=sent_s + SHORT_S))
    return harness


def refunds(harness: Harness) -> list[dict[str, object]]:
    """The refunds in the book."""
    return [row for row in harness.all("transfer") if row["kind"] == "refund"]


def returned_ucr(harness: Harness) -> int:
    """The micro-credits that the refunds return to acme."""
    entries = {
        row["transfer_id"]: row for row in harness.all("entry") if row["account"] == "usage:acme"
    }
    return -sum(int(str(entries[row["id"]]["amount_ucr"])) for row in refunds(harness))


def test_the_missing_seconds_are_refunded_when_the_server_is_off() -> None:
    """The last ten minutes that were charged are refunded exactly, and once."""
    harness = stopped_too_early()
    harness.run(30)
    del harness.cloud.turn_off
    harness.cloud.turn_off("s1")
    harness.run(30)
    harness.run(30)
    assert {row["actor"] for row in refunds(harness)} == {"notice-compensation"}
    assert abs(returned_ucr(harness) - cost_ucr(RATE, 0, Period(0, SHORT_S))) <= 30 * RATE // 3600
    # The compensation does not hide the action: the book still names it.
    assert "before its notice's deadline" in str(verify(harness.book).fault)


def test_an_outage_after_the_stop_takes_nothing_from_the_refund() -> None:
    """The seconds before the server was off are refunded, even if it is seen off an hour later."""
    harness = stopped_too_early()
    harness.run(30)
    del harness.cloud.turn_off
    harness.cloud.turn_off("s1")
    off_s = harness.clock.now_s()
    harness.cloud.answers[ZONE] = lambda at: Unknown(ZONE, at, Cause.UNREACHABLE, "no answer")
    harness.run_until(off_s + 3600, 600)
    harness.cloud.answers.clear()
    harness.run(30)
    assert returned_ucr(harness) == cost_ucr(RATE, 0, Period(0, SHORT_S))


def test_a_compensation_is_no_change_by_an_operator() -> None:
    """The refund is cohortd's own, so it overtakes no call of the same cycle."""
    harness = stopped_too_early()
    harness.run(30)
    del harness.cloud.turn_off
    harness.cloud.turn_off("s1")
    before = load_state(harness.book)
    harness.run(30)
    assert refunds(harness) and not changed_since(harness.book, before)


def test_a_whole_notice_is_not_compensated() -> None:
    """A stop after its whole notice is charged to the end."""
    harness = Harness(program(limit=4, notice_s=3600))
    harness.cloud.add(server())
    harness.run_until(T0 + 5400, 600)
    assert harness.cloud.stops == ["s1"] and refunds(harness) == []


def test_a_stop_that_failed_before_a_freeze_breaches_no_notice() -> None:
    """The notice was whole before the freeze, so the notice after it is no breach."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # it does not stop
    while [row["state"] for row in harness.all("intent")] != ["failed"]:
        harness.run(30)
    override(harness, "freeze", "acme", for_s=HOUR_S)
    harness.run_until(harness.clock.now_s() + HOUR_S, 300)
    while last_notice(harness)["state"] == "executing":
        harness.run(10)
    assert last_notice(harness)["state"] == "open" and not last_notice(harness)["is_breached"]
    del harness.cloud.turn_off
    harness.run_until(harness.clock.now_s() + 300)
    assert last_notice(harness)["state"] == "executed" and verify(harness.book).fault is None
    assert not [row for row in harness.all("transfer") if row["kind"] == "refund"]


@pytest.mark.parametrize(
    "left_s", [0, 600], ids=["stopped at the deadline", "off ten minutes before it"]
)
def test_no_more_can_be_missing_than_was_left_of_an_older_notice(left_s: int) -> None:
    """Without any channel the first notice lacks all its seconds, the next only its rest."""
    told = with_acme(program(credits=50, notice_s=1800), contacts=("mailto://cto@example.com",))
    harness = Harness(told)
    harness.cloud.add(server())
    while not [row for row in harness.all("notice") if row["server_id"]]:
        harness.run(30)
    harness.run_until(harness.clock.now_s() + 1800 - left_s if left_s else T0 + 2 * HOUR_S, 150)
    turn(harness, "s1", "stopped")
    turn(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + left_s + 600, 60)
    turn(harness, "s1", "stopped")
    rows = [row for row in harness.all("decision") if row["verb"] == "breach"]
    short = [row["inputs"]["short_s"] for row in rows]
    if left_s:  # off before its deadline, so its notice was cancelled with the rest unannounced
        assert len(short) == 1 and 0 < short[0] <= left_s
    else:
        assert short == [1800], "of the second nothing was left"

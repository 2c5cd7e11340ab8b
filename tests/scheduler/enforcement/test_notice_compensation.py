"""A notice that was cut short is paid for: the missing seconds come back, once."""

from __future__ import annotations

from sqlalchemy import update

from quotas.book.cycle.changed_since import spoken_since
from quotas.book.cycle.state import load
from quotas.book.schema import NOTICE
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Unknown
from quotas.model.units import Period, cost_ucr
from tests.scheduler.harness import RATE, T0, ZONE, Rig, program, server

SHORT_S = 600


def stopped_too_early() -> Rig:
    """A server over its limit whose notice turns out to have run ten minutes longer."""
    rig = Rig(program(limit=4, notice_s=3600))
    rig.cloud.add(server())
    rig.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # it takes its time
    rig.run_until(T0 + 4200, 600)
    assert rig.cloud.stops == ["s1"]
    sent_s = int(str(rig.all("intent")[0]["sent_s"]))
    with rig.book.writing() as connection:
        connection.execute(update(NOTICE).values(deadline_s=sent_s + SHORT_S))
    return rig


def refunds(rig: Rig) -> list[dict[str, object]]:
    """The refunds in the book."""
    return [row for row in rig.all("transfer") if row["kind"] == "refund"]


def returned_ucr(rig: Rig) -> int:
    """What they return to acme."""
    entries = {
        row["transfer_id"]: row for row in rig.all("entry") if row["account"] == "usage:acme"
    }
    return -sum(int(str(entries[row["id"]]["amount_ucr"])) for row in refunds(rig))


def test_the_missing_seconds_are_refunded_when_the_server_is_off() -> None:
    """Ten minutes short: the last ten minutes it was charged for return, exactly, and once."""
    rig = stopped_too_early()
    rig.run(30)
    del rig.cloud.turn_off
    rig.cloud.turn_off("s1")
    rig.run(30)
    rig.run(30)
    assert {row["actor"] for row in refunds(rig)} == {"amends"}
    assert abs(returned_ucr(rig) - cost_ucr(RATE, 0, Period(0, SHORT_S))) <= 30 * RATE // 3600
    # The deed is not hidden by the amends: the book goes on to name it.
    assert "before its notice's deadline" in str(verify(rig.book).fault)


def test_an_outage_after_the_stop_takes_nothing_from_the_refund() -> None:
    """Off at once, and seen off an hour later: the seconds before it was off return."""
    rig = stopped_too_early()
    rig.run(30)
    del rig.cloud.turn_off
    rig.cloud.turn_off("s1")
    off_s = rig.clock.now_s()
    rig.cloud.answers[ZONE] = lambda at: Unknown(ZONE, at, Cause.UNREACHABLE, "no answer")
    rig.run_until(off_s + 3600, 600)
    rig.cloud.answers.clear()
    rig.run(30)
    assert returned_ucr(rig) == cost_ucr(RATE, 0, Period(0, SHORT_S))


def test_amends_are_nobodys_word() -> None:
    """The refund is the daemon's own: it does not hold back what the same cycle is to send."""
    rig = stopped_too_early()
    rig.run(30)
    del rig.cloud.turn_off
    rig.cloud.turn_off("s1")
    before = load(rig.book)
    rig.run(30)
    assert refunds(rig) and not spoken_since(rig.book, before)


def test_a_kept_promise_returns_nothing() -> None:
    """A stop after its whole notice is charged to the end."""
    rig = Rig(program(limit=4, notice_s=3600))
    rig.cloud.add(server())
    rig.run_until(T0 + 5400, 600)
    assert rig.cloud.stops == ["s1"] and refunds(rig) == []

"""Two daemons on one book: only the leader writes, and a stale epoch is refused."""

from __future__ import annotations

import pytest

from quotas.book.cycle.commit import mark
from quotas.book.cycle.lease import LONGEST_S, StaleEpoch, acquire, leading, release
from quotas.book.verify.verify import verify
from quotas.model.observation import Complete, Sweep
from scheduler.timing import Timing

from ..harness import DAY_S, NOTICE_S, T0, ZONE, Rig, digest, program, server


def test_only_the_leader_writes() -> None:
    """While one holds the lease, the other's cycle stands by and changes nothing."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    second = rig.daemon("b")
    rig.run()
    before = digest(rig)
    assert second.run().outcome == "standby"
    assert digest(rig) == before and second.lease is None


def test_the_lease_passes_on_when_it_runs_out_and_when_it_is_released() -> None:
    """The epoch rises by one at each change of leader."""
    rig = Rig()
    rig.run()
    second = rig.daemon("b")
    rig.clock.move_to(T0 + Timing().lease_s)
    assert second.run().outcome == "done"
    assert second.lease is not None and second.lease.epoch == 2
    assert rig.run().outcome == "standby"
    release(rig.book, second.lease)
    assert rig.run().outcome == "done"
    assert rig.cycle.lease is not None and rig.cycle.lease.epoch == 3


def test_a_successor_does_not_wait_for_a_lease_whose_end_is_thirty_days_away() -> None:
    """Its holder's clock was ahead, and it is gone: taken once it stood unchanged for 300 s."""
    rig = Rig()
    rig.cloud.add(server())
    rig.run()
    rig.clock.step(30 * DAY_S)
    assert [rig.run().outcome for _ in range(2)] == ["observed", "done"]
    rig.clock.step(-30 * DAY_S)
    second = rig.daemon("b")
    outcomes = []
    for _ in range(12):
        rig.clock.move_to(rig.clock.now_s() + 30)
        outcomes.append(second.run().outcome)
    assert outcomes == ["standby"] * 11 + ["done"]
    assert second.lease is not None and second.lease.epoch == 3
    assert second.lease.expires_s == rig.clock.now_s() + Timing().lease_s


def test_a_live_leader_whose_clock_is_ahead_is_not_taken_for_dead() -> None:
    """Each renewal is seen, also on a clock that stepped back, and nobody takes the lease."""
    rig = Rig()
    rig.run()
    rig.clock.step(30 * DAY_S)
    assert [rig.run().outcome for _ in range(2)] == ["observed", "done"]
    rig.clock.step(-30 * DAY_S)
    second = rig.daemon("b")
    for _ in range(3 * LONGEST_S // 30):
        assert second.run().outcome == "standby"
        assert rig.run(30).outcome == "done"


def test_a_jump_of_the_clock_leaves_the_lease_alone() -> None:
    """What a wrong clock says is no end of a lease: it stands as it did, and goes on."""
    rig = Rig()
    rig.run()
    before = leading(rig.book)
    rig.clock.step(30 * DAY_S)
    assert rig.run().outcome == "observed" and leading(rig.book) == before
    rig.clock.step(-30 * DAY_S)
    assert rig.run(20).outcome == "done"
    assert rig.cycle.lease is not None and rig.cycle.lease.epoch == 1


def test_a_leader_that_stalled_inside_its_cycle_writes_nothing() -> None:
    """Another daemon led meanwhile: the late commit is refused whole."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.run()
    second = rig.daemon("b")

    def stall(at_s: int) -> Sweep:
        del rig.cloud.answers[ZONE]
        rig.clock.move_to(T0 + 1_000)
        assert second.run().outcome == "done"
        return Complete(ZONE, at_s, ())

    rig.cloud.answers[ZONE] = stall
    rig.clock.move_to(T0 + 30)
    with pytest.raises(StaleEpoch, match="epoch 1 was superseded by 2"):
        rig.cycle.run()
    assert [row["end_s"] for row in rig.all("run")] == [None], "the stale sweep was not believed"
    assert verify(rig.book).fault is None


def test_a_leader_that_was_superseded_marks_nothing() -> None:
    """What became of a call is refused too, under an old epoch: the new leader finds out."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.run()
    second = rig.daemon("b")

    def overtake(_: str) -> None:
        rig.clock.move_to(T0 + 1_000)
        acquire(rig.book, "b", rig.clock.now_s(), 180)

    rig.cloud.on_stop = overtake
    with pytest.raises(StaleEpoch):
        rig.run(NOTICE_S)
    assert [row["state"] for row in rig.all("intent")] == ["pending"]
    second.run()
    assert [row["state"] for row in rig.all("intent")] == ["confirmed"]
    assert rig.cloud.stops == ["s1"]


def test_a_fence_holds_for_marks_without_intents() -> None:
    """An empty mark under a stale epoch is refused as loudly as a full one."""
    rig = Rig()
    rig.run()
    stale = rig.cycle.lease
    assert stale is not None
    acquire(rig.book, "b", T0 + 1_000, 180)
    with pytest.raises(StaleEpoch):
        mark(rig.book, [], stale)


def test_two_daemons_in_turn_charge_each_second_once() -> None:
    """Whoever leads, the total is that of the time that passed, and verify accepts it."""
    rig = Rig()
    rig.cloud.add(server())
    daemons = [rig.daemon(name) for name in "abc"]
    for step in range(60):
        rig.clock.move_to(T0 + step * 240)
        reports = [daemons[(step + turn) % 3].run() for turn in range(3)]
        assert [report.outcome for report in reports] == ["done", "standby", "standby"]
    view = rig.views[-1].startups[0]
    assert view.charged_ucr + view.balance.accrued_ucr == 25_330_800 * 59 * 240 // 3600
    assert verify(rig.book).fault is None

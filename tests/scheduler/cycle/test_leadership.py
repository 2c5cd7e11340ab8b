"""Two daemons on one book: only the leader writes, and a stale epoch is refused."""

from __future__ import annotations

import pytest

from quotas.book.cycle.commit import save_intents
from quotas.book.cycle.lease import MAX_LEASE_S, StaleEpoch, acquire, current_lease, release
from quotas.book.verify.verify import verify
from quotas.model.observation import Complete, Sweep
from scheduler.timing import Timing

from ..harness import DAY_S, NOTICE_S, T0, ZONE, Harness, digest, program, server


def test_only_the_leader_writes() -> None:
    """While one daemon holds the lease, the other one's cycle stands by and changes nothing."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    second = harness.daemon("b")
    harness.run()
    before = digest(harness)
    assert second.run().outcome == "follower"
    assert digest(harness) == before and second.lease is None


def test_the_lease_passes_on_when_it_runs_out_and_when_it_is_released() -> None:
    """The epoch rises by one at each change of leader."""
    harness = Harness()
    harness.run()
    second = harness.daemon("b")
    harness.clock.move_to(T0 + Timing().lease_s)
    assert second.run().outcome == "done"
    assert second.lease is not None and second.lease.epoch == 2
    assert harness.run().outcome == "follower"
    release(harness.book, second.lease)
    assert harness.run().outcome == "done"
    assert harness.cycle.lease is not None and harness.cycle.lease.epoch == 3


def test_a_successor_does_not_wait_for_a_lease_whose_end_is_thirty_days_away() -> None:
    """A lease from a holder whose clock was ahead is taken once it stood unchanged for 300 s."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    harness.clock.step(30 * DAY_S)
    assert [harness.run().outcome for _ in range(2)] == ["observed", "done"]
    harness.clock.step(-30 * DAY_S)
    second = harness.daemon("b")
    outcomes = []
    for _ in range(12):
        harness.clock.move_to(harness.clock.now_s() + 30)
        outcomes.append(second.run().outcome)
    assert outcomes == ["follower"] * 11 + ["done"]
    assert second.lease is not None and second.lease.epoch == 3
    assert second.lease.expires_s == harness.clock.now_s() + Timing().lease_s


def test_a_live_leader_whose_clock_is_ahead_is_not_taken_for_dead() -> None:
    """A daemon sees each renewal, even on a clock that stepped back, and takes no live lease."""
    harness = Harness()
    harness.run()
    harness.clock.step(30 * DAY_S)
    assert [harness.run().outcome for _ in range(2)] == ["observed", "done"]
    harness.clock.step(-30 * DAY_S)
    second = harness.daemon("b")
    for _ in range(3 * MAX_LEASE_S // 30):
        assert second.run().outcome == "follower"
        assert harness.run(30).outcome == "done"


def test_a_jump_of_the_clock_leaves_the_lease_alone() -> None:
    """A wrong clock alone does not end a lease."""
    harness = Harness()
    harness.run()
    before = current_lease(harness.book)
    harness.clock.step(30 * DAY_S)
    assert harness.run().outcome == "observed" and current_lease(harness.book) == before
    harness.clock.step(-30 * DAY_S)
    assert harness.run(20).outcome == "done"
    assert harness.cycle.lease is not None and harness.cycle.lease.epoch == 1


def test_a_leader_that_stalled_inside_its_cycle_writes_nothing() -> None:
    """If another daemon led in between, the late commit is refused as a whole."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    second = harness.daemon("b")

    def stall(at_s: int) -> Sweep:
        del harness.cloud.answers[ZONE]
        harness.clock.move_to(T0 + 1_000)
        assert second.run().outcome == "done"
        return Complete(ZONE, at_s, ())

    harness.cloud.answers[ZONE] = stall
    harness.clock.move_to(T0 + 30)
    with pytest.raises(StaleEpoch, match="epoch 1 was superseded by 2"):
        harness.cycle.run()
    assert [row["end_s"] for row in harness.all("run")] == [None], (
        "the stale sweep was not believed"
    )
    assert verify(harness.book).fault is None


def test_a_leader_that_was_superseded_marks_nothing() -> None:
    """A call's result is refused under an old epoch too; the new leader observes it itself."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    second = harness.daemon("b")

    def overtake(_: str) -> None:
        harness.clock.move_to(T0 + 1_000)
        acquire(harness.book, "b", harness.clock.now_s(), 180)

    harness.cloud.on_stop = overtake
    with pytest.raises(StaleEpoch):
        harness.run(NOTICE_S)
    assert [row["state"] for row in harness.all("intent")] == ["pending"]
    second.run()
    assert [row["state"] for row in harness.all("intent")] == ["confirmed"]
    assert harness.cloud.stops == ["s1"]


def test_a_fence_holds_for_marks_without_intents() -> None:
    """An empty commit under a stale epoch is refused like a full one."""
    harness = Harness()
    harness.run()
    stale = harness.cycle.lease
    assert stale is not None
    acquire(harness.book, "b", T0 + 1_000, 180)
    with pytest.raises(StaleEpoch):
        save_intents(harness.book, [], stale)


def test_two_daemons_in_turn_charge_each_second_once() -> None:
    """Whoever leads, the total charge is that of the time that passed, and verify accepts it."""
    harness = Harness()
    harness.cloud.add(server())
    daemons = [harness.daemon(name) for name in "abc"]
    for step in range(60):
        harness.clock.move_to(T0 + step * 240)
        reports = [daemons[(step + turn) % 3].run() for turn in range(3)]
        assert [report.outcome for report in reports] == ["done", "follower", "follower"]
    view = harness.views[-1].status.startups[0]
    assert view.charged_ucr + view.balance.accrued_ucr == 25_330_800 * 59 * 240 // 3600
    assert verify(harness.book).fault is None

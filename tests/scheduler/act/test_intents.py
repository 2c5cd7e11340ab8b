"""A stop is sent once, while we lead, and ends in one terminal state, whatever the cloud says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from quotas.book.cycle.commit import apply_program
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Partial
from quotas.model.program import Mode
from scheduler.act.intents import CALL_BUDGET_S
from scheduler.clouds.base import Conflict, KeyRefused, ServerFault, Throttled, Unreachable
from scheduler.timing import Timing

from ..harness import DAY_S, NOTICE_S, T0, Rig, program, server


def over_limit(mode: Mode = "enforce") -> Rig:
    """A rig whose one server has had its notice, and is due at T0 + NOTICE_S."""
    rig = Rig(program(limit=0, mode=mode))
    rig.cloud.add(server())
    rig.run()
    return rig


def notices(rig: Rig) -> list[object]:
    """State of every notice about a server, in the order of creation."""
    return [row["state"] for row in rig.all("notice") if row["server_id"]]


def states(rig: Rig) -> list[object]:
    """State of every intent, in the order of creation."""
    return [row["state"] for row in rig.all("intent")]


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_only_enforce_ever_calls(mode: Mode) -> None:
    """Shadow decides and records, off does not even decide; neither calls power_off."""
    rig = over_limit(mode)
    rig.run_until(T0 + 3_600, 60)
    assert not rig.cloud.stops and not rig.all("intent")
    verbs = [row["verb"] for row in rig.all("decision") if row["server_id"]]
    assert verbs == (["notify", "would-stop"] if mode == "shadow" else [])


def test_a_stop_follows_its_notice_and_is_confirmed() -> None:
    """Nothing is called before the deadline; then one call, sent, confirmed by observation."""
    rig = over_limit()
    rig.run(NOTICE_S - 1)
    assert not rig.cloud.stops
    assert rig.run(1).sent == 1
    assert states(rig) == ["sent"]
    rig.run(30)
    assert states(rig) == ["confirmed"]
    assert notices(rig) == ["executed"]


def test_a_refused_stop_fails_and_is_tried_again_with_growing_pauses() -> None:
    """Each refusal ends its intent; new ones follow after 60, 120, 240 s."""
    rig = over_limit()
    sent_s: list[int] = []

    def refuse(_: str) -> None:
        sent_s.append(rig.clock.now_s())
        if len(sent_s) < 4:
            raise Conflict("resource is locked")

    rig.cloud.on_stop = refuse
    rig.run_until(T0 + 900, 10)
    assert [b - a for a, b in pairwise(sent_s)] == [60, 120, 240]
    assert states(rig) == ["failed", "failed", "failed", "confirmed"]
    assert {row["detail"] for row in rig.all("intent")[:3]} == {"resource is locked"}
    assert verify(rig.book).fault is None


@pytest.mark.parametrize("error", [Unreachable("reset"), ServerFault("502")])
def test_a_stop_that_may_have_been_done_is_left_to_observation(error: Exception) -> None:
    """Done, but an error came back: not called again, and confirmed when it is seen off."""
    rig = over_limit()

    def fail_after_doing(server_id: str) -> None:
        rig.cloud.turn_off(server_id)
        raise error

    rig.cloud.on_stop = fail_after_doing
    rig.run(NOTICE_S)
    assert states(rig) == ["sent"] and str(rig.all("intent")[0]["detail"]).startswith("unsure")
    rig.run(30)
    assert states(rig) == ["confirmed"] and rig.cloud.stops == ["s1"]


def test_a_stop_that_is_done_only_later_is_left_to_observation_too() -> None:
    """An error, still on in the next cycle, then off: one call, and confirmed."""
    rig = over_limit()
    rig.cloud.on_stop = lambda _: (_ for _ in ()).throw(ServerFault("502"))
    rig.run(NOTICE_S)
    rig.run(30)
    assert states(rig) == ["sent"] and rig.cloud.servers["s1"].state == "running"
    rig.cloud.turn_off("s1")
    rig.run(30)
    assert states(rig) == ["confirmed"] and rig.cloud.stops == ["s1"]


def test_a_stop_that_a_revoked_key_prevented_is_known_not_done() -> None:
    """401 on the call itself: the intent failed, at once, and is not taken for sent."""
    rig = over_limit()

    def revoked(_: str) -> None:
        raise KeyRefused("401")

    rig.cloud.on_stop = revoked
    rig.run(NOTICE_S)
    assert states(rig) == ["failed"]


def test_an_unsure_stop_that_was_not_done_is_sent_again() -> None:
    """Still running a stop latency later: that intent failed, and another follows."""
    rig = over_limit()

    def fail(_: str) -> None:
        if len(rig.cloud.stops) == 1:
            raise Unreachable("timed out")

    rig.cloud.on_stop = fail
    rig.run_until(T0 + NOTICE_S + 300)
    assert states(rig) == ["sent"], "no second call within the stop latency"
    rig.run_until(T0 + NOTICE_S + 600)
    assert states(rig) == ["failed", "confirmed"] and len(rig.cloud.stops) == 2


def test_a_throttled_stop_stays_pending_and_is_sent_in_the_next_cycle() -> None:
    """429 says that nothing was done: the same intent is tried again."""
    rig = over_limit()

    def throttle(_: str) -> None:
        if len(rig.cloud.stops) == 1:
            raise Throttled("429")

    rig.cloud.on_stop = throttle
    assert rig.run(NOTICE_S).sent == 0
    assert states(rig) == ["pending"]
    rig.run(30)
    rig.run(30)
    assert states(rig) == ["confirmed"] and len(rig.cloud.stops) == 2


def test_a_stop_that_waits_is_not_sent_to_a_zone_that_answers_partly() -> None:
    """Promise 3: an intent of an earlier cycle waits until its zone is Complete again."""
    rig = over_limit()
    rig.cloud.on_stop = lambda _: (_ for _ in ()).throw(Throttled("429"))
    rig.run(NOTICE_S)
    rig.cloud.on_stop = lambda _: None
    tried, whole = len(rig.cloud.stops), rig.cloud.sweep
    rig.cloud.sweep = lambda zone, at_s: Partial(zone, at_s, (), Cause.INCONSISTENT, "page 2")
    assert rig.run(30).sent == 0
    assert (states(rig), len(rig.cloud.stops)) == (["pending"], tried)
    rig.cloud.sweep = whole
    assert rig.run(30).sent == 1


def test_an_intent_throttled_past_its_hour_expires_and_is_decided_anew() -> None:
    """Beyond not_after nothing is sent: the world has moved on."""
    rig = over_limit()
    rig.cloud.on_stop = lambda _: (_ for _ in ()).throw(Throttled("429"))
    rig.run_until(T0 + NOTICE_S + 360)
    assert states(rig)[0] == "expired"
    rig.cloud.on_stop = lambda _: None
    rig.run_until(T0 + NOTICE_S + 600)
    assert states(rig) == ["expired", "confirmed"]


def test_nothing_is_called_with_too_little_lease_left() -> None:
    """A cycle that took so long that a call might outlive the lease sends nothing."""
    rig = over_limit()
    publish = rig.cycle.prices.refresh

    def slow(*args: object) -> bool:
        rig.clock.move_to(rig.clock.now_s() + Timing().lease_s - CALL_BUDGET_S + 1)
        return publish(*args)  # type: ignore[arg-type]  # passed through as they came

    rig.cycle.prices.refresh = slow  # type: ignore[method-assign]  # stands for a slow read
    assert rig.run(NOTICE_S).sent == 0
    assert states(rig) == ["pending"] and not rig.cloud.stops
    rig.cycle.prices.refresh = publish  # type: ignore[method-assign]  # fast again
    assert rig.run(1).sent == 1


def test_a_step_back_inside_a_cycle_makes_the_lease_no_longer() -> None:
    """By the wall it lasts for a month, by monotonic time too short for a call: none is made."""
    rig = over_limit()
    read = rig.cycle.prices.refresh

    def slow(*args: object) -> bool:
        rig.clock.move_to(rig.clock.now_s() + Timing().lease_s - CALL_BUDGET_S + 1)
        rig.clock.step(-30 * DAY_S)
        return read(*args)  # type: ignore[arg-type]  # passed through as they came

    rig.cycle.prices.refresh = slow  # type: ignore[method-assign]  # stands for a slow read
    assert rig.run(NOTICE_S).sent == 0
    assert states(rig) == ["pending"] and not rig.cloud.stops


def test_a_server_that_stopped_by_itself_is_not_called() -> None:
    """Its notice is cancelled, and so is the promise of the stop."""
    rig = over_limit()
    rig.cloud.turn_off("s1")
    rig.run(NOTICE_S)
    assert not rig.cloud.stops
    assert notices(rig) == ["cancelled"]


def test_a_cause_that_ends_abandons_the_intent() -> None:
    """A raised limit takes back a stop that could not be sent yet."""
    rig = over_limit()
    rig.cloud.on_stop = lambda _: (_ for _ in ()).throw(Throttled("429"))
    rig.run(NOTICE_S)
    apply_program(rig.book, program(limit=8), rig.clock.now_s(), "tests")
    rig.run(30)
    assert states(rig) == ["abandoned"] and len(rig.cloud.stops) == 1


def test_a_server_started_again_gets_a_notice_of_its_own() -> None:
    """Stopped once, started again: full notice, then a second stop."""
    rig = over_limit()
    rig.run(NOTICE_S)
    rig.run_until(T0 + 300)
    rig.cloud.add(replace(rig.cloud.servers["s1"], state="running", modified_s=T0 + 300))
    rig.run_until(T0 + 300 + NOTICE_S)
    assert len(rig.cloud.stops) == 1
    rig.run_until(T0 + 300 + 2 * NOTICE_S + 60)
    assert len(rig.cloud.stops) == 2
    assert states(rig) == ["confirmed", "confirmed"]

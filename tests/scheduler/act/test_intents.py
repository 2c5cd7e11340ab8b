"""Intents: the leader sends a stop once, and the intent ends whatever the cloud answers."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest

from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.book.reads.status import in_force
from quotas.book.schema.tables import INTENT
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Complete, Partial
from quotas.model.program import Mode
from quotas.state.notices import Intent, IntentCode, IntentState
from quotas.state.overrides import EVERYONE, Overrides
from scheduler.act.access import CALL_BUDGET_S
from scheduler.act.intents import act, sendable_intents
from scheduler.clouds.base import Conflict, KeyRefused, ServerFault, Throttled, Unreachable
from scheduler.timing import Timing
from tests.builders import an_intent
from tests.scheduler.harness import DAY_S, NOTICE_S, T0, ZONE, Harness, override, program, server
from tests.scheduler.scenarios import last_notice


def over_limit(mode: Mode = "enforce") -> Harness:
    """A harness whose one server had its notice and is due at T0 + NOTICE_S."""
    harness = Harness(program(limit=0, mode=mode))
    harness.cloud.add(server())
    harness.run()
    return harness


def notices(harness: Harness) -> list[object]:
    """State of every notice about a server, in the order of creation."""
    return [row["state"] for row in harness.all("notice") if row["server_id"]]


def states(harness: Harness) -> list[object]:
    """State of every intent, in the order of creation."""
    return [row["state"] for row in harness.all("intent")]


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_only_enforce_ever_calls(mode: Mode) -> None:
    """Shadow mode decides and records, mode off does not decide, and neither calls power_off."""
    harness = over_limit(mode)
    harness.run_until(T0 + 3_600, 60)
    assert not harness.cloud.stops and not harness.all("intent")
    verbs = [row["verb"] for row in harness.all("decision") if row["server_id"]]
    assert verbs == (["notify", "would-stop"] if mode == "shadow" else [])


def test_a_stop_follows_its_notice_and_is_confirmed() -> None:
    """There is no call before the deadline; then one, which the next observation confirms."""
    harness = over_limit()
    harness.run(NOTICE_S - 1)
    assert not harness.cloud.stops
    assert harness.run(1).sent == 1
    assert states(harness) == ["sent"]
    harness.run(30)
    assert states(harness) == ["confirmed"]
    assert notices(harness) == ["executed"]


def test_a_refused_stop_fails_and_is_tried_again_with_growing_pauses() -> None:
    """Each refusal ends its intent; new intents follow after 60, 120 and 240 s."""
    harness = over_limit()
    sent_s: list[int] = []

    def refuse(_: str) -> None:
        sent_s.append(harness.clock.now_s())
        if len(sent_s) < 4:
            raise Conflict("resource is locked")

    harness.cloud.on_stop = refuse
    harness.run_until(T0 + 900, 10)
    assert [b - a for a, b in pairwise(sent_s)] == [60, 120, 240]
    assert states(harness) == ["failed", "failed", "failed", "confirmed"]
    assert {row["result"].error for row in harness.all("intent")[:3]} == {"resource is locked"}
    assert verify(harness.book).fault is None


@pytest.mark.parametrize(
    "error",
    [Unreachable("reset"), ServerFault("502")],
    ids=["no answer came", "the answer was a 502"],
)
def test_a_stop_that_may_have_been_done_is_left_to_observation(error: Exception) -> None:
    """A stop that was done but answered with an error is not called again, and is confirmed."""
    harness = over_limit()

    def fail_after_doing(server_id: str) -> None:
        harness.cloud.turn_off(server_id)
        raise error

    harness.cloud.on_stop = fail_after_doing
    harness.run(NOTICE_S)
    (intent,) = harness.all("intent")
    assert (intent["state"], intent["result"].code) == ("sent", IntentCode.UNSURE)
    harness.run(30)
    assert states(harness) == ["confirmed"] and harness.cloud.stops == ["s1"]


def test_a_stop_that_is_done_only_later_is_left_to_observation_too() -> None:
    """After an error, a server that is on for one more cycle and then off had one call."""
    harness = over_limit()
    harness.cloud.on_stop = lambda _: (_ for _ in ()).throw(ServerFault("502"))
    harness.run(NOTICE_S)
    harness.run(30)
    assert states(harness) == ["sent"] and harness.cloud.servers["s1"].state == "running"
    harness.cloud.turn_off("s1")
    harness.run(30)
    assert states(harness) == ["confirmed"] and harness.cloud.stops == ["s1"]


def test_a_stop_that_a_revoked_key_prevented_is_known_not_done() -> None:
    """A 401 on the call itself fails the intent at once; it does not count as sent."""
    harness = over_limit()

    def revoked(_: str) -> None:
        raise KeyRefused("401")

    harness.cloud.on_stop = revoked
    harness.run(NOTICE_S)
    assert states(harness) == ["failed"]


def test_an_unsure_stop_that_was_not_done_is_sent_again() -> None:
    """If the server still runs a stop latency later, the intent has failed and another follows."""
    harness = over_limit()

    def fail(_: str) -> None:
        if len(harness.cloud.stops) == 1:
            raise Unreachable("timed out")

    harness.cloud.on_stop = fail
    harness.run_until(T0 + NOTICE_S + 300)
    assert states(harness) == ["sent"], "no second call within the stop latency"
    harness.run_until(T0 + NOTICE_S + 600)
    assert states(harness) == ["failed", "confirmed"] and len(harness.cloud.stops) == 2


def test_a_throttled_stop_stays_pending_and_is_sent_in_the_next_cycle() -> None:
    """A 429 means that nothing was done: the same intent is tried again."""
    harness = over_limit()

    def throttle(_: str) -> None:
        if len(harness.cloud.stops) == 1:
            raise Throttled("429")

    harness.cloud.on_stop = throttle
    assert harness.run(NOTICE_S).sent == 0
    assert states(harness) == ["pending"]
    harness.run(30)
    harness.run(30)
    assert states(harness) == ["confirmed"] and len(harness.cloud.stops) == 2


def test_a_stop_that_waits_is_not_sent_to_a_zone_that_answers_partly() -> None:
    """Promise 3: an older intent waits until its zone is Complete again."""
    harness = over_limit()
    harness.cloud.on_stop = lambda _: (_ for _ in ()).throw(Throttled("429"))
    harness.run(NOTICE_S)
    harness.cloud.on_stop = lambda _: None
    tried, whole = len(harness.cloud.stops), harness.cloud.sweep
    harness.cloud.sweep = lambda zone, at_s: Partial(zone, at_s, (), Cause.INCONSISTENT, "page 2")
    assert harness.run(30).sent == 0
    assert (states(harness), len(harness.cloud.stops)) == (["pending"], tried)
    harness.cloud.sweep = whole
    assert harness.run(30).sent == 1


def test_an_intent_throttled_past_its_hour_expires_and_is_decided_anew() -> None:
    """After not_after nothing is sent, because the situation may have changed."""
    harness = over_limit()
    harness.cloud.on_stop = lambda _: (_ for _ in ()).throw(Throttled("429"))
    harness.run_until(T0 + NOTICE_S + 360)
    assert states(harness)[0] == "expired"
    harness.cloud.on_stop = lambda _: None
    harness.run_until(T0 + NOTICE_S + 600)
    assert states(harness) == ["expired", "confirmed"]


def test_nothing_is_called_with_too_little_lease_left() -> None:
    """A cycle that ran so long that a call might outlive the lease sends nothing."""
    harness = over_limit()
    publish = harness.cycle.catalogues.read

    def slow(*args: Any) -> Any:
        harness.clock.move_to(harness.clock.now_s() + Timing().lease_s - CALL_BUDGET_S + 1)
        return publish(*args)

    harness.cycle.catalogues.read = slow  # type: ignore[method-assign]  # stands for a slow read
    assert harness.run(NOTICE_S).sent == 0
    assert states(harness) == ["pending"] and not harness.cloud.stops
    harness.cycle.catalogues.read = publish  # type: ignore[method-assign]  # fast again
    assert harness.run(1).sent == 1


def test_a_step_back_inside_a_cycle_makes_the_lease_no_longer() -> None:
    """By wall time the lease lasts a month, but monotonic time leaves no room: no call is made."""
    harness = over_limit()
    read = harness.cycle.catalogues.read

    def slow(*args: Any) -> Any:
        harness.clock.move_to(harness.clock.now_s() + Timing().lease_s - CALL_BUDGET_S + 1)
        harness.clock.step(-30 * DAY_S)
        return read(*args)

    harness.cycle.catalogues.read = slow  # type: ignore[method-assign]  # stands for a slow read
    assert harness.run(NOTICE_S).sent == 0
    assert states(harness) == ["pending"] and not harness.cloud.stops


def test_a_server_that_stopped_by_itself_is_not_called() -> None:
    """If the reason ends, both the notice and the stop are cancelled."""
    harness = over_limit()
    harness.cloud.turn_off("s1")
    harness.run(NOTICE_S)
    assert not harness.cloud.stops
    assert notices(harness) == ["cancelled"]


def test_a_cause_that_ends_abandons_the_intent() -> None:
    """A raised limit takes back a stop that could not be sent yet."""
    harness = over_limit()
    harness.cloud.on_stop = lambda _: (_ for _ in ()).throw(Throttled("429"))
    harness.run(NOTICE_S)
    apply_program(harness.book, program(limit=8), harness.clock.now_s(), "tests")
    harness.run(30)
    assert states(harness) == ["abandoned"] and len(harness.cloud.stops) == 1


def test_a_server_started_again_gets_a_notice_of_its_own() -> None:
    """A server that is stopped and started again gets a full notice, then a second stop."""
    harness = over_limit()
    harness.run(NOTICE_S)
    harness.run_until(T0 + 300)
    harness.cloud.add(replace(harness.cloud.servers["s1"], state="running", modified_s=T0 + 300))
    harness.run_until(T0 + 300 + NOTICE_S)
    assert len(harness.cloud.stops) == 1
    harness.run_until(T0 + 300 + 2 * NOTICE_S + 60)
    assert len(harness.cloud.stops) == 2
    assert states(harness) == ["confirmed", "confirmed"]


def test_a_stop_that_is_under_way_is_taken_back_when_it_is_done() -> None:
    """If a sent stop is no longer needed but happens, its notice is executed, not cancelled."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    slow = harness.cloud.turn_off
    harness.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # a read that is stale
    harness.run_until(T0 + 90)
    assert harness.all("intent")[0]["state"] == "sent"
    override(harness, "level", "acme", "open")
    harness.run(15)
    assert last_notice(harness)["state"] == "executing"
    slow("s1")
    harness.run(15)
    assert (
        last_notice(harness)["state"] == "executed"
        and harness.all("intent")[0]["state"] == "confirmed"
    )


class RecordedChanges:
    """An access changer that only notes what it was asked to carry out."""

    def __init__(self) -> None:
        self.carried_out: list[str] = []

    def carry_out(self, intent: Intent) -> Intent | None:
        """Note the action; it is done at once."""
        self.carried_out.append(intent.action)
        return replace(intent, sent_s=intent.decided_s).ended(
            IntentState.CONFIRMED, IntentCode.POLICIES, intent.decided_s
        )


CLOSING = {"notice_id": None, "server_id": "", "zone": "", "startup": "acme", "replaces": ""}
KINDS_OF_INTENT: dict[str, dict[str, Any]] = {
    "poweroff": {"action": "poweroff", "zone": ZONE, "notice_id": None},
    "poweron": {"action": "poweron", "zone": ZONE, "notice_id": None},
    "close": {"action": "close", **CLOSING},
    "reopen": {"action": "reopen", **CLOSING},
}


def with_pending_intent(kind: str) -> tuple[Harness, Intent]:
    """A world in which nothing is due but one intent of a kind, decided now for five minutes."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    intent = an_intent(decided_s=T0, not_after_s=T0 + 300, **KINDS_OF_INTENT[kind])
    with harness.book.writing() as connection:
        connection.execute(INTENT.insert(), asdict(intent))
    return harness, intent


@pytest.mark.parametrize("kind", KINDS_OF_INTENT)
@pytest.mark.parametrize(("late_s", "sent"), [(0, 1), (1, 0)])
def test_nothing_is_sent_past_its_last_instant(kind: str, late_s: int, sent: int) -> None:
    """`decide` ends such an intent, but a slow cycle may reach it first: it stays pending."""
    harness, intent = with_pending_intent(kind)
    harness.clock.move_to(intent.not_after_s + late_s)
    lease, changes = harness.cycle.leadership.lease(harness.clock.now_s()), RecordedChanges()
    assert lease is not None
    assert act(harness.cloud, harness.book, lease, harness.clock, [intent], changes) == sent
    calls = [*harness.cloud.stops, *harness.cloud.starts, *changes.carried_out]
    assert len(calls) == sent
    assert (states(harness) == ["pending"]) == (not sent)


@pytest.mark.parametrize("kind", KINDS_OF_INTENT)
@pytest.mark.parametrize("suspended", [None, "maintenance", "shadow", "off"])
def test_no_intent_of_any_kind_is_sent_while_acting_is_suspended(
    kind: str, suspended: str | None
) -> None:
    """An intent that waits when maintenance begins waits on, whether it is of IAM or a server."""
    harness, intent = with_pending_intent(kind)
    if suspended == "maintenance":
        override(harness, "maintenance", EVERYONE)
    elif suspended is not None:
        apply_program(harness.book, program(mode=Mode(suspended)), T0, "tests")
    state = in_force(load_state(harness.book), T0)
    overrides = Overrides(state.enforcement.overrides, T0)
    sweeps = {ZONE: Complete(ZONE, T0, ())}
    found = sendable_intents(harness.book, state, overrides, sweeps)
    assert found == (() if suspended else (intent,))

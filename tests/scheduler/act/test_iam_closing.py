"""A closed startup gets Scaleway's own 403, over HTTP, and everything back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from scaleway.instance.v1.types import ServerAction  # type: ignore[import-untyped]

from quotas.book.verify.verify import verify
from quotas.decisions.notices import SEND_WITHIN_S
from quotas.decisions.overrides import EVERYONE
from quotas.iam.closing import LOOK_AGAIN_S
from quotas.model.units import HOUR_S
from scheduler.views.status import status_of
from simulator.process import Running, running
from tests.simulator.client import Client
from tests.simulator.test_errors import same

from ..harness import END, Rig, server, word
from ..iam_harness import FULL, GRANULAR, Office, intents

STOPPING = ("InstancesServerDelete", "InstancesServerStop", "InstancesServerWrite")


@pytest.fixture(scope="module")
def region() -> Iterator[Running]:
    """A region of its own: closing changes its policies."""
    with running("--clock", "controller", "--seed", "11", "--no-workload") as region:
        yield region


@pytest.fixture
def office(region: Running) -> Iterator[Office]:
    """An office with a key that may close; the region's servers and faults go afterwards."""
    made = Office(region)
    yield made
    made.client.clear()


def test_the_403_appears_to_a_closed_startup_and_goes_away(office: Office) -> None:
    """Through the SDK with the startup's own announced key: start refused, stop not; then back."""
    own, rig = office.region.projects[0].secret_key, office.rig()
    server_id = office.client.created()
    rig.run()
    assert office.start(own, server_id) == 202 and not intents(rig)
    office.client.pass_time(120)
    office.closed(rig)
    assert intents(rig) == [("close", "confirmed")]
    assert office.act(own, server_id, ServerAction.POWEROFF) == 202
    office.client.pass_time(600)
    path = f"/instance/v1/zones/fr-par-2/servers/{server_id}/action"
    refused = office.client.ask("POST", path, {"action": "poweron"}, own)
    same(refused, "403/instance_GET_perm*")
    assert office.start(own, server_id) == 403
    office.reopened(rig)
    assert intents(rig)[1:] == [("reopen", "confirmed")]
    assert office.start(own, server_id) == 202
    verbs = [(row["verb"], row["rule"]) for row in rig.all("decision") if row["rule"] == "closing"]
    assert verbs == [("close", "closing"), ("reopen", "closing")]


def test_a_closed_startup_may_not_create_either(office: Office) -> None:
    """POST servers answers the recorded 403 while closed."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.closed(rig)
    body = {"name": "x", "commercial_type": "DEV1-S", "project": office.project}
    path = "/instance/v1/zones/fr-par-2/servers"
    same(office.client.ask("POST", path, body, made["secret_key"]), "403/instance_GET_perm*")
    office.reopened(rig)
    assert office.client.ask("POST", path, body, made["secret_key"]).status_code == 201


def test_a_broad_set_is_replaced_by_its_parts_and_comes_back(office: Office) -> None:
    """InstancesFullAccess becomes reading, writing, stopping, deleting; then itself again."""
    made, rig = office.startup(*FULL), office.rig()
    office.closed(rig)
    assert office.rules(made["policy_id"]) == [sorted(("InstancesReadOnly", *STOPPING))]
    office.reopened(rig)
    assert office.rules(made["policy_id"]) == [list(FULL)]


def test_rules_that_a_person_added_in_between_survive(office: Office) -> None:
    """One rule added and one edited while closed: both stay, and what was taken is back."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.closed(rig)
    assert office.rules(made["policy_id"]) == [["InstancesReadOnly"]]
    edited = office.rule("InstancesReadOnly", "InstancesServerStop")
    office.edit(made["policy_id"], edited, office.rule("ObjectStorageFullAccess"))
    office.reopened(rig)
    assert office.rules(made["policy_id"]) == [
        ["InstancesReadOnly", "InstancesServerStop"],
        ["ObjectStorageFullAccess"],
        ["InstancesServerCreate", "InstancesServerStart"],
    ]


def test_start_given_by_hand_while_closed_is_taken_again_and_both_come_back(
    office: Office,
) -> None:
    """The rules are read again each hour; no record overwrites the first."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.closed(rig)
    kept = office.rule("InstancesReadOnly")
    office.edit(made["policy_id"], kept, office.rule("InstancesServerStart"))
    rig.run(LOOK_AGAIN_S - 60)
    assert len(office.rules(made["policy_id"])) == 2, "not yet"
    rig.run(60)
    assert office.rules(made["policy_id"]) == [["InstancesReadOnly"]]
    office.reopened(rig)
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]


def test_a_policy_deleted_or_restored_by_hand_does_not_hold_up_the_rest(office: Office) -> None:
    """Given back by a person already: nothing is doubled, and the record ends."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.closed(rig)
    office.edit(made["policy_id"], office.rule(*GRANULAR))
    office.reopened(rig)
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]
    assert {row["state"] for row in rig.all("withheld")} == {"ended"}


def test_nobody_elses_policy_is_touched(office: Office) -> None:
    """A policy that also starts servers elsewhere is the operator's: it stays as it is."""
    projects = [project.id for project in office.region.projects[:2]]
    both = {"permission_set_names": list(GRANULAR), "project_ids": projects}
    ops = office.client.control("POST", "principals", kind="application", name="ops", rules=[both])
    office.closed(rig := office.rig())
    assert office.rules(ops["policy_id"]) == [sorted(GRANULAR)]
    assert intents(rig) == [("close", "confirmed")]


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_only_enforce_closes(office: Office, mode: str) -> None:
    """In shadow and off nothing is asked of IAM."""
    made = office.startup(*GRANULAR)
    office.closed(rig := office.rig(mode=mode))  # type: ignore[arg-type]  # a Mode
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)] and not intents(rig)


def test_without_the_second_key_nothing_is_decided(office: Office) -> None:
    """As before there was IAM: the level is closed, no intent waits for a key."""
    rig = office.rig()
    rig.cycle.permissions = None
    office.closed(rig)
    assert not intents(rig) and rig.views[-1].startups[0].level == "stopped"


def test_a_transient_state_is_tried_in_the_next_cycle(office: Office) -> None:
    """409 twice: the same intent waits, the rules stay whole, then it is confirmed."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.client.control("POST", "faults", kind="transient_state", count=2)
    office.closed(rig)
    assert intents(rig) == [("close", "pending")]
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]
    rig.run(30)
    assert intents(rig) == [("close", "pending")]
    rig.run(30)
    assert intents(rig) == [("close", "confirmed")]
    assert office.rules(made["policy_id"]) == [["InstancesReadOnly"]]
    office.reopened(rig)
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]


def puts(rig: Rig) -> list[int]:
    """Counts calls of set_rules from now on: the instants at which they were made."""
    of, called = rig.cycle.permissions, []
    assert of is not None
    set_rules = of.set_rules

    def counted(*args: object) -> None:
        called.append(rig.clock.now_s())
        set_rules(*args)  # type: ignore[arg-type]  # passed on as they came

    of.set_rules = counted  # type: ignore[method-assign]  # a wrapped call
    return called


def test_a_conflict_that_never_ends_is_visible_and_no_storm(office: Office) -> None:
    """409 for ever: once a cycle at most, each intent expires, an alarm and the failures show."""
    office.startup(*GRANULAR)
    rig = office.rig()
    office.client.control("POST", "faults", kind="transient_state")
    called = puts(rig)
    office.closed(rig)
    rig.run_until(END + 2 * SEND_WITHIN_S)
    assert {state for _, state in intents(rig)} == {"expired", "pending"}
    assert len(called) == len(set(called)) <= 2 * SEND_WITHIN_S // 30
    rig.run_until(END + 8 * SEND_WITHIN_S)
    view = rig.views[-1]
    assert view.closings[0].failures >= 2
    assert any("acme is still closing after" in alarm for alarm in view.alarms)
    live = [state for _, state in intents(rig) if state in ("pending", "sent")]
    assert len(live) <= 1
    office.client.control("DELETE", "faults")
    rig.run_until(END + 8 * SEND_WITHIN_S + 1200)
    assert intents(rig)[-1] == ("close", "confirmed") and not rig.views[-1].closings[0].failures
    assert verify(rig.book).fault is None


def test_a_key_that_may_not_set_rules_fails_in_sight(region: Running) -> None:
    """403 on set_rules: failed with the cloud's words, tried again ever more seldom."""
    office = Office(region, "IAMPolicyReadOnly")
    made, rig = office.startup(*GRANULAR), office.rig()
    called = puts(rig)
    office.closed(rig)
    assert intents(rig) == [("close", "failed")]
    rig.run_until(END + 3600)
    pauses = [later - at for at, later in pairwise(called)]
    assert pauses[:4] == [60, 120, 240, 480] and len(called) <= 8
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]
    shown = status_of(rig.book, rig.clock.now_s())["closings"]
    assert shown[0]["failures"] == len(called)
    assert "403" in shown[0]["detail"] and shown[0]["state"] == "closing"
    assert any("insufficient permissions" in alarm for alarm in rig.views[-1].alarms)
    assert rig.views[-1].price_alarms == 0, "it is no alarm about a price"
    Client(region).clear()


def test_an_iam_that_is_down_holds_up_no_stop(office: Office) -> None:
    """502 from every path of IAM: the closing waits, the server's stop is sent all the same."""
    made, rig = office.startup(*GRANULAR), office.rig()
    rig.cloud.add(server(project_id=office.project))
    rig.run()
    office.client.control("POST", "faults", kind="bad_gateway")
    office.closed(rig)
    rig.run_until(END + 300)
    assert rig.cloud.stops == ["s1"]
    assert ("close", "pending") in intents(rig) or ("close", "expired") in intents(rig)
    assert office.client.control("DELETE", "faults") == {"faults": []}
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]
    rig.run_until(END + 1800)
    assert intents(rig)[-1] == ("close", "confirmed")
    assert office.rules(made["policy_id"]) == [["InstancesReadOnly"]]


def test_in_maintenance_nobody_is_closed_or_reopened_and_after_it_both_are_at_once(
    office: Office,
) -> None:
    """Nothing is decided that may not be sent: no failed try, and so no pause after it."""
    made, rig = office.startup(*GRANULAR), office.rig()
    rig.run(END - rig.clock.now_s() - HOUR_S)
    for wanted, change in (("close", office.closed), ("reopen", office.prolong)):
        before = intents(rig)
        word(rig, "maintenance", EVERYONE, for_s=3 * HOUR_S)
        change(rig)
        rig.run_until(rig.clock.now_s() + HOUR_S - 30)
        assert intents(rig) == before and not any(v.failures for v in rig.views[-1].closings)
        word(rig, "maintenance", EVERYONE, "off")
        rig.run(30)
        assert intents(rig) == [*before, (wanted, "confirmed")]
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]


def test_a_project_that_passed_on_takes_its_rules_along(office: Office) -> None:
    """Its new owner is told so, once, and the former one stays closed."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.closed(rig)
    office.pass_on(rig)
    rig.run(30)
    rig.run(30)
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]
    told = [row for row in rig.all("notice") if row["rule"] == "closing"]
    assert [row["startup"] for row in told] == ["acme", "birch"]
    assert "in what passed to it" in str(told[1]["text"])
    assert {row["state"] for row in rig.all("withheld")} == {"ended"}


def test_a_newer_intent_abandons_the_older(office: Office) -> None:
    """Prolonged while the close still waits: it is abandoned, and nothing was taken."""
    made, rig = office.startup(*GRANULAR), office.rig()
    office.client.control("POST", "faults", kind="transient_state", count=1)
    office.closed(rig)
    office.reopened(rig)
    assert intents(rig) == [("close", "abandoned"), ("reopen", "confirmed")]
    assert office.rules(made["policy_id"]) == [sorted(GRANULAR)]


def test_rules_stay_withheld_in_shadow_and_an_alarm_says_so(office: Office) -> None:
    """Out of enforce mode nothing is touched, not even to give back: release-all does."""
    office.startup(*GRANULAR)
    rig = office.rig()
    office.closed(rig)
    rig.cycle.permissions, kept = None, rig.cycle.permissions
    rig.run(30)
    assert any("release-all" in alarm for alarm in rig.views[-1].alarms)
    rig.cycle.permissions = kept
    rig.run(30)
    assert not any("release-all" in alarm for alarm in rig.views[-1].alarms)

"""A closed startup gets Scaleway's own 403 over HTTP, and all permissions back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from scaleway.instance.v1.types import ServerAction  # type: ignore[import-untyped]

from quotas.book.verify.verify import verify
from quotas.iam.closing import RECHECK_AFTER_S
from quotas.model.units import HOUR_S
from quotas.state.notices import SEND_WITHIN_S
from quotas.state.overrides import EVERYONE
from scheduler.views.status import status_of
from simulator.process import Running, running
from tests.scheduler.harness import row_text
from tests.simulator.client import Client
from tests.simulator.test_errors import same

from ..harness import END, Harness, override, server
from ..iam_harness import FULL, GRANULAR, IamEnv, intents

STOPPING = ("InstancesServerDelete", "InstancesServerStop", "InstancesServerWrite")


@pytest.fixture(scope="module")
def region() -> Iterator[Running]:
    """A region of its own, because closing changes its policies."""
    with running("--clock", "controller", "--seed", "11", "--no-workload") as region:
        yield region


@pytest.fixture
def iam_env(region: Running) -> Iterator[IamEnv]:
    """An organization with a key that may close; its servers and faults go after each test."""
    made = IamEnv(region)
    yield made
    made.client.clear()


def test_the_403_appears_to_a_closed_startup_and_goes_away(iam_env: IamEnv) -> None:
    """With the startup's own key the SDK may not start but may stop; later it may do both."""
    own, harness = iam_env.region.projects[0].secret_key, iam_env.harness()
    server_id = iam_env.client.created()
    harness.run()
    assert iam_env.start(own, server_id) == 202 and not intents(harness)
    iam_env.client.pass_time(120)
    iam_env.closed(harness)
    assert intents(harness) == [("close", "confirmed")]
    assert iam_env.act(own, server_id, ServerAction.POWEROFF) == 202
    iam_env.client.pass_time(600)
    path = f"/instance/v1/zones/fr-par-2/servers/{server_id}/action"
    refused = iam_env.client.ask("POST", path, {"action": "poweron"}, own)
    same(refused, "403/instance_GET_perm*")
    assert iam_env.start(own, server_id) == 403
    iam_env.reopened(harness)
    assert intents(harness)[1:] == [("reopen", "confirmed")]
    assert iam_env.start(own, server_id) == 202
    verbs = [
        (row["verb"], row["rule"]) for row in harness.all("decision") if row["rule"] == "closing"
    ]
    assert verbs == [("close", "closing"), ("reopen", "closing")]


def test_a_closed_startup_may_not_create_either(iam_env: IamEnv) -> None:
    """POST servers answers the recorded 403 while closed."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.closed(harness)
    body = {"name": "x", "commercial_type": "DEV1-S", "project": iam_env.project}
    path = "/instance/v1/zones/fr-par-2/servers"
    same(iam_env.client.ask("POST", path, body, made["secret_key"]), "403/instance_GET_perm*")
    iam_env.reopened(harness)
    assert iam_env.client.ask("POST", path, body, made["secret_key"]).status_code == 201


def test_a_broad_set_is_replaced_by_its_parts_and_comes_back(iam_env: IamEnv) -> None:
    """InstancesFullAccess becomes reading, writing, stopping, deleting; then itself again."""
    made, harness = iam_env.startup(*FULL), iam_env.harness()
    iam_env.closed(harness)
    assert iam_env.rules(made["policy_id"]) == [sorted(("InstancesReadOnly", *STOPPING))]
    iam_env.reopened(harness)
    assert iam_env.rules(made["policy_id"]) == [list(FULL)]


def test_rules_that_a_person_added_in_between_survive(iam_env: IamEnv) -> None:
    """A rule added and a rule edited while closed both stay, and the revoked rules come back."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.closed(harness)
    assert iam_env.rules(made["policy_id"]) == [["InstancesReadOnly"]]
    edited = iam_env.rule("InstancesReadOnly", "InstancesServerStop")
    iam_env.edit(made["policy_id"], edited, iam_env.rule("ObjectStorageFullAccess"))
    iam_env.reopened(harness)
    assert iam_env.rules(made["policy_id"]) == [
        ["InstancesReadOnly", "InstancesServerStop"],
        ["ObjectStorageFullAccess"],
        ["InstancesServerCreate", "InstancesServerStart"],
    ]


def test_start_given_by_hand_while_closed_is_taken_again_and_both_come_back(
    iam_env: IamEnv,
) -> None:
    """cohortd reads the rules again each hour, and no record overwrites the first."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.closed(harness)
    kept = iam_env.rule("InstancesReadOnly")
    iam_env.edit(made["policy_id"], kept, iam_env.rule("InstancesServerStart"))
    harness.run(RECHECK_AFTER_S - 60)
    assert len(iam_env.rules(made["policy_id"])) == 2, "not yet"
    harness.run(60)
    assert iam_env.rules(made["policy_id"]) == [["InstancesReadOnly"]]
    iam_env.reopened(harness)
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]


def test_a_policy_deleted_or_restored_by_hand_does_not_hold_up_the_rest(iam_env: IamEnv) -> None:
    """If a person gave the rules back first, nothing is doubled, and the record ends."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.closed(harness)
    iam_env.edit(made["policy_id"], iam_env.rule(*GRANULAR))
    iam_env.reopened(harness)
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]
    assert {row["state"] for row in harness.all("revoked_rules")} == {"ended"}


def test_nobody_elses_policy_is_touched(iam_env: IamEnv) -> None:
    """A policy that also starts servers of others belongs to the operator and stays unchanged."""
    projects = [project.id for project in iam_env.region.projects[:2]]
    both = {"permission_set_names": list(GRANULAR), "project_ids": projects}
    ops = iam_env.client.control("POST", "principals", kind="application", name="ops", rules=[both])
    iam_env.closed(harness := iam_env.harness())
    assert iam_env.rules(ops["policy_id"]) == [sorted(GRANULAR)]
    assert intents(harness) == [("close", "confirmed")]


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_only_enforce_closes(iam_env: IamEnv, mode: str) -> None:
    """In shadow mode and mode off, cohortd makes no call to IAM."""
    made = iam_env.startup(*GRANULAR)
    iam_env.closed(harness := iam_env.harness(mode=mode))  # type: ignore[arg-type]  # a Mode
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)] and not intents(harness)


def test_without_the_second_key_nothing_is_decided(iam_env: IamEnv) -> None:
    """Without a key for IAM the level is closed, and no intent waits for a key."""
    harness = iam_env.harness()
    harness.cycle.permissions = None
    iam_env.closed(harness)
    assert not intents(harness) and harness.views[-1].status.startups[0].level == "stopped"


def test_a_transient_state_is_tried_in_the_next_cycle(iam_env: IamEnv) -> None:
    """After 409 twice the same intent waits, the rules stay whole, then it is confirmed."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.client.control("POST", "faults", kind="transient_state", count=2)
    iam_env.closed(harness)
    assert intents(harness) == [("close", "pending")]
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]
    harness.run(30)
    assert intents(harness) == [("close", "pending")]
    harness.run(30)
    assert intents(harness) == [("close", "confirmed")]
    assert iam_env.rules(made["policy_id"]) == [["InstancesReadOnly"]]
    iam_env.reopened(harness)
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]


def puts(harness: Harness) -> list[int]:
    """Record the instants of all calls of set_rules from now on."""
    of, called = harness.cycle.permissions, []
    assert of is not None
    set_rules = of.set_rules

    def counted(*args: object) -> None:
        called.append(harness.clock.now_s())
        set_rules(*args)  # type: ignore[arg-type]  # passed on as they came

    of.set_rules = counted  # type: ignore[method-assign]  # a wrapped call
    return called


def test_a_conflict_that_never_ends_is_visible_and_no_storm(iam_env: IamEnv) -> None:
    """After 409 for ever there is at most one call a cycle; intents expire and an alarm shows."""
    iam_env.startup(*GRANULAR)
    harness = iam_env.harness()
    iam_env.client.control("POST", "faults", kind="transient_state")
    called = puts(harness)
    iam_env.closed(harness)
    harness.run_until(END + 2 * SEND_WITHIN_S)
    assert {state for _, state in intents(harness)} == {"expired", "pending"}
    assert len(called) == len(set(called)) <= 2 * SEND_WITHIN_S // 30
    harness.run_until(END + 8 * SEND_WITHIN_S)
    view = harness.views[-1]
    assert view.status.closings[0].failures >= 2
    assert any("acme is still closing after" in alarm for alarm in view.alarms)
    live = [state for _, state in intents(harness) if state in ("pending", "sent")]
    assert len(live) <= 1
    iam_env.client.control("DELETE", "faults")
    harness.run_until(END + 8 * SEND_WITHIN_S + 1200)
    assert (
        intents(harness)[-1] == ("close", "confirmed")
        and not harness.views[-1].status.closings[0].failures
    )
    assert verify(harness.book).fault is None


def test_a_key_that_may_not_set_rules_fails_in_sight(region: Running) -> None:
    """A 403 on set_rules fails with the cloud's text, and the pauses between tries grow."""
    iam_env = IamEnv(region, "IAMPolicyReadOnly")
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    called = puts(harness)
    iam_env.closed(harness)
    assert intents(harness) == [("close", "failed")]
    harness.run_until(END + 3600)
    pauses = [later - at for at, later in pairwise(called)]
    assert pauses[:4] == [60, 120, 240, 480] and len(called) <= 8
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]
    shown = status_of(harness.book, harness.clock.now_s())["closings"]
    assert shown[0]["failures"] == len(called)
    assert "403" in shown[0]["detail"] and shown[0]["state"] == "closing"
    assert any("insufficient permissions" in alarm for alarm in harness.views[-1].alarms)
    assert harness.views[-1].price_alarms == 0, "it is no alarm about a price"
    Client(region).clear()


def test_an_iam_that_is_down_holds_up_no_stop(iam_env: IamEnv) -> None:
    """502 from every path of IAM delays the closing, but not the server's stop."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    harness.cloud.add(server(project_id=iam_env.project))
    harness.run()
    iam_env.client.control("POST", "faults", kind="bad_gateway")
    iam_env.closed(harness)
    harness.run_until(END + 300)
    assert harness.cloud.stops == ["s1"]
    assert ("close", "pending") in intents(harness) or ("close", "expired") in intents(harness)
    assert iam_env.client.control("DELETE", "faults") == {"faults": []}
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]
    harness.run_until(END + 1800)
    assert intents(harness)[-1] == ("close", "confirmed")
    assert iam_env.rules(made["policy_id"]) == [["InstancesReadOnly"]]


def test_in_maintenance_nobody_is_closed_or_reopened_and_after_it_both_are_at_once(
    iam_env: IamEnv,
) -> None:
    """Maintenance decides no IAM call, so no failed try and no pause follow it."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    harness.run(END - harness.clock.now_s() - HOUR_S)
    for wanted, change in (("close", iam_env.closed), ("reopen", iam_env.prolong)):
        before = intents(harness)
        override(harness, "maintenance", EVERYONE, for_s=3 * HOUR_S)
        change(harness)
        harness.run_until(harness.clock.now_s() + HOUR_S - 30)
        assert intents(harness) == before and not any(
            v.failures for v in harness.views[-1].status.closings
        )
        override(harness, "maintenance", EVERYONE, "off")
        harness.run(30)
        assert intents(harness) == [*before, (wanted, "confirmed")]
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]


def test_a_project_that_passed_on_takes_its_rules_along(iam_env: IamEnv) -> None:
    """The new owner is told once that it is closed, and the former owner stays closed."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.closed(harness)
    iam_env.pass_on(harness)
    harness.run(30)
    harness.run(30)
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]
    told = [row for row in harness.all("notice") if row["rule"] == "closing"]
    assert [row["startup"] for row in told] == ["acme", "birch"]
    assert "in what passed to it" in row_text(told[1])
    assert {row["state"] for row in harness.all("revoked_rules")} == {"ended"}


def test_a_newer_intent_abandons_the_older(iam_env: IamEnv) -> None:
    """If the cohort is prolonged while the closing waits, the intent is abandoned."""
    made, harness = iam_env.startup(*GRANULAR), iam_env.harness()
    iam_env.client.control("POST", "faults", kind="transient_state", count=1)
    iam_env.closed(harness)
    iam_env.reopened(harness)
    assert intents(harness) == [("close", "abandoned"), ("reopen", "confirmed")]
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]


def test_rules_stay_withheld_in_shadow_and_an_alarm_says_so(iam_env: IamEnv) -> None:
    """Outside enforce mode cohortd changes no rule, not even to give it back: release-all does."""
    iam_env.startup(*GRANULAR)
    harness = iam_env.harness()
    iam_env.closed(harness)
    harness.cycle.permissions, kept = None, harness.cycle.permissions
    harness.run(30)
    assert any("release-all" in alarm for alarm in harness.views[-1].alarms)
    harness.cycle.permissions = kept
    harness.run(30)
    assert not any("release-all" in alarm for alarm in harness.views[-1].alarms)

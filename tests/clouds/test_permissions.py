"""IAM rules are read exactly or refused, so that cohortd writes back only what it understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from quotas.iam.policies import Rule
from scheduler.clouds.base import CloudError, Conflict, Forbidden, Malformed, NotFound, ServerFault
from scheduler.clouds.pages import Inconsistent
from scheduler.clouds.permissions import LIMITS, ScalewayPermissions
from scheduler.clouds.scaleway import client_of
from scheduler.clouds.transport import Transport

from .recordings import paths, read
from .scripted_http import (
    ACCESS_KEY,
    ORGANIZATION,
    PROJECT,
    SECRET_KEY,
    Clock,
    Reply,
    ReplyFunction,
    ScriptedAdapter,
    query,
)

POLICY = "33333333-3333-4333-8333-333333333333"
OTHER_POLICY = "44444444-4444-4444-8444-444444444444"
HOLDER = "55555555-5555-4555-8555-555555555555"
START = Rule(("InstancesServerStart",), (PROJECT,))


def iam(reply_function: ReplyFunction, organization: str = ORGANIZATION) -> ScalewayPermissions:
    """IAM over a script."""
    return wired(reply_function, organization)[0]


def wired(
    reply_function: ReplyFunction, organization: str = ORGANIZATION
) -> tuple[ScalewayPermissions, ScriptedAdapter]:
    """IAM over a script, with the requests that were sent."""
    client = client_of(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        organization_id=organization,
        api_url="https://api.scaleway.test",
    )
    clock, adapter = Clock(), ScriptedAdapter(reply_function)
    transport = Transport(
        limits=LIMITS, monotonic=clock.monotonic, sleep=clock.sleep, adapter=lambda: adapter
    )
    return ScalewayPermissions(client, transport), adapter


def said(body: object, status: int = 200) -> Reply:
    """A reply with this JSON."""
    return Reply(status, json.dumps(body).encode())


def rule_json(number: int = 0, **changes: object) -> dict[str, object]:
    """A rule as the API shows it."""
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "permission_set_names": ["InstancesServerStart"],
        "permission_sets_scope_type": "projects",
        "condition": "",
        "project_ids": [PROJECT],
        **changes,
    }


def policy_json(policy_id: str = POLICY, **changes: object) -> dict[str, object]:
    """A policy as the API shows it."""
    return {
        "id": policy_id,
        "name": "acme",
        "organization_id": ORGANIZATION,
        "editable": True,
        "managed": False,
        "tags": [],
        "application_id": HOLDER,
        **changes,
    }


def listed(name: str, *items: object) -> Reply:
    """A whole listing in one page."""
    return said({name: list(items), "total_count": len(items)})


@pytest.mark.parametrize("path", paths("iam/rules"), ids=lambda path: path.stem)
def test_every_recorded_list_of_rules_is_read_exactly(path: Path) -> None:
    """Sets, scope and condition as recorded; written back, the same list is accepted."""
    recording = read(path)
    body: Any = recording.body
    if recording.method == "GET":
        rules = iam(lambda _: recording.reply()).rules(POLICY)
        assert [list(rule.sets) for rule in rules] == [
            sorted(each["permission_set_names"]) for each in body["rules"]
        ]
        for rule, each in zip(rules, body["rules"], strict=True):
            assert list(rule.project_ids) == each.get("project_ids", [])
            assert rule.organization_id == each.get("organization_id", "")
            assert rule.condition == each["condition"]
    else:
        answered = {**body, "total_count": len(body["rules"])}
        wanted = iam(lambda _: said(answered)).rules(POLICY)
        iam(lambda _: recording.reply()).set_rules(POLICY, wanted)


def test_policies_are_read_with_their_rules_and_holders() -> None:
    """Two policies, one of a group and one without a holder, each have their own rules."""

    def answer(request: requests.PreparedRequest) -> Reply:
        url = str(request.url)
        if "/policies" in url:
            group = policy_json(OTHER_POLICY, application_id=None, group_id=HOLDER, tags=["a"])
            nobody = policy_json(application_id=None, no_principal=True)
            return listed("policies", group, nobody)
        return listed("rules", rule_json()) if POLICY in url else listed("rules")

    nobody, group = iam(answer).policies()
    assert (nobody.holder_kind, nobody.holder_id, nobody.rules) == ("", "", (START,))
    assert (group.holder_kind, group.holder_id, group.tags) == ("group", HOLDER, ("a",))
    assert group.rules == () and group.is_editable


@pytest.mark.parametrize(
    "odd",
    [
        {"account_root_user_id": HOLDER, "project_ids": None},
        {"organization_id": ORGANIZATION},
        {"permission_set_names": []},
    ],
)
def test_a_policy_with_a_rule_that_cannot_be_written_back_is_not_editable(
    odd: dict[str, object],
) -> None:
    """A rule with another kind of scope makes its policy read-only, or a write would lose it."""

    def answer(request: requests.PreparedRequest) -> Reply:
        if "/policies" in str(request.url):
            return listed("policies", policy_json())
        return listed("rules", rule_json(1), rule_json(2, **odd))

    (policy,) = iam(answer).policies()
    assert not policy.is_editable and policy.rules == (START,)


@pytest.mark.parametrize("changes", [{"editable": False}, {"managed": True}])
def test_what_scaleway_manages_is_not_editable(changes: dict[str, object]) -> None:
    """A policy that the console does not let anybody edit."""
    replies = {"policies": listed("policies", policy_json(**changes)), "rules": listed("rules")}
    (policy,) = iam(
        lambda request: replies["policies" if "/policies" in str(request.url) else "rules"]
    ).policies()
    assert not policy.is_editable


def test_set_rules_sends_the_whole_list_once() -> None:
    """One PUT with every rule; a fault is not repeated, since it may have been done."""
    wide = Rule(("IAMReadOnly",), (), ORGANIZATION, "request.ip == '192.0.2.1'")
    shown = rule_json(
        permission_set_names=["IAMReadOnly"],
        project_ids=None,
        organization_id=ORGANIZATION,
        condition=wide.condition,
    )
    of, adapter = wired(lambda _: said({"rules": [rule_json(), shown]}))
    of.set_rules(POLICY, [START, wide])
    (asked,) = adapter.asked
    assert asked.method == "PUT" and str(asked.url).endswith("/iam/v1alpha1/rules")
    sent = json.loads(asked.body or b"{}")
    assert sent["policy_id"] == POLICY
    assert [each["permission_set_names"] for each in sent["rules"]] == [
        ["InstancesServerStart"],
        ["IAMReadOnly"],
    ]
    assert sent["rules"][0]["project_ids"] == [PROJECT]
    assert "organization_id" not in sent["rules"][0] and "project_ids" not in sent["rules"][1]
    assert sent["rules"][1]["condition"] == wide.condition
    of, adapter = wired(lambda _: Reply(502, b"<html>"))
    with pytest.raises(ServerFault):
        of.set_rules(POLICY, [START])
    assert len(adapter.asked) == 1


def test_an_empty_list_of_rules_is_sent_as_one() -> None:
    """A policy that only allowed starting servers is left with no rule."""
    of, adapter = wired(lambda _: said({"rules": []}))
    of.set_rules(POLICY, [])
    assert json.loads(adapter.asked[0].body or b"{}") == {"policy_id": POLICY, "rules": []}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (said({}), Malformed),
        (said({"rules": None, "total_count": 0}), Malformed),
        (said({"rules": [], "total_count": "0"}), Malformed),
        (said({"rules": [], "total_count": 1}), Inconsistent),
        (said({"rules": [rule_json(), rule_json()], "total_count": 2}), Inconsistent),
        (said({"rules": [rule_json(condition=None)], "total_count": 1}), Malformed),
        (said({"rules": [rule_json(permission_set_names="all")], "total_count": 1}), Malformed),
        (said({"rules": [rule_json(project_ids=[1])], "total_count": 1}), Malformed),
        (said({"rules": ["x"], "total_count": 1}), Malformed),
        (Reply(200, b"<html>"), Malformed),
        (said({"type": "permissions_denied", "message": "insufficient"}, 403), Forbidden),
        (said({"type": "transient_state", "message": "updating"}, 409), Conflict),
        (said({"type": "not_found", "message": "gone"}, 404), NotFound),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(reply: Reply, error: type[CloudError]) -> None:
    """Missing, repeated or mistyped content and refusals are typed errors, never an empty list."""
    with pytest.raises(error):
        iam(lambda _: reply).rules(POLICY)


def test_an_answer_with_other_rules_than_were_set_is_an_error() -> None:
    """The list that comes back is compared with the one that was sent."""
    with pytest.raises(Inconsistent):
        iam(lambda _: said({"rules": [rule_json()]})).set_rules(POLICY, [])
    with pytest.raises(Malformed):
        iam(lambda _: said({})).set_rules(POLICY, [])


def test_a_policy_of_another_organization_is_refused() -> None:
    """A key of the wrong organization must not narrow anybody's rules."""
    foreign = policy_json(organization_id=HOLDER)
    with pytest.raises(Inconsistent):
        iam(lambda _: listed("policies", foreign)).policies()


def test_more_policies_than_a_page_are_all_read() -> None:
    """101 policies: two pages and the edge between them once more, each policy once."""
    every = [policy_json(f"00000000-0000-4000-8000-{number:012d}") for number in range(101)]

    def answer(request: requests.PreparedRequest) -> Reply:
        url = str(request.url)
        if "/policies" not in url:
            return listed("rules")
        size, number = query(request, "page_size"), query(request, "page")
        part = every[(number - 1) * size : number * size]
        return said({"policies": part, "total_count": 101})

    assert len(iam(answer).policies()) == 101


def test_what_is_no_uuid_never_enters_a_request() -> None:
    """The SDK does not escape paths and parameters; we refuse first."""
    of, adapter = wired(lambda _: listed("rules"))
    for call in (lambda: of.rules("../x"), lambda: of.set_rules("x&y", [])):
        with pytest.raises(ValueError, match="not a UUID"):
            call()
    assert not adapter.asked


def test_the_key_is_in_no_text() -> None:
    """The key is neither in repr nor in an error that quotes the answer."""
    of = iam(lambda _: said({"message": f"bad {SECRET_KEY}", "type": "x"}, 400))
    with pytest.raises(CloudError) as error:
        of.rules(POLICY)
    assert SECRET_KEY not in repr(of) + str(error.value)

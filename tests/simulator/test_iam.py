"""IAM decides what a key may do: through the official SDK, and against recordings."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from scaleway import ScalewayException  # type: ignore[import-untyped]
from scaleway.iam.v1alpha1 import IamV1Alpha1API  # type: ignore[import-untyped]
from scaleway.iam.v1alpha1.types import RuleSpecs  # type: ignore[import-untyped]
from scaleway.instance.v1 import InstanceV1API  # type: ignore[import-untyped]
from scaleway.instance.v1.types import ServerAction  # type: ignore[import-untyped]

from .client import H100, ZONE, Client
from .recorded import differences, newest
from .test_errors import same
from .test_sdk import sdk

IAM = "/iam/v1alpha1"


@pytest.fixture
def iam(client: Client) -> IamV1Alpha1API:
    """IAM with the owner's key."""
    return IamV1Alpha1API(sdk(client.region))


def principal(client: Client, *sets: str, kind: str = "application", **more: object) -> Any:
    """A principal with a key and a policy of these sets in the first project."""
    rules = [{"permission_set_names": list(sets), "project_ids": [client.project.id]}]
    return client.control("POST", "principals", kind=kind, name="made", rules=rules, **more)


def act(client: Client, key: str, server_id: str, action: str) -> requests.Response:
    """An action with somebody's key."""
    path = f"/instance/v1/zones/{ZONE}/servers/{server_id}/action"
    return client.ask("POST", path, {"action": action}, key)


def create(client: Client, key: str) -> requests.Response:
    """A server in the first project, with somebody's key."""
    body = {"name": "x", "commercial_type": H100, "project": client.project.id}
    return client.ask("POST", f"/instance/v1/zones/{ZONE}/servers", body, key)


def test_each_verb_needs_its_own_permission_set(client: Client) -> None:
    """Start, create and stop are separate permissions; a missing one is the recorded 403."""
    server_id = client.created()
    reads = principal(client, "InstancesReadOnly")["secret_key"]
    for answer in (act(client, reads, server_id, "poweron"), create(client, reads)):
        same(answer, "403/instance_GET_perm*")
    starts = principal(client, "InstancesServerStart")["secret_key"]
    assert act(client, starts, server_id, "poweron").status_code == 202
    client.pass_time(120)
    same(act(client, starts, server_id, "poweroff"), "403/instance_GET_perm*")
    stops = principal(client, "InstancesServerStop")["secret_key"]
    assert act(client, stops, server_id, "poweroff").status_code == 202
    same(create(client, stops), "403/instance_GET_perm*")
    creates = principal(client, "InstancesServerCreate")["secret_key"]
    assert create(client, creates).status_code == 201


def test_a_group_gives_its_members_what_its_policy_allows(client: Client) -> None:
    """A user without a policy starts a server through a group; users outside the group cannot."""
    server_id = client.created()
    member = client.control("POST", "principals", kind="user", name="u@example.com")
    same(act(client, member["secret_key"], server_id, "poweron"), "403/instance_GET_perm*")
    principal(client, "InstancesFullAccess", kind="group", member_ids=[member["id"]])
    assert act(client, member["secret_key"], server_id, "poweron").status_code == 202


def test_a_rule_of_the_organization_reaches_every_project(client: Client) -> None:
    """A rule with organization_id instead of project_ids covers another startup's project."""
    server_id = client.created()
    rule = {
        "permission_set_names": ["InstancesFullAccess"],
        "organization_id": client.region.organization_id,
    }
    made = client.control("POST", "principals", kind="application", name="wide", rules=[rule])
    assert act(client, made["secret_key"], server_id, "poweron").status_code == 202


def test_the_sdk_replaces_the_whole_list_of_rules(client: Client, iam: IamV1Alpha1API) -> None:
    """set_rules through the SDK removes the rules that the new list lacks, and the 403 appears."""
    server_id = client.created()
    made = principal(client, "InstancesReadOnly", "InstancesServerStart")
    narrowed = RuleSpecs(
        condition="",
        permission_set_names=["InstancesReadOnly"],
        project_ids=[client.project.id],
    )
    iam.set_rules(policy_id=made["policy_id"], rules=[narrowed])
    listed = iam.list_rules(policy_id=made["policy_id"]).rules
    assert [rule.permission_set_names for rule in listed] == [["InstancesReadOnly"]]
    assert listed[0].project_ids == [client.project.id] and listed[0].condition == ""
    own = InstanceV1API(sdk(client.region, made["secret_key"]))
    with pytest.raises(ScalewayException) as refused:
        own.server_action(zone=ZONE, server_id=server_id, action=ServerAction.POWERON)
    assert refused.value.status_code == 403
    assert own.get_server(zone=ZONE, server_id=server_id).server is not None


def test_the_sdk_lists_who_is_there(client: Client, iam: IamV1Alpha1API) -> None:
    """Policies, applications, groups, users, keys and permission sets are listed page by page."""
    principal(client, "InstancesReadOnly", kind="group", member_ids=[])
    names = {each.name for each in iam.list_applications_all()}
    assert {project.name for project in client.region.projects} <= names
    policies = iam.list_policies_all(page_size=2)
    assert len({each.id for each in policies}) == len(policies) > 5
    own = next(each for each in policies if each.name == client.project.name)
    assert own.application_id and not own.user_id and own.editable
    assert "made" in {each.name for each in iam.list_groups_all()}
    assert [each.type_ for each in iam.list_users_all()].count("owner") == 1
    keys = iam.list_api_keys_all()
    assert client.region.access_key in {each.access_key for each in keys}
    assert not any(each.secret_key for each in keys)
    sets = {each.name: each.scope_type for each in iam.list_permission_sets_all()}
    assert sets["InstancesServerStart"] == "projects" and sets["IAMManager"] == "organization"


def test_iam_itself_needs_permissions(client: Client) -> None:
    """A startup reads no policy; IAMPolicyManager reads and sets rules, but lists no group."""
    organization = f"?organization_id={client.region.organization_id}"
    policies, groups = IAM + "/policies" + organization, IAM + "/groups" + organization
    same(client.ask("GET", policies, key=client.project.secret_key), "403/iam_GET_permissions*")
    rule = {
        "permission_set_names": ["IAMPolicyManager"],
        "organization_id": client.region.organization_id,
    }
    made = client.control("POST", "principals", kind="application", name="closer", rules=[rule])
    assert client.ask("GET", policies, key=made["secret_key"]).status_code == 200
    refused = client.ask("GET", groups, key=made["secret_key"])
    assert refused.json()["details"] == [{"resource": "group", "action": "read"}]
    body = {"policy_id": made["policy_id"], "rules": [rule]}
    assert client.ask("PUT", IAM + "/rules", body, made["secret_key"]).status_code == 200


def test_a_concurrent_edit_is_a_transient_state(client: Client) -> None:
    """The recorded 409 is answered as often as the fault says, and changes nothing."""
    made = principal(client, "InstancesReadOnly")
    client.control("POST", "faults", kind="transient_state", count=1)
    path, body = IAM + "/rules", {"policy_id": made["policy_id"], "rules": []}
    same(client.ask("PUT", path, body), "409/iam_POST_transient_state_group*")
    listed = client.ask("GET", f"{path}?policy_id={made['policy_id']}").json()["rules"]
    assert [rule["permission_set_names"] for rule in listed] == [["InstancesReadOnly"]]
    assert client.ask("PUT", path, body).json() == {"rules": []}


def test_iam_answers_as_recorded(client: Client) -> None:
    """Rules, policies, applications, keys and users have the recorded keys and types."""
    made = principal(client, "InstancesReadOnly")
    organization = f"?organization_id={client.region.organization_id}&page_size=1"
    cases = {
        f"/rules?policy_id={made['policy_id']}": "rules/GET_200_20260612_*rules-~10.json",
        f"/policies/{made['policy_id']}": "policies/GET_200_20260612_*-id-.json",
        f"/policies{organization}": "policies/GET_200_20260612_*policies-.json",
        f"/applications{organization}": "applications/GET_200_20260521_*applications-.json",
        f"/users{organization}": "users/GET_200_20260526_*users-~2.json",
    }
    for path, pattern in cases.items():
        recorded = newest(f"iam/{pattern}")
        answer = client.ask("GET", IAM + path)
        assert (answer.status_code, differences(answer.json(), recorded.body)) == (200, []), path
    gone = client.ask("GET", IAM + "/policies/11111111-1111-4111-8111-111111111111")
    same(gone, "404/iam_GET_not_found_policy_*")


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(
            {"permission_set_names": ["NoSuchSet"], "project_ids": ["p"]}, id="the set is unknown"
        ),
        pytest.param(
            {"permission_set_names": [], "project_ids": ["p"]}, id="the list of sets is empty"
        ),
        pytest.param({"permission_set_names": ["InstancesReadOnly"]}, id="the scope is missing"),
        pytest.param(
            {"permission_set_names": ["IAMManager"], "project_ids": ["p"]},
            id="the scope does not fit the set",
        ),
        pytest.param(
            {"permission_set_names": ["IAMManager", "InstancesReadOnly"], "project_ids": ["p"]},
            id="sets of two scopes are mixed",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_refused(client: Client, rule: dict[str, object]) -> None:
    """Unknown, empty, unscoped, wrongly scoped or mixed rules are a 400, and the old rules stay."""
    made = principal(client, "InstancesReadOnly")
    answer = client.ask("PUT", IAM + "/rules", {"policy_id": made["policy_id"], "rules": [rule]})
    assert (answer.status_code, answer.json()["type"]) == (400, "invalid_arguments")
    path = f"{IAM}/rules?policy_id={made['policy_id']}"
    assert client.ask("GET", path).json()["total_count"] == 1

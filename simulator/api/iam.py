"""IAM v1alpha1: principals, their keys, and policies with their rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simulator.api import render_iam as render
from simulator.api.requests import Answer, Call, Item, answer, counted_page
from simulator.world.faults import FaultKind
from simulator.world.iam.permission_sets import PERMISSION_SETS
from simulator.world.iam.principals import Iam, Principal
from simulator.world.model import invalid, not_found, transient

_PRINCIPALS = {"application_id": "application", "user_id": "user", "group_id": "group"}


def _check(call: Call, resource: str, action: str) -> None:
    call.caller.check(f"{resource}:{action}", "", resource, action)


def _check_listing(call: Call, resource: str) -> None:
    """Check a listing: every listing of IAM must name the organization."""
    _check(call, resource, "read")
    named = call.query.get("organization_id")
    if not named:
        raise invalid("organization_id", "")
    if named != call.world.organization_id:
        raise not_found("organization", named)


def _page(
    call: Call, name: str, found: Sequence[Item], write: Callable[[Item, Iam], dict[str, Any]]
) -> Answer:
    return counted_page(call, name, found, lambda each: write(each, call.world.iam))


def _principals(call: Call, kind: str) -> list[Principal]:
    _check_listing(call, kind)
    return [each for each in call.world.iam.principals.values() if each.kind == kind]


def list_applications(call: Call) -> Answer:
    """GET applications."""
    return _page(call, "applications", _principals(call, "application"), render.application)


def list_groups(call: Call) -> Answer:
    """GET groups, with their members."""
    return _page(call, "groups", _principals(call, "group"), render.group)


def list_users(call: Call) -> Answer:
    """GET users; the type of the organization's owner is "owner"."""
    found = _principals(call, "user")
    wanted = call.query.get("type", "unknown_type")
    if wanted != "unknown_type":
        found = [each for each in found if each.is_owner == (wanted == "owner")]
    return _page(call, "users", found, render.user)


def create_application(call: Call) -> Answer:
    """POST applications."""
    _check(call, "application", "write")
    made = call.world.iam.add("application", str(call.body.get("name")), call.world.now_s)
    return answer(render.application(made, call.world.iam))


def create_group(call: Call) -> Answer:
    """POST groups; members may be given at once, as user_ids and application_ids."""
    _check(call, "group", "write")
    ids = [*(call.body.get("user_ids") or ()), *(call.body.get("application_ids") or ())]
    name, now_s = str(call.body.get("name")), call.world.now_s
    made = call.world.iam.add("group", name, now_s, members=tuple(ids))
    return answer(render.group(made, call.world.iam))


def list_keys(call: Call) -> Answer:
    """GET api-keys: no secret is ever listed."""
    _check_listing(call, "api_key")
    return _page(call, "api_keys", call.world.iam.keys, render.api_key)


def get_key(call: Call) -> Answer:
    """GET one key by its access key."""
    wanted = call.path["access_key"]
    found = [key for key in call.world.iam.keys if key.access_key == wanted]
    bearer = call.caller.bearer
    if bearer is None or all(key.bearer_id != bearer.id for key in found):
        _check(call, "api_key", "read")
    if not found:
        raise not_found("access_key", wanted)
    return answer(render.api_key(found[0], call.world.iam))


def create_key(call: Call) -> Answer:
    """POST api-keys: the only answer that shows the secret."""
    _check(call, "api_key", "write")
    bearer_id = str(call.body.get("application_id") or call.body.get("user_id"))
    if bearer_id not in call.world.iam.principals:
        raise not_found("application", bearer_id)
    project_id = str(call.body.get("default_project_id") or call.world.organization_id)
    made = call.world.iam.add_key(bearer_id, project_id, call.world.now_s)
    return answer(render.api_key(made, call.world.iam) | {"secret_key": made.secret_key})


def list_permission_sets(call: Call) -> Answer:
    """GET permission-sets."""
    _check_listing(call, "permission_set")
    return counted_page(call, "permission_sets", sorted(PERMISSION_SETS), render.permission_set)


def list_policies(call: Call) -> Answer:
    """GET policies, without their rules."""
    _check_listing(call, "policy")
    name = call.query.get("policy_name", "")
    found = [each for each in call.world.iam.policies.values() if name in each.name]
    found.sort(key=lambda each: (each.name, each.id))
    return _page(call, "policies", found, render.policy)


def get_policy(call: Call) -> Answer:
    """GET one policy."""
    _check(call, "policy", "read")
    return answer(render.policy(call.world.iam.policy(call.path["policy_id"]), call.world.iam))


def create_policy(call: Call) -> Answer:
    """POST policies, with rules."""
    _check(call, "policy", "write")
    ids = [str(call.body[name]) for name in _PRINCIPALS if call.body.get(name)]
    made = call.world.iam.add_policy(
        str(call.body.get("name")),
        ids[0] if ids else "",
        call.body.get("rules") or (),
        call.world.now_s,
        call.body.get("tags") or (),
    )
    return answer(render.policy(made, call.world.iam))


def list_rules(call: Call) -> Answer:
    """GET rules of one policy."""
    _check(call, "policy", "read")
    policy = call.world.iam.policy(call.query.get("policy_id", ""))
    return counted_page(call, "rules", policy.rules, render.rule)


def set_rules(call: Call) -> Answer:
    """PUT rules: it replaces the whole list, or answers 409 during another change."""
    _check(call, "policy", "write")
    policy = call.world.iam.policy(str(call.body.get("policy_id")))
    faults, now_s = call.world.faults, call.world.now_s
    if faults.take(FaultKind.TRANSIENT_STATE, now_s, None, "/iam/v1alpha1/rules", "PUT"):
        raise transient("policy", policy.id)
    changed = call.world.iam.set_rules(policy.id, call.body.get("rules") or (), now_s)
    return answer({"rules": [render.rule(each) for each in changed.rules]})

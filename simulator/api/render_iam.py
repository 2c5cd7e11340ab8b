"""IAM v1alpha1 as JSON, as recorded, key for key."""

from __future__ import annotations

from typing import Any

from simulator.api.render import account_instant
from simulator.world.iam.permission_sets import PERMISSION_SETS
from simulator.world.iam.principals import ApiKey, Iam, Policy, Principal, Rule

Json = dict[str, Any]
_EDITABLE: Json = {"editable": True, "deletable": True, "managed": False}


def _dates(created_s: int, updated_s: int) -> Json:
    return {"created_at": account_instant(created_s), "updated_at": account_instant(updated_s)}


def application(seen: Principal, iam: Iam) -> Json:
    """An application."""
    return {
        "id": seen.id,
        "name": seen.name,
        "description": "",
        **_dates(seen.created_s, seen.created_s),
        "organization_id": iam.organization_id,
        **_EDITABLE,
        "nb_api_keys": sum(key.bearer_id == seen.id for key in iam.keys),
        "tags": [],
    }


def group(seen: Principal, iam: Iam) -> Json:
    """A group, with the ids of its members by their kind."""

    def members(kind: str) -> list[str]:
        return [each for each in seen.members if iam.principals[each].kind == kind]

    return {
        "id": seen.id,
        **_dates(seen.created_s, seen.created_s),
        "organization_id": iam.organization_id,
        "name": seen.name,
        "description": "",
        "user_ids": members("user"),
        "application_ids": members("application"),
        "tags": [],
        **_EDITABLE,
    }


def user(seen: Principal, organization_id: str) -> Json:
    """A user; `type` tells an owner from a member."""
    return {
        "id": seen.id,
        "email": seen.name,
        "username": seen.name,
        "first_name": "",
        "last_name": "",
        "phone_number": "",
        "locale": "en_US",
        **_dates(seen.created_s, seen.created_s),
        "organization_id": organization_id,
        "deletable": not seen.is_owner,
        "last_login_at": None,
        "type": "owner" if seen.is_owner else "member",
        "two_factor_enabled": False,
        "status": "activated",
        "mfa": False,
        "account_root_user_id": "",
        "tags": [],
        "locked": False,
    }


def api_key(seen: ApiKey, bearer: Principal) -> Json:
    """A key without its secret."""
    return {
        "access_key": seen.access_key,
        "secret_key": None,
        "description": "",
        **_dates(seen.created_s, seen.created_s),
        "expires_at": None,
        "default_project_id": seen.default_project_id,
        **_EDITABLE,
        "creation_ip": "192.0.2.1",
        f"{bearer.kind}_id": seen.bearer_id,
    }


def policy(seen: Policy, principal: Principal | None, organization_id: str) -> Json:
    """A policy; its rules are listed separately."""
    holder: Json = {"no_principal": True}
    if principal is not None:
        holder = {f"{principal.kind}_id": principal.id}
    return {
        "id": seen.id,
        "name": seen.name,
        "description": "",
        "organization_id": organization_id,
        **_dates(seen.created_s, seen.updated_s),
        **_EDITABLE,
        "nb_rules": len(seen.rules),
        "nb_scopes": len(seen.rules),
        "nb_permission_sets": sum(len(each.permission_set_names) for each in seen.rules),
        "tags": list(seen.tags),
        **holder,
    }


def rule(seen: Rule) -> Json:
    """A rule, with its projects or its organization."""
    scope: Json = {"project_ids": list(seen.project_ids)}
    if seen.organization_id:
        scope = {"organization_id": seen.organization_id}
    return {
        "id": seen.id,
        "permission_set_names": list(seen.permission_set_names),
        "permission_sets_scope_type": seen.scope_type,
        "condition": seen.condition,
        **scope,
    }


def permission_set(name: str) -> Json:
    """A permission set; its id is the position of its name in the alphabet."""
    number = sorted(PERMISSION_SETS).index(name)
    return {
        "id": f"00000000-0000-4000-8000-{number:012x}",
        "name": name,
        "scope_type": PERMISSION_SETS[name][0],
        "description": "",
        "categories": [
            "Compute" if PERMISSION_SETS[name][0] == "projects" else "Security & Identity"
        ],
    }

"""IAM v1alpha1 as JSON, as recorded, key for key."""

from __future__ import annotations

from typing import Any

from simulator.api.render import account_instant
from simulator.world.iam.permission_sets import PERMISSION_SETS
from simulator.world.iam.principals import ApiKey, Iam, Policy, Principal, Rule

Json = dict[str, Any]
_EDITABLE: Json = {"editable": True, "deletable": True, "managed": False}


def _dates(created_s: int, updated_s: int | None = None) -> Json:
    updated = account_instant(created_s if updated_s is None else updated_s)
    return {"created_at": account_instant(created_s), "updated_at": updated}


def _named(seen: Principal | Policy, iam: Iam) -> Json:
    """The keys that applications, groups and policies share."""
    named = {"id": seen.id, "name": seen.name, "description": "", "tags": []}
    return named | {"organization_id": iam.organization_id} | _dates(seen.created_s) | _EDITABLE


def application(seen: Principal, iam: Iam) -> Json:
    """An application."""
    keys = sum(key.bearer_id == seen.id for key in iam.keys)
    return _named(seen, iam) | {"nb_api_keys": keys}


def group(seen: Principal, iam: Iam) -> Json:
    """A group, with the ids of its members by their kind."""

    def members(kind: str) -> list[str]:
        return [each for each in seen.members if iam.principals[each].kind == kind]

    ids = {"user_ids": members("user"), "application_ids": members("application")}
    return _named(seen, iam) | ids


def user(seen: Principal, iam: Iam) -> Json:
    """A user; `type` tells an owner from a member."""
    unset = ("first_name", "last_name", "phone_number", "account_root_user_id")
    return {
        **dict.fromkeys(unset, ""),
        "id": seen.id,
        "email": seen.name,
        "username": seen.name,
        "locale": "en_US",
        **_dates(seen.created_s),
        "organization_id": iam.organization_id,
        "deletable": not seen.is_owner,
        "last_login_at": None,
        "type": "owner" if seen.is_owner else "member",
        "status": "activated",
        **dict.fromkeys(("two_factor_enabled", "mfa", "locked"), False),
        "tags": [],
    }


def api_key(seen: ApiKey, iam: Iam) -> Json:
    """A key without its secret."""
    return {
        "access_key": seen.access_key,
        "secret_key": None,
        "description": "",
        **_dates(seen.created_s),
        "expires_at": None,
        "default_project_id": seen.default_project_id,
        **_EDITABLE,
        "creation_ip": "192.0.2.1",
        f"{iam.principals[seen.bearer_id].kind}_id": seen.bearer_id,
    }


def policy(seen: Policy, iam: Iam) -> Json:
    """A policy; its rules are listed separately."""
    holder: Json = {"no_principal": True}
    if principal := iam.principals.get(seen.principal_id):
        holder = {f"{principal.kind}_id": principal.id}
    counts = {
        "nb_rules": len(seen.rules),
        "nb_scopes": len(seen.rules),
        "nb_permission_sets": sum(len(each.permission_set_names) for each in seen.rules),
    }
    dates = _dates(seen.created_s, seen.updated_s)
    return _named(seen, iam) | dates | counts | {"tags": list(seen.tags)} | holder


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
    number, scope = sorted(PERMISSION_SETS).index(name), PERMISSION_SETS[name][0]
    return {
        "id": f"00000000-0000-4000-8000-{number:012x}",
        "name": name,
        "scope_type": scope,
        "description": "",
        "categories": ["Compute" if scope == "projects" else "Security & Identity"],
    }

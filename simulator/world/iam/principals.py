"""The IAM of the organization: principals, keys, policies and their rules.

A key belongs to a user or an application. It may do what the rules of its own policies and of its
groups' policies allow; an owner of the organization may do everything.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.world.iam.identity import new_access_key, new_uuid
from simulator.world.iam.permission_sets import (
    ORGANIZATION,
    PERMISSION_SETS,
    STARTUP_PERMISSION_SETS,
)
from simulator.world.model import Project, invalid, not_found

Specs = Iterable[Mapping[str, Any]]
"""Rules as a caller of the API writes them."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An application, a user or a group, by `kind`."""

    kind: str
    id: str
    name: str
    created_s: int
    is_owner: bool = False
    members: tuple[str, ...] = ()
    """The ids of a group's users and applications."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a user or an application. `repr` hides the secret."""

    access_key: str
    secret_key: str = field(repr=False)
    bearer_id: str
    default_project_id: str
    created_s: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Permission sets in some projects, or (organization_id) in the whole organization."""

    id: str
    permission_set_names: tuple[str, ...]
    project_ids: tuple[str, ...] = ()
    organization_id: str = ""
    condition: str = ""

    @property
    def scope_type(self) -> str:
        """The type of resource that its sets apply to; the sets of one rule share it."""
        return PERMISSION_SETS[self.permission_set_names[0]][0]

    def allows(self, permission: str, project_id: str) -> bool:
        """Whether it allows its principal this action there. Conditions count as true."""
        if not any(permission in PERMISSION_SETS[name][1] for name in self.permission_set_names):
            return False
        return bool(self.organization_id) or project_id in self.project_ids


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one principal; an empty `principal_id` means that the policy has none."""

    id: str
    name: str
    principal_id: str
    created_s: int
    updated_s: int
    rules: tuple[Rule, ...] = ()
    tags: tuple[str, ...] = ()


class Iam:
    """Everything IAM knows of one organization."""

    def __init__(self, seed: int, organization_id: str) -> None:
        self.organization_id = organization_id
        self.principals: dict[str, Principal] = {}
        self.policies: dict[str, Policy] = {}
        self._keys: dict[str, ApiKey] = {}
        self._ids = random.Random(f"{seed}/iam")
        self._seed = seed

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """Every key, oldest first."""
        return tuple(self._keys.values())

    # -- who ----------------------------------------------------------------------------

    def add(self, kind: str, name: str, now_s: int, **more: Any) -> Principal:
        """Add a user, application or group."""
        return self._keep(Principal(kind, new_uuid(self._ids), name, now_s, **more))

    def add_key(self, bearer_id: str, project_id: str, now_s: int) -> ApiKey:
        """A new key of a user or an application."""
        access_key, secret_key = new_access_key(self._ids), new_uuid(self._ids)
        key = ApiKey(access_key, secret_key, bearer_id, project_id, now_s)
        self._keys[secret_key] = key
        return key

    def add_owner(self, access_key: str, secret_key: str, now_s: int) -> None:
        """The owner of the organization, whose key may do everything."""
        owner = self.add("user", "owner@example.com", now_s, is_owner=True)
        self._keys[secret_key] = ApiKey(
            access_key, secret_key, owner.id, self.organization_id, now_s
        )

    def add_startup(self, project: Project, now_s: int) -> None:
        """A startup's application with the project's key, and a policy for its project."""
        rng = random.Random(f"{self._seed}/iam/{project.name}")
        made = self._keep(Principal("application", new_uuid(rng), project.name, now_s))
        key = ApiKey(project.access_key, project.secret_key, made.id, project.id, now_s)
        self._keys[key.secret_key] = key
        rules = (Rule(new_uuid(rng), STARTUP_PERMISSION_SETS, (project.id,)),)
        policy = Policy(new_uuid(rng), project.name, made.id, now_s, now_s, rules)
        self.policies[policy.id] = policy

    def _keep(self, made: Principal) -> Principal:
        self.principals[made.id] = made
        return made

    def key(self, secret_key: str | None) -> ApiKey | None:
        """The key with this secret."""
        return self._keys.get(secret_key or "")

    # -- what ---------------------------------------------------------------------------

    def may(self, bearer: Principal, permission: str, project_id: str = "") -> bool:
        """Whether a user or an application may do this in a project (or, "", at large)."""
        if bearer.is_owner:
            return True
        names = {bearer.id} | {
            group.id for group in self.principals.values() if bearer.id in group.members
        }
        own = (policy for policy in self.policies.values() if policy.principal_id in names)
        return any(rule.allows(permission, project_id) for policy in own for rule in policy.rules)

    def startup_may(self, project: Project, permission: str) -> bool:
        """Whether a startup's own key may do this in its project."""
        key = self._keys[project.secret_key]
        return self.may(self.principals[key.bearer_id], permission, project.id)

    # -- policies -----------------------------------------------------------------------

    def policy(self, policy_id: str) -> Policy:
        """One policy, or Refusal 404."""
        if policy_id not in self.policies:
            raise not_found("policy", policy_id)
        return self.policies[policy_id]

    def add_policy(
        self, name: str, principal_id: str, specs: Specs, now_s: int, tags: Iterable[str] = ()
    ) -> Policy:
        """A new policy with its rules."""
        if principal_id and principal_id not in self.principals:
            raise not_found("principal", principal_id)
        rules = tuple(self._rules(specs))
        made = Policy(new_uuid(self._ids), name, principal_id, now_s, now_s, rules, tuple(tags))
        self.policies[made.id] = made
        return made

    def set_rules(self, policy_id: str, specs: Specs, now_s: int) -> Policy:
        """Replace the whole list of rules; every rule gets a new id."""
        kept = self.policy(policy_id)
        rules = tuple(self._rules(specs))
        self.policies[policy_id] = replace(kept, rules=rules, updated_s=now_s)
        return self.policies[policy_id]

    def _rules(self, specs: Specs) -> Iterator[Rule]:
        for spec in specs:
            names = tuple(spec.get("permission_set_names") or ())
            projects = tuple(spec.get("project_ids") or ())
            organization_id = str(spec.get("organization_id") or "")
            unknown = [name for name in names if name not in PERMISSION_SETS]
            if unknown or not names:
                raise invalid("permission_set_names", f"{unknown or 'none'} given")
            if len({PERMISSION_SETS[name][0] for name in names}) > 1:
                raise invalid("permission_set_names", "the sets of a rule share one scope")
            if bool(projects) == bool(organization_id):
                raise invalid("project_ids", "give project_ids or organization_id")
            if PERMISSION_SETS[names[0]][0] == ORGANIZATION and projects:
                raise invalid("project_ids", f"{names[0]} is scoped by organization")
            if organization_id not in ("", self.organization_id):
                raise not_found("organization", organization_id)
            condition = str(spec.get("condition") or "")
            yield Rule(new_uuid(self._ids), names, projects, organization_id, condition)

"""Reads and replaces IAM rules, through the official SDK and with a second key.

The key that meters and stops servers must not be able to grant permissions, so IAM has a key of
its own. A program that closes nobody through IAM needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from scaleway import Client  # type: ignore[import-untyped]  # ships no py.typed
from scaleway.iam.v1alpha1 import IamV1Alpha1API  # type: ignore[import-untyped]  # the same
from scaleway.iam.v1alpha1.types import RuleSpecs  # type: ignore[import-untyped]  # the same

from quotas.iam.policies import Policy, Principal, Rule
from scheduler.clouds.bridge import Sdk
from scheduler.clouds.parse import checked_uuid
from scheduler.clouds.parse_iam import (
    check_rules,
    key_holder_id,
    policies_page,
    principals_page,
    rules_page,
)
from scheduler.clouds.transport import Deadline, Limits, Transport

PER_PAGE = 100
LIMITS = Limits(read_s=10.0, call_s=50.0)
"""A call and its last read together take less than the 70 s of lease that a call needs."""


class Permissions(Protocol):
    """Everything cohortd reads from IAM and asks of it."""

    def policies(self) -> tuple[Policy, ...]:
        """Every policy of the organization with its rules. Raises CloudError."""

    def rules(self, policy_id: str) -> tuple[Rule, ...]:
        """The rules of one policy now. Raises CloudError (NotFound if it does not exist)."""

    def set_rules(self, policy_id: str, rules: Iterable[Rule]) -> None:
        """Replace the whole list, without retry. Raises CloudError (Conflict for 409)."""

    def principals(self, kind: str) -> tuple[Principal, ...]:
        """Every application, user or group. Raises CloudError."""

    def key_holder(self) -> str:
        """The id of the application or user whose key this is. Raises CloudError."""


class ScalewayPermissions:
    """IAM of a Scaleway organization: implements `Permissions`."""

    def __init__(self, client: Client, transport: Transport, limits: Limits = LIMITS) -> None:
        """Read and write with this client's key."""
        self._sdk = Sdk(IamV1Alpha1API, client, transport, limits)

    def __repr__(self) -> str:
        """Name the organization and no key."""
        return f"ScalewayPermissions({self._sdk.client.default_organization_id})"

    def policies(self) -> tuple[Policy, ...]:
        """Every policy with its rules, in one bounded time. Raises CloudError."""
        deadline = self._sdk.deadline()
        parse = partial(policies_page, organization_id=self._sdk.client.default_organization_id)
        found = self._sdk.read_pages("list_policies", parse, PER_PAGE, deadline=deadline)
        return tuple(self._with_rules(found[name], deadline) for name in sorted(found))

    def _with_rules(self, policy: Policy, deadline: Deadline) -> Policy:
        rules, is_writable = self._rules(policy.id, deadline)
        return replace(policy, rules=rules, is_editable=policy.is_editable and is_writable)

    def rules(self, policy_id: str) -> tuple[Rule, ...]:
        """The rules of one policy now. Raises CloudError."""
        return self._rules(policy_id, self._sdk.deadline())[0]

    def _rules(self, policy_id: str, deadline: Deadline) -> tuple[tuple[Rule, ...], bool]:
        """The rules that cohortd can write back, and whether these are all."""
        checked_uuid(policy_id)
        found = self._sdk.read_pages(
            "list_rules", rules_page, PER_PAGE, deadline=deadline, policy_id=policy_id
        )
        known = tuple(rule for rule in found.values() if rule is not None)
        return known, len(known) == len(found)

    def set_rules(self, policy_id: str, rules: Iterable[Rule]) -> None:
        """Replace the whole list, without retry. Raises CloudError."""
        wanted, policy_id = tuple(rules), checked_uuid(policy_id)
        specs = [_specs(rule) for rule in wanted]
        answer = self._sdk.change("set_rules", policy_id=policy_id, rules=specs)
        check_rules(answer, wanted)

    def principals(self, kind: str) -> tuple[Principal, ...]:
        """Every application, user or group, by id. Raises CloudError."""
        parse = partial(principals_page, kind=kind)
        found = self._sdk.read_pages(f"list_{kind}s", parse, PER_PAGE)
        return tuple(found[name] for name in sorted(found))

    def key_holder(self) -> str:
        """The holder's id; every key may read itself. Raises CloudError."""
        access_key = self._sdk.client.access_key
        return key_holder_id(self._sdk.read("get_api_key", access_key=access_key))


def _specs(rule: Rule) -> RuleSpecs:
    return RuleSpecs(
        condition=rule.condition,
        permission_set_names=list(rule.sets),
        project_ids=list(rule.project_ids) or None,
        organization_id=rule.organization_id or None,
    )

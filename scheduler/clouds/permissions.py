"""Reads and replaces IAM rules, through the official SDK and with a second key.

The key that meters and stops servers must not be able to grant permissions, so IAM has a key of
its own. A program that closes nobody through IAM needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from scaleway import Client  # type: ignore[import-untyped]  # ships no py.typed
from scaleway.iam.v1alpha1 import IamV1Alpha1API  # type: ignore[import-untyped]  # the same
from scaleway.iam.v1alpha1.types import RuleSpecs  # type: ignore[import-untyped]  # the same

from quotas.iam.policies import Policy, Principal, Rule
from scheduler.clouds.bridge import Exchange, attach_exchange
from scheduler.clouds.pages import Page, check_edges, collect
from scheduler.clouds.parse import checked_uuid
from scheduler.clouds.parse_iam import (
    check_rules,
    key_holder_id,
    policies_page,
    principals_page,
    rules_page,
)
from scheduler.clouds.scaleway import require_ok
from scheduler.clouds.transport import Deadline, Limits, Transport

PER_PAGE = 100
LIMITS = Limits(read_s=10.0, call_s=50.0)
"""A call and its last read together take less than the 70 s of lease that a call needs."""

Item = TypeVar("Item")


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
        self._client = client
        self._transport = transport
        self._limits = limits

    def __repr__(self) -> str:
        """Name the organization and no key."""
        return f"ScalewayPermissions({self._client.default_organization_id})"

    def policies(self) -> tuple[Policy, ...]:
        """Every policy with its rules, in one bounded time. Raises CloudError."""
        deadline = self._transport.deadline(self._limits.call_s)

        def page(number: int, per_page: int = PER_PAGE) -> Page[Policy]:
            exchange = self._exchange("list_policies", deadline)
            self._api(exchange).list_policies(page=number, page_size=per_page)
            return policies_page(require_ok(exchange.answer), self._client.default_organization_id)

        found: dict[str, Policy] = {}
        collect(page, PER_PAGE, self._limits.pages, found)
        check_edges(page, PER_PAGE, found)
        return tuple(self._with_rules(found[name], deadline) for name in sorted(found))

    def _with_rules(self, policy: Policy, deadline: Deadline) -> Policy:
        rules, is_writable = self._rules(policy.id, deadline)
        return Policy(
            id=policy.id,
            name=policy.name,
            holder_kind=policy.holder_kind,
            holder_id=policy.holder_id,
            rules=rules,
            is_editable=policy.is_editable and is_writable,
            tags=policy.tags,
        )

    def rules(self, policy_id: str) -> tuple[Rule, ...]:
        """The rules of one policy now. Raises CloudError."""
        return self._rules(policy_id, self._transport.deadline(self._limits.call_s))[0]

    def _rules(self, policy_id: str, deadline: Deadline) -> tuple[tuple[Rule, ...], bool]:
        checked_uuid(policy_id)

        def page(number: int, per_page: int = PER_PAGE) -> Page[Rule | None]:
            exchange = self._exchange("list_rules", deadline)
            api = self._api(exchange)
            api.list_rules(policy_id=policy_id, page=number, page_size=per_page)
            return rules_page(require_ok(exchange.answer))

        found: dict[str, Rule | None] = {}
        collect(page, PER_PAGE, self._limits.pages, found)
        check_edges(page, PER_PAGE, found)
        known = tuple(rule for rule in found.values() if rule is not None)
        return known, len(known) == len(found)

    def set_rules(self, policy_id: str, rules: Iterable[Rule]) -> None:
        """Replace the whole list, without retry. Raises CloudError."""
        wanted = tuple(rules)
        exchange = self._exchange("set_rules", self._transport.deadline(self._limits.action_s))
        specs = [_specs(rule) for rule in wanted]
        self._api(exchange).set_rules(policy_id=checked_uuid(policy_id), rules=specs)
        check_rules(require_ok(exchange.answer), wanted)

    def principals(self, kind: str) -> tuple[Principal, ...]:
        """Every application, user or group, by id. Raises CloudError."""
        deadline = self._transport.deadline(self._limits.call_s)

        def page(number: int, per_page: int = PER_PAGE) -> Page[Principal]:
            exchange = self._exchange(f"list_{kind}s", deadline)
            listing = getattr(self._api(exchange), f"list_{kind}s")
            listing(page=number, page_size=per_page)
            return principals_page(require_ok(exchange.answer), kind)

        found: dict[str, Principal] = {}
        collect(page, PER_PAGE, self._limits.pages, found)
        check_edges(page, PER_PAGE, found)
        return tuple(found[name] for name in sorted(found))

    def key_holder(self) -> str:
        """The holder's id; every key may read itself. Raises CloudError."""
        exchange = self._exchange("get_api_key", self._transport.deadline(self._limits.call_s))
        self._api(exchange).get_api_key(access_key=self._client.access_key)
        return key_holder_id(require_ok(exchange.answer))

    def _exchange(self, operation: str, deadline: Deadline) -> Exchange:
        return Exchange(self._client, self._transport, operation, deadline)

    def _api(self, exchange: Exchange) -> Any:
        return attach_exchange(IamV1Alpha1API(self._client), exchange)


def _specs(rule: Rule) -> RuleSpecs:
    return RuleSpecs(
        condition=rule.condition,
        permission_set_names=list(rule.sets),
        project_ids=list(rule.project_ids) or None,
        organization_id=rule.organization_id or None,
    )

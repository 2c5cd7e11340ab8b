"""IAM of the region of a play: the policies with a log of changes, and the daemon's access.

Policies live in the simulator's world. Each change is kept together with what the book had
recorded at that moment. Faults are windows of the script at the place "iam".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from quotas.iam.policies import Policy, Principal, Rule
from scheduler.clouds.base import Conflict, Forbidden, NotFound, Throttled, Unreachable
from simulator.world.model import Refusal

from ..scenario.events import HAND, Event, Window
from .region import Region

US = "us"
Rules = tuple[Rule, ...]


class Edits(Protocol):
    """What a person may do to a policy by its id: an event, or None."""

    def __call__(self, policy_id: str, at_s: int) -> Event | None:
        """An edit that will happen at an instant."""


@dataclass(frozen=True, slots=True)
class Change:
    """The rules of a policy before and after a change, its author, and its grounds.

    `now_s` is the daemon's time; `read` are the rules that it read last, at `read_s`;
    `revoked_rules` are the open rows of the book at that moment.
    """

    at_s: int
    now_s: int
    by: str
    policy_id: str
    before: Rules
    after: Rules | None
    read: Rules = ()
    read_s: int = 0
    revoked_rules: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class CycleRecord:
    """A finished cycle: levels by startup, and how many changes of IAM preceded its end."""

    at_s: int
    now_s: int
    levels: dict[str, str]
    changes: int
    is_clean: bool
    """Done, and nothing befell it or its calls to IAM."""


@dataclass
class Organization:
    """The first state of the policies of a region, and every change since."""

    region: Region
    first: dict[str, Rules] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    tagged: set[str] = field(default_factory=set)
    log: list[Change] = field(default_factory=list)

    def begin(self) -> None:
        """Record changes from now on."""
        for policy in self.region.iam.policies.values():
            self.first[policy.id] = self.rules(policy.id)
            self.names[policy.id] = policy.name
            if policy.tags:
                self.tagged.add(policy.id)

    def rules(self, policy_id: str) -> Rules:
        """The current rules of a policy. Raises NotFound."""
        policy = self.region.iam.policies.get(policy_id)
        if policy is None:
            raise NotFound(f"no policy {policy_id}")
        return tuple(
            Rule(
                tuple(sorted(rule.permission_set_names)),
                tuple(sorted(rule.project_ids)),
                rule.organization_id,
                rule.condition,
            )
            for rule in policy.rules
        )

    def named(self, name: str) -> str | None:
        """The id of the policy with a name, while the policy exists."""
        found = self.region.iam.policies.values()
        return next((policy.id for policy in found if policy.name == name), None)

    def replace(self, policy_id: str, rules: Iterable[Rule]) -> tuple[Rules, Rules]:
        """Replace a policy's rules; returns both lists. Raises NotFound, Refusal."""
        before = self.rules(policy_id)
        self.region.iam.set_rules(policy_id, specs_of(rules), self.region.now_s)
        return before, self.rules(policy_id)

    def edit(self, policy_id: str, rules: Iterable[Rule] | None) -> None:
        """A person sets the rules of a policy, or (None) deletes it."""
        at_s = self.region.now_s
        if rules is None:
            before, after = self.rules(policy_id), None
            del self.region.iam.policies[policy_id]
        else:
            before, after = self.replace(policy_id, rules)
        self.log.append(Change(at_s, at_s, HAND, policy_id, before, after))


def specs_of(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Rules in the form that the region's IAM accepts."""
    return [
        {
            "permission_set_names": rule.sets,
            "project_ids": rule.project_ids,
            "organization_id": rule.organization_id,
            "condition": rule.condition,
        }
        for rule in rules
    ]


@dataclass
class RegionPermissions:
    """Implements `Permissions` on an organization, with faults."""

    organization: Organization
    windows: Iterable[Window]
    injected: Counter[str]
    now_s: Callable[[], int]
    point: Callable[[str], None]
    revoked_rules: Callable[[], list[dict[str, Any]]]
    edits: Edits
    later: Callable[[Event], None]
    manual_iam_edits: tuple[float, random.Random]
    """The chance that a person edits a policy soon after we took from it, and the stream."""
    is_calm: Callable[[], bool] = lambda: False
    _read: dict[str, tuple[int, Rules]] = field(default_factory=dict)

    def _has(self, kind: str) -> bool:
        at_s = self.organization.region.now_s
        within = any(w.kind == kind and w.from_s <= at_s < w.until_s for w in self.windows)
        if within and not self.is_calm():
            self.injected[kind] += 1
            return True
        return False

    def _reach(self) -> None:
        if self._has("iam-down"):
            raise Unreachable("IAM does not answer")
        if self._has("iam-throttle"):
            raise Throttled("simulated 429")

    def policies(self) -> tuple[Policy, ...]:
        """Every policy with its rules."""
        self._reach()
        found = self.organization.region.iam.policies
        return tuple(
            Policy(
                id,
                found[id].name,
                "application",
                found[id].principal_id,
                self.organization.rules(id),
                tags=found[id].tags,
            )
            for id in sorted(found)
        )

    def rules(self, policy_id: str) -> Rules:
        """The rules of one policy now."""
        self._reach()
        rules = self.organization.rules(policy_id)
        self._read[policy_id] = (self.organization.region.now_s, rules)
        self._stir(policy_id, 0.2, (5,))
        return rules

    def set_rules(self, policy_id: str, rules: Iterable[Rule]) -> None:
        """Replace the whole list, or fail in one of the ways of this window."""
        self.point("before rules")
        try:
            self._try(policy_id, tuple(rules))
        finally:
            self.point("after rules")

    def _try(self, policy_id: str, rules: Rules) -> None:
        self._reach()
        if self._has("iam-forbidden"):
            raise Forbidden("simulated 403")
        if self._has("iam-conflict"):
            raise Conflict("another change is under way")
        read_s, read = self._read.get(policy_id, (0, ()))
        at_s, revoked_rules = self.organization.region.now_s, tuple(self.revoked_rules())
        try:
            before, after = self.organization.replace(policy_id, rules)
        except Refusal as error:
            raise Conflict(str(error.body)) from None
        change = Change(
            at_s, self.now_s(), US, policy_id, before, after, read, read_s, revoked_rules
        )
        self.organization.log.append(change)
        self._stir(policy_id, 1.0, (5, 600, 5_000))
        if self._has("iam-lost"):
            raise Unreachable("the answer was lost")

    def _stir(self, policy_id: str, times: float, after_s: tuple[int, ...]) -> None:
        rng, stream = self.manual_iam_edits
        if rng and not self.is_calm() and stream.random() < rng * times:
            at_s = self.organization.region.now_s + stream.choice(after_s)
            event = self.edits(policy_id, at_s)
            if event is not None:
                self.later(event)

    def principals(self, kind: str) -> tuple[Principal, ...]:
        """No cycle asks for them."""
        raise NotImplementedError(kind)

    def key_holder(self) -> str:
        """No cycle asks for it."""
        raise NotImplementedError

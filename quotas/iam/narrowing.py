"""What does closing a startup take from which policy, and how is it given back?

Closing removes the permission to start and to create servers from the startup's own
policies: those in which every rule that gives it names only the startup's projects.
Giving back is a merge of three: what was taken is put back, what is there now is kept.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass

from quotas.iam.policies import Policy, Rule

REVOKED_SETS = frozenset({"InstancesServerCreate", "InstancesServerStart"})
NARROWER_SETS = {
    "InstancesFullAccess": (
        "InstancesReadOnly",
        "InstancesServerDelete",
        "InstancesServerStop",
        "InstancesServerWrite",
    )
}
"""What stands in for a broader set while a startup is closed. It is less than the broad set
without start and create: volumes, images and addresses can be read, and not changed."""
BROAD_SETS = frozenset({"AllProductsFullAccess"})
"""Sets that start servers too, and that no list of other sets replaces."""
START_SETS = REVOKED_SETS | frozenset(NARROWER_SETS) | BROAD_SETS
KEEP_TAG = "cohortd-keep"
"""A policy with this tag is never changed."""


@dataclass(frozen=True, slots=True)
class NarrowedRule:
    """A rule as it was, and what is left of it while the startup is closed."""

    rule: Rule
    remaining: Rule | None

    @property
    def removed_sets(self) -> tuple[str, ...]:
        """The permission sets that were removed."""
        remaining = self.remaining.sets if self.remaining else ()
        return tuple(name for name in self.rule.sets if name not in remaining)


@dataclass(frozen=True, slots=True)
class RevokedRules:
    """What was taken from one policy, recorded before it was taken."""

    startup: str
    policy_id: str
    policy_name: str
    before: tuple[Rule, ...]
    revoked: tuple[NarrowedRule, ...]
    recorded_s: int
    state: str = "revoked"
    ended_s: int | None = None
    detail: str = ""
    id: int | None = None

    @property
    def project_ids(self) -> frozenset[str]:
        """The projects in which something was taken."""
        return frozenset(id for each in self.revoked for id in each.rule.project_ids)


def successor_of(
    startup: str, project_ids: Collection[str], projects: Mapping[str, Collection[str]]
) -> str:
    """Whom what was taken from a startup goes back to: who has all those projects now.

    A project may pass to another startup while its rules are withheld.
    """
    owners = (name for name in sorted(projects) if set(project_ids) <= set(projects[name]))
    return next(owners, startup) if project_ids else startup


def start_rules(rules: Iterable[Rule]) -> list[Rule]:
    """The rules that let somebody start or create servers."""
    return [rule for rule in rules if START_SETS.intersection(rule.sets)]


def is_own(policy: Policy, project_ids: Collection[str]) -> bool:
    """Whether a policy is a startup's: what it starts, it starts in these projects only."""
    found = start_rules(policy.rules)
    if not found or not policy.is_editable or KEEP_TAG in policy.tags:
        return False
    return all(rule.project_ids and set(rule.project_ids) <= set(project_ids) for rule in found)


def without_start(rules: Iterable[Rule]) -> tuple[tuple[Rule, ...], tuple[NarrowedRule, ...]]:
    """The same rules without start and create, and what that takes away."""
    after: list[Rule] = []
    revoked: list[NarrowedRule] = []
    for rule in rules:
        remaining = _narrow_rule(rule)
        if remaining != rule:
            revoked.append(NarrowedRule(rule, remaining))
        if remaining is not None:
            after.append(remaining)
    return tuple(after), tuple(revoked)


def _narrow_rule(rule: Rule) -> Rule | None:
    """What is left of a rule; None where nothing is."""
    kept = {name for name in rule.sets if name not in REVOKED_SETS and name not in NARROWER_SETS}
    for name in rule.sets:
        kept |= set(NARROWER_SETS.get(name, ()))
    if kept == set(rule.sets):
        return rule
    scope = (rule.project_ids, rule.organization_id, rule.condition)
    return Rule(tuple(sorted(kept)), *scope) if kept else None


def restore_rules(current: Iterable[Rule], revoked: Iterable[NarrowedRule]) -> tuple[Rule, ...]:
    """The rules as they are now, with what was taken put back where it is missing.

    A rule that nobody touched becomes what it was. Where it was changed or removed in
    between, the sets that were taken come back as a rule of their own.
    """
    rules = list(current)
    for each in revoked:
        missing = tuple(name for name in each.removed_sets if not _is_given(name, each.rule, rules))
        if not missing:
            continue
        if each.remaining is not None and each.remaining in rules:
            rules[rules.index(each.remaining)] = each.rule
        else:
            was = each.rule
            rules.append(Rule(missing, was.project_ids, was.organization_id, was.condition))
    return tuple(rules)


def _is_given(name: str, wanted: Rule, rules: Iterable[Rule]) -> bool:
    """Whether a set is there in every project where a rule had it, under its condition."""
    reach = {
        project_id
        for rule in rules
        if name in rule.sets and rule.condition == wanted.condition
        for project_id in rule.project_ids
    }
    return set(wanted.project_ids) <= reach


def rules_to_text(rules: Iterable[Rule]) -> str:
    """Rules as JSON text, for the book and for a person."""
    return json.dumps([asdict(rule) for rule in rules], sort_keys=True)


def rules_from_text(text: str) -> tuple[Rule, ...]:
    """Rules from what `to_text` wrote."""
    return tuple(_rule(raw) for raw in json.loads(text))


def revoked_to_text(revoked: Iterable[NarrowedRule]) -> str:
    """What was taken, as JSON text."""
    return json.dumps([asdict(each) for each in revoked], sort_keys=True)


def revoked_from_text(text: str) -> tuple[NarrowedRule, ...]:
    """What was taken, from what `taken_text` wrote."""
    return tuple(
        NarrowedRule(_rule(raw["rule"]), _rule(raw["remaining"]) if raw["remaining"] else None)
        for raw in json.loads(text)
    )


def _rule(raw: dict[str, object]) -> Rule:
    sets, projects = raw["sets"], raw["project_ids"]
    assert isinstance(sets, list) and isinstance(projects, list), "as to_text writes them"
    organization_id, condition = str(raw["organization_id"]), str(raw["condition"])
    return Rule(tuple(sets), tuple(projects), organization_id, condition)

"""Narrowing: the rules without the permission to start servers, and how they are restored.

Closing removes the permission to start and create servers from the startup's own policies. A policy
is its own if every rule that gives this permission names only the startup's projects. Restoring is
a three-way merge: revoked permissions come back, and rules that people added stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

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
"""What replaces a broader set while a startup is closed. It is less than the broad set without
start and create: volumes, images and addresses can be read, but not changed."""
BROAD_SETS = frozenset({"AllProductsFullAccess"})
"""Sets that also start servers, and that no list of narrower sets can replace."""
START_SETS = REVOKED_SETS | frozenset(NARROWER_SETS) | BROAD_SETS
KEEP_TAG = "cohortd-keep"
"""cohortd never changes a policy with this tag."""


@dataclass(frozen=True, slots=True)
class NarrowedRule:
    """A rule as it was, and its rest while the startup is closed."""

    rule: Rule
    remaining: Rule | None

    @property
    def removed_sets(self) -> tuple[str, ...]:
        """The permission sets that were removed."""
        remaining = self.remaining.sets if self.remaining else ()
        return tuple(name for name in self.rule.sets if name not in remaining)


@dataclass(frozen=True, slots=True)
class RevokedRules:
    """The rules revoked from one policy, recorded before they are revoked."""

    startup: str
    policy_id: str
    policy_name: str
    before: tuple[Rule, ...]
    revoked: tuple[NarrowedRule, ...]
    recorded_s: int
    state: str = "revoked"
    ended_s: int | None = None
    outcome: str = ""
    id: int | None = None

    @property
    def project_ids(self) -> frozenset[str]:
        """The projects of the revoked rules."""
        return frozenset(id for each in self.revoked for id in each.rule.project_ids)


def successor_of(
    startup: str, project_ids: Collection[str], projects: Mapping[str, Collection[str]]
) -> str:
    """The startup that gets revoked rules back: the present owner of all their projects.

    A project may pass to another startup while its rules are revoked.
    """
    owners = (name for name in sorted(projects) if set(project_ids) <= set(projects[name]))
    return next(owners, startup) if project_ids else startup


def start_rules(rules: Iterable[Rule]) -> list[Rule]:
    """The rules that permit to start or create servers."""
    return [rule for rule in rules if START_SETS.intersection(rule.sets)]


def is_own(policy: Policy, project_ids: Collection[str]) -> bool:
    """Whether a policy is a startup's own: it permits starts in these projects only."""
    found = start_rules(policy.rules)
    if not found or not policy.is_editable or KEEP_TAG in policy.tags:
        return False
    return all(rule.project_ids and set(rule.project_ids) <= set(project_ids) for rule in found)


def without_start(rules: Iterable[Rule]) -> tuple[tuple[Rule, ...], tuple[NarrowedRule, ...]]:
    """The same rules without start and create, and the rules that change."""
    narrowed = [NarrowedRule(rule, _narrow_rule(rule)) for rule in rules]
    after = tuple(each.remaining for each in narrowed if each.remaining is not None)
    return after, tuple(each for each in narrowed if each.remaining != each.rule)


def _narrow_rule(rule: Rule) -> Rule | None:
    """The rest of a rule; None if nothing is left."""
    sets = set(rule.sets)
    kept = sets - REVOKED_SETS - NARROWER_SETS.keys()
    kept |= {each for name in sets for each in NARROWER_SETS.get(name, ())}
    if kept == sets:
        return rule
    return replace(rule, sets=tuple(sorted(kept))) if kept else None


def restore_rules(current: Iterable[Rule], revoked: Iterable[NarrowedRule]) -> tuple[Rule, ...]:
    """The present rules, with the revoked sets added where they are missing.

    An untouched rule becomes what it was. If somebody changed or removed a rule in between, its
    revoked sets come back as a rule of their own.
    """
    rules = list(current)
    for each in revoked:
        missing = tuple(name for name in each.removed_sets if not _is_given(name, each.rule, rules))
        if not missing:
            continue
        if each.remaining is not None and each.remaining in rules:
            rules[rules.index(each.remaining)] = each.rule
        else:
            rules.append(replace(each.rule, sets=missing))
    return tuple(rules)


def _is_given(name: str, wanted: Rule, rules: Iterable[Rule]) -> bool:
    """Whether the rules give a set in every project of a rule, under its condition."""
    giving = (r for r in rules if name in r.sets and r.condition == wanted.condition)
    return set(wanted.project_ids) <= {id for rule in giving for id in rule.project_ids}


def rules_to_text(rules: Iterable[Rule]) -> str:
    """Rules as JSON text, for the book and for a person."""
    return json.dumps([asdict(rule) for rule in rules], sort_keys=True)


def rules_from_text(text: str) -> tuple[Rule, ...]:
    """Rules from the text of `rules_to_text`."""
    return tuple(_rule(raw) for raw in json.loads(text))


def revoked_to_text(revoked: Iterable[NarrowedRule]) -> str:
    """Revoked rules as JSON text."""
    return json.dumps([asdict(each) for each in revoked], sort_keys=True)


def revoked_from_text(text: str) -> tuple[NarrowedRule, ...]:
    """Revoked rules from the text of `revoked_to_text`."""
    return tuple(
        NarrowedRule(_rule(raw["rule"]), _rule(raw["remaining"]) if raw["remaining"] else None)
        for raw in json.loads(text)
    )


def _rule(raw: dict[str, Any]) -> Rule:
    return Rule(**{**raw, "sets": tuple(raw["sets"]), "project_ids": tuple(raw["project_ids"])})

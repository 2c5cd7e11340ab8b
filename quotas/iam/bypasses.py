"""Bypasses: principals that can start servers for a closed startup, each by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from quotas.iam.narrowing import BROAD_SETS, START_SETS, is_own
from quotas.iam.policies import Policy, Principal, Rule

SELF_GRANTING = frozenset(
    {
        "IAMApplicationManager",
        "IAMGroupManager",
        "IAMManager",
        "IAMPolicyManager",
        "OrganizationManager",
    }
)
"""Sets whose holder can give any permission to itself, or to a key that it creates."""
OTHER_PRODUCT_SETS = frozenset({"InferenceFullAccess", "KubernetesFullAccess"})
"""Sets that start GPUs through a product other than Instances."""


@dataclass(frozen=True, slots=True)
class Bypass:
    """A principal that can start servers for a closed startup, and how.

    `is_startups` is true for a startup's own policy, which should be corrected. It is false for a
    policy of the organization, which the operator has to know.
    """

    who: str
    how: str
    is_startups: bool


def bypasses(
    policies: Iterable[Policy],
    principals: Iterable[Principal],
    projects: Mapping[str, Collection[str]],
) -> tuple[Bypass, ...]:
    """Every principal that can start servers for one of these startups while it is closed.

    `projects` are the projects of each startup by name. The result is sorted, with one entry for
    each way.
    """
    known = {each.id: each for each in principals}
    found = {
        Bypass(_named(each), "owns the organization and may do everything in it", False)
        for each in known.values()
        if each.is_owner
    }
    for policy in policies:
        if policy.holder_id:
            who = _holder(policy, known)
            found |= {Bypass(who, how, own) for how, own in _ways(policy, projects)}
    return tuple(sorted(found, key=lambda each: (each.who, each.how)))


def _ways(policy: Policy, projects: Mapping[str, Collection[str]]) -> Iterable[tuple[str, bool]]:
    granting = sorted({name for rule in policy.rules for name in SELF_GRANTING & set(rule.sets)})
    if granting:
        yield f"can grant itself any permission: {', '.join(granting)} in {policy.name}", False
    reached: dict[tuple[tuple[str, ...], bool], list[str]] = defaultdict(list)
    for startup, own in sorted(projects.items()):
        is_mine = is_own(policy, own)
        # Closing removes START_SETS from an own policy, so only its other sets are a bypass.
        names = (BROAD_SETS if is_mine else START_SETS) | OTHER_PRODUCT_SETS
        left = {name for rule in policy.rules if _reaches(rule, own) for name in rule.sets}
        if left & names:
            only = all(
                rule.project_ids and set(rule.project_ids) <= set(own) for rule in policy.rules
            )
            reached[tuple(sorted(left & names)), is_mine or only].append(startup)
    for (sets, is_mine), startups in reached.items():
        how = f"keeps {', '.join(sets)} in {policy.name}, which reaches {', '.join(startups)}"
        yield how, is_mine


def _reaches(rule: Rule, project_ids: Collection[str]) -> bool:
    return bool(rule.organization_id) or bool(set(rule.project_ids) & set(project_ids))


def _holder(policy: Policy, known: Mapping[str, Principal]) -> str:
    holder = known.get(policy.holder_id)
    if holder is None:
        return f"{policy.holder_kind} {policy.holder_id}"
    members = sorted(_named(known[each]) for each in holder.members if each in known)
    return _named(holder) + (f" with {', '.join(members)}" if members else "")


def _named(principal: Principal) -> str:
    return f"{principal.kind} {principal.name}"

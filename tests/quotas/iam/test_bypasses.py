"""Principals that a closing does not reach, by name and reason."""

from __future__ import annotations

from quotas.iam.bypasses import Bypass, bypasses
from quotas.iam.policies import Policy, Principal, Rule

PROJECTS = {"acme": ("p-acme",), "birch": ("p-birch",)}
OWNER = Principal("user", "u1", "owner@example.com", is_owner=True)
APP = Principal("application", "a1", "deployer")
GROUP = Principal("group", "g1", "ops", members=("u2", "a1"))
MEMBER = Principal("user", "u2", "ann@example.com")


def held(by: Principal, *rules: Rule, name: str = "policy") -> Policy:
    """A policy of a principal."""
    return Policy("p1", name, by.kind, by.id, rules)


def found(*policies: Policy) -> list[tuple[str, str, bool]]:
    """The ways round these policies leave, owners apart."""
    every = bypasses(policies, (OWNER, APP, GROUP, MEMBER), PROJECTS)
    assert every.count(next(each for each in every if "owner@" in each.who)) == 1
    return [(b.who, b.how, b.is_startups) for b in every if "owner@" not in b.who]


def test_an_owner_is_always_a_way_round() -> None:
    """Even with no policy at all, and even when no name but theirs could be read."""
    how = "owns the organization and may do everything in it"
    assert bypasses((), (OWNER,), PROJECTS) == (Bypass("user owner@example.com", how, False),)
    assert bypasses((), (), PROJECTS) == ()


def test_what_closing_takes_is_no_way_round() -> None:
    """A startup's own policy that can be narrowed is not named, and neither is reading."""
    assert not found(held(APP, Rule(("InstancesFullAccess",), ("p-acme",))))
    assert not found(held(APP, Rule(("InstancesReadOnly",), (), "org")))


def test_a_set_that_cannot_be_narrowed_is_the_startups_to_mend() -> None:
    """AllProductsFullAccess in its own project stays: named as the startup's own."""
    ((who, how, own),) = found(held(APP, Rule(("AllProductsFullAccess",), ("p-acme",))))
    assert who == "application deployer" and own
    assert how == "keeps AllProductsFullAccess in policy, which reaches acme"


def test_a_policy_over_several_projects_is_named_with_whom_it_reaches() -> None:
    """An operator's policy, by project or for the organization: once, with every startup."""
    rule = Rule(("InstancesServerStart",), ("p-acme", "p-birch"))
    ((who, how, own),) = found(held(GROUP, rule, name="ops"))
    assert who == "group ops with application deployer, user ann@example.com" and not own
    assert how == "keeps InstancesServerStart in ops, which reaches acme, birch"
    wide = found(held(GROUP, Rule(("InstancesServerStart",), (), "org"), name="ops"))
    assert wide == [(who, how, False)]


def test_who_can_grant_permissions_is_named() -> None:
    """IAMManager and the like: any other permission is a step away."""
    ((_, how, own),) = found(held(APP, Rule(("IAMManager",), (), "org")))
    assert how == "can grant itself any permission: IAMManager in policy" and not own


def test_other_products_that_start_gpus_are_named() -> None:
    """Kubernetes and managed inference create GPU servers that no rule of Instances stops."""
    ((_, how, _),) = found(held(APP, Rule(("KubernetesFullAccess",), ("p-acme",))))
    assert "KubernetesFullAccess" in how


def test_a_holder_that_could_not_be_read_is_named_by_its_id() -> None:
    """Without the permission to list applications, its id stands for the name."""
    policy = held(APP, Rule(("IAMManager",), (), "org"))
    assert bypasses((policy,), (), PROJECTS)[0].who == "application a1"
    nobody = Policy("p1", "spare", "", "", policy.rules)
    assert bypasses((nobody,), (), PROJECTS) == ()

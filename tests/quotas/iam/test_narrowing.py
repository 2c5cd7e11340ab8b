"""What closing revokes; restoring is exact, idempotent, and keeps manual edits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.iam.narrowing import (
    KEEP_TAG,
    NARROWER_SETS,
    REVOKED_SETS,
    is_own,
    restore_rules,
    revoked_from_text,
    revoked_to_text,
    rules_from_text,
    rules_to_text,
    start_rules,
    without_start,
)
from quotas.iam.policies import Policy, Rule

MINE, OTHER = "p-mine", "p-other"
SETS = (
    *sorted(REVOKED_SETS),
    *NARROWER_SETS,
    "InstancesReadOnly",
    "InstancesServerStop",
    "ObjectStorageReadOnly",
)
rules = st.builds(
    Rule,
    st.lists(st.sampled_from(SETS), min_size=1, unique=True).map(
        lambda names: tuple(sorted(names))
    ),
    st.lists(st.sampled_from((MINE, "p-mine-2")), min_size=1, unique=True).map(
        lambda ids: tuple(sorted(ids))
    ),
    st.just(""),
    st.sampled_from(("", "request.ip == '192.0.2.1'")),
)
policies = st.lists(rules, max_size=5).map(tuple)


def a_policy(*of: Rule, **changes: object) -> Policy:
    """A policy of an application with these rules."""
    made = Policy("policy-1", "acme", "application", "app-1", of)
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of a Policy


def reach(of: tuple[Rule, ...]) -> set[tuple[str, str, str]]:
    """Every permission set in every project under every condition; broad ones with their parts."""
    return {
        (part, project, rule.condition)
        for rule in of
        for name in rule.sets
        for part in (name, *NARROWER_SETS.get(name, ()))
        for project in rule.project_ids
    }


@given(policies)
def test_narrowing_takes_start_and_create_and_nothing_else(before: tuple[Rule, ...]) -> None:
    """No rule starts servers afterwards; a set that starts none stays where it was."""
    after, revoked = without_start(before)
    assert not start_rules(after)
    harmless = {
        each
        for each in reach(before)
        if each[0] not in REVOKED_SETS and each[0] not in NARROWER_SETS
    }
    assert harmless <= reach(after)
    assert bool(revoked) == bool(start_rules(before))
    assert without_start(after) == (after, ())


@given(policies)
def test_giving_back_restores_exactly_what_was_there(before: tuple[Rule, ...]) -> None:
    """Nobody touched the rules: the same permissions as before, and twice changes nothing."""
    after, revoked = without_start(before)
    back = restore_rules(after, revoked)
    assert reach(back) == reach(before) and restore_rules(back, revoked) == back


def test_untouched_rules_come_back_as_they_were() -> None:
    """Rule by rule, in their order, where no two of them overlap."""
    before = (
        Rule(("InstancesFullAccess",), (MINE,)),
        Rule(("InstancesServerStart", "ObjectStorageReadOnly"), ("p-mine-2",)),
    )
    after, revoked = without_start(before)
    assert restore_rules(after, revoked) == before


@given(policies, policies, policies)
def test_what_people_did_in_between_is_kept(
    before: tuple[Rule, ...], added: tuple[Rule, ...], instead: tuple[Rule, ...]
) -> None:
    """Rules added, and rules put in place of ours: all there, and what was taken is back too."""
    after, revoked = without_start(before)
    for current in (after + added, instead):
        back = restore_rules(current, revoked)
        assert reach(back) >= reach(current)
        removed_sets = {
            (name, project, each.rule.condition)
            for each in revoked
            for name in each.removed_sets
            for project in each.rule.project_ids
        }
        assert removed_sets <= reach(back)
        assert restore_rules(back, revoked) == back


def test_a_rule_deleted_by_a_person_returns_only_what_was_taken() -> None:
    """The rest of the rule is theirs to remove: start comes back, reading does not."""
    _, revoked = without_start((Rule(("InstancesReadOnly", "InstancesServerStart"), (MINE,)),))
    assert restore_rules((), revoked) == (Rule(("InstancesServerStart",), (MINE,)),)


def test_a_wider_or_conditional_rule_of_a_person_does_not_stand_in_for_ours() -> None:
    """They may take theirs away again: what was taken is put back beside it."""
    mine = Rule(("InstancesServerStart",), (MINE,))
    _, revoked = without_start((mine,))
    for theirs in (
        Rule(mine.sets, (), "org"),
        Rule(mine.sets, (MINE,), "", "request.ip == '192.0.2.1'"),
    ):
        assert restore_rules((theirs,), revoked) == (theirs, mine)


def test_the_book_keeps_rules_exactly() -> None:
    """Text and back: rules, and what was taken, with and without something left."""
    before = (
        Rule(("InstancesFullAccess",), (MINE,), "", "request.ip == '192.0.2.1'"),
        Rule(("InstancesServerStart",), (MINE, OTHER)),
        Rule(("IAMReadOnly",), (), "org"),
    )
    _, revoked = without_start(before)
    assert rules_from_text(rules_to_text(before)) == before
    assert revoked_from_text(revoked_to_text(revoked)) == revoked and revoked[1].remaining is None


@pytest.mark.parametrize(
    ("policy", "own"),
    [
        (a_policy(Rule(("InstancesServerStart",), (MINE,))), True),
        (a_policy(Rule(("InstancesFullAccess",), (MINE,)), Rule(("IAMReadOnly",), (), "o")), True),
        (a_policy(Rule(("InstancesServerStart",), (MINE, OTHER))), False),
        (a_policy(Rule(("InstancesServerStart",), (), "org")), False),
        (a_policy(Rule(("InstancesReadOnly",), (MINE,))), False),
        (a_policy(Rule(("InstancesServerStart",), (MINE,)), tags=(KEEP_TAG,)), False),
        (a_policy(Rule(("InstancesServerStart",), (MINE,)), is_editable=False), False),
        (
            a_policy(
                Rule(("InstancesServerStart",), (MINE,)), Rule(("InstancesServerStart",), (OTHER,))
            ),
            False,
        ),
    ],
)
def test_whose_a_policy_is(policy: Policy, *, own: bool) -> None:
    """A startup's where all that it starts is in the startup's projects, and it may be edited."""
    assert is_own(policy, {MINE}) is own

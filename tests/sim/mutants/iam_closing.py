"""Mutants of closing by IAM: records, revoked and restored rules, and the second look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.iam import closing as rules_of_closing
from quotas.iam.narrowing import start_rules
from quotas.model.units import DAY_S, HOUR_S
from scheduler.act import access

from ..scenario.events import HAND, NAMES, Event
from ..scenario.script import Script
from .registry import mutant_of


def closed_by_override(script: Script) -> Script:
    """An operator closes each startup that has credits for a day and a half; people edit rules."""
    events = [e for e in script.events if e.who not in (HAND, "operator")]
    for number, name in enumerate(NAMES):
        at_s = script.start_s + (1 + number) * DAY_S
        events.append(Event(at_s, HAND, "level", (name, "closed", 36 * HOUR_S)))
        add = ("add", (name, "ObjectStorageFullAccess"))
        give = ("give", (name, "InstancesServerStart"))
        for after_s, (verb, args) in ((3 * HOUR_S, add), (9 * HOUR_S, give)):
            events.append(Event(at_s + after_s, HAND, verb, args))
    return replace(
        script,
        iam=True,
        mode="enforce",
        windows=(),
        dice={},
        hasty=0.0,
        credits=((90_000, 90_000),) * len(NAMES),
        events=tuple(sorted(events, key=lambda e: e.at_s)),
    )


def passes_on(script: Script) -> Script:
    """The project of a closed startup passes to an open one."""
    script = closed_by_override(script)
    at_s = script.start_s + 3 * DAY_S
    events = (
        Event(at_s, HAND, "level", ("delta", "closed", script.healed_s - at_s)),
        Event(at_s + DAY_S, "operator", "pass"),
    )
    kept = [e for e in script.events if e.args[:1] != ("delta",)]
    return replace(script, events=tuple(sorted((*kept, *events), key=lambda e: e.at_s)))


@mutant_of(sql=True, needs=closed_by_override)
def rules_are_revoked_before_they_are_recorded(patch: pytest.MonkeyPatch) -> None:
    """A policy is narrowed before its rules are recorded."""
    patch.setattr(access, "record_revocation", lambda *_: None)


@mutant_of(sql=True, needs=closed_by_override)
def reopening_forgets_a_rule(patch: pytest.MonkeyPatch) -> None:
    """The last of the rules that were revoked from a policy is not restored."""
    right = access.restore_rules
    patch.setattr(access, "restore_rules", lambda now, revoked: right(now, list(revoked)[:-1]))


@mutant_of(sql=True, needs=closed_by_override)
def reopening_overwrites(patch: pytest.MonkeyPatch) -> None:
    """Restoring sets a policy to the revoked rules alone, whatever people changed meanwhile."""
    patch.setattr(access, "restore_rules", lambda _, revoked: tuple(each.rule for each in revoked))


@mutant_of(sql=True, needs=closed_by_override)
def any_policy_that_reaches_a_project_is_narrowed(patch: pytest.MonkeyPatch) -> None:
    """A policy counts as a startup's if any one of its rules names the startup's project."""

    def wrong(policy: Any, own: Any) -> bool:
        return any(set(rule.project_ids) & set(own) for rule in start_rules(policy.rules))

    patch.setattr(access, "is_own", wrong)


@mutant_of(sql=True, needs=closed_by_override)
def closed_rules_are_never_read_again(patch: pytest.MonkeyPatch) -> None:
    """A rule that a person gives back to a closed startup is not revoked again."""
    patch.setattr(rules_of_closing, "RECHECK_AFTER_S", 10**9)


@mutant_of(sql=True, needs=passes_on)
def revoked_rules_never_pass_on(patch: pytest.MonkeyPatch) -> None:
    """Rules stay revoked in a project whose new owner is open."""
    for module in (access, rules_of_closing):
        patch.setattr(module, "successor_of", lambda startup, *_: startup)

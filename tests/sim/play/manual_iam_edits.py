"""Manual IAM edits: the policies of a play, and what people do to them, as data.

Each startup has the policy that its project was created with, and some have another one. A few
policies belong to several startups; cohortd must not touch those. Only plays with a key for IAM
see any policy.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from quotas.iam.policies import Rule

from ..scenario.events import NAMES, Event
from ..scenario.iam_edits import OTHER, STARTING, edit_of
from .iam import Organization, Rules, specs_of

JOINS = "fir"


class ManualIamEdits:
    """The people who edit policies, and the policies that they find."""

    def __init__(self, organization: Organization, seed: int, until_s: int) -> None:
        self.organization, self.until_s = organization, until_s
        self._rng = random.Random(f"{seed}/hasty edits")
        self._add_policies(random.Random(f"{seed}/policies"))
        organization.begin()

    def _add_policies(self, rng: random.Random) -> None:
        """Policies beyond those that projects are created with."""
        region = self.organization.region
        project_of = region.project_of
        holder = {p.id: region.iam.key(p.secret_key) for p in region.projects}

        def add(name: str, whose: str, *rules: Rule, tags: tuple[str, ...] = ()) -> None:
            key = holder[project_of[whose]]
            assert key is not None
            region.iam.add_policy(name, key.bearer_id, specs_of(rules), region.now_s, tags)

        for name in (*NAMES, JOINS):
            own = (project_of[name],)
            wide, part = Rule(STARTING[:1], own), Rule((*STARTING[1:], "InstancesServerStop"), own)
            when = replace(part, condition="request.ip == '192.0.2.1'")
            plain = Rule(OTHER[:1], own)
            drawn = rng.choice([(), (wide,), (plain, part), (wide, when, plain), (part, part)])
            if drawn:
                add(f"{name}-ops", name, *drawn)
        acme, cedar, delta, elder = (project_of[n] for n in ("acme", "cedar", "delta", "elder"))
        everywhere = Rule(STARTING[:1], (), region.organization_id)
        add("platform", "stranger", Rule(STARTING[:1], (acme, project_of["birch"])))
        add("everywhere", "stranger", everywhere)
        add("kept", "stranger", Rule(STARTING[1:], (cedar,)), tags=("cohortd-keep",))
        add("mixed", "stranger", Rule(STARTING[:1], (delta,)), Rule(STARTING[1:2], (elder,)))

    def hasty(self, policy_id: str, at_s: int) -> Event | None:
        """A person notices that a policy was narrowed, and edits it."""
        if at_s >= self.until_s:
            return None
        return edit_of(self._rng, self.organization.names[policy_id], at_s)

    def does(self, event: Event) -> None:
        """Carry out the event, if the policy still exists."""
        name, *args = event.args
        policy_id = self.organization.named(name)
        if policy_id is None:
            return
        rules = self.organization.rules(policy_id)
        after = getattr(self, f"_{event.verb}")(policy_id, rules, *args)
        if after != rules:
            self.organization.edit(policy_id, after)

    def _give(self, policy_id: str, rules: Rules, name: str) -> Rules:
        """Add a permission set in the policy's projects."""
        scope = self.organization.first[policy_id][0]
        return (*rules, replace(scope, sets=(name,), condition=""))

    _add = _give

    def _take(self, _: str, rules: Rules, number: int) -> Rules:
        """Remove one rule."""
        gone = number % len(rules) if rules else 0
        return rules[:gone] + rules[gone + 1 :]

    def _trim(self, _: str, rules: Rules, number: int) -> Rules:
        """Remove one permission set from a rule with several."""
        return tuple(
            replace(rule, sets=rule.sets[:number] + rule.sets[number + 1 :])
            if len(rule.sets) > 1
            else rule
            for rule in rules
        )

    def _restore(self, policy_id: str, _: Iterable[Rule]) -> Rules:
        """Set the rules as they were at first."""
        return self.organization.first[policy_id]

    def _delete(self, _: str, __: Rules) -> None:
        """Delete the policy."""

    def _widen(self, _: str, rules: Rules, other: str) -> Rules:
        """Let the policy start servers of another startup too."""
        return (*rules, Rule(STARTING[1:2], (self.organization.region.project_of[other],)))

"""IAM: closing revokes only start permissions, records them first, and gives all of them back.

The simulator's permission sets say what a rule lets a principal do. The programs as they were
applied say whose a policy is. The auditor does not use `quotas.iam.narrowing`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quotas.iam.policies import Rule
from simulator.world.iam.permission_sets import PERMISSION_SETS

from ..play.iam import US, Change, Rules
from ..scenario.events import HAND
from .evidence import Evidence, Row
from .metering import SLOW_S

Right = tuple[str, str, str]
"""A permission (or an unknown set), its scope, and its condition."""
STARTS = ("server:start", "server:create")
SHUT = ("closed", "stopped")
N = 3
AGAIN_S = 3_660
"""Rules of a closed startup are read each hour, and at the next cycle after that."""


def rights(rules: Iterable[Rule]) -> set[Right]:
    """Everything that some rules let their holder do."""
    return {
        (what, where, rule.condition)
        for rule in rules
        for name in rule.sets
        for what in (PERMISSION_SETS[name][1] or {name})
        for where in (rule.project_ids or (rule.organization_id,))
    }


def _starts(rule: Rule) -> bool:
    return any(what in STARTS for what, _, _ in rights([rule]))


def iam(found: Evidence) -> Iterator[str]:
    """Every change by cohortd that was not allowed, and every change that it owed."""
    if not found.organization.first:
        return
    yield from changes(found)
    if found.script.mode == "enforce":
        yield from _standing(found)
    yield from _kept(found)
    yield from _looks_apart(found)


def changes(found: Evidence) -> Iterator[str]:
    """Every change of a policy that was wrong when it was made."""
    for change in found.organization.log:
        if change.by != US:
            continue
        found.judged["IAM"] += 1
        name = f"{found.organization.names[change.policy_id]} at {change.at_s}"
        if found.script.mode != "enforce":
            yield f"IAM {name} was changed in {found.script.mode} mode"
        if change.before != change.read and change.at_s - change.read_s > SLOW_S:
            yield f"IAM {name} was overwritten, and was read at {change.read_s}"
        after = change.after or ()
        lost = rights(change.read) - rights(after)
        gained = rights(after) - rights(change.read)
        yield from _taken(found, change, lost, name)
        yield from _given(found, change, gained, name)
        yield from _left_alone(change, name)


def _taken(found: Evidence, change: Change, lost: set[Right], name: str) -> Iterator[str]:
    """I13: only start and create permissions of closed startups are revoked, after a record."""
    if not lost:
        return
    if any(what not in STARTS for what, _, _ in lost):
        yield f"IAM {name} lost more than start and create: {sorted(lost)}"
    found.judged.update(("I13", "I21"))
    owners = _owners(found, change.read, change.now_s)
    if not owners or change.policy_id in found.organization.tagged:
        yield f"I13 {name} was narrowed, and is no startup's own"
        return
    if not any(_asked(found, "close", who, change) for who in owners):
        yield f"I21 {name} was narrowed, and nobody asked to close {sorted(owners)}"
    recorded = _recorded(change.revoked_rules, change.policy_id)
    if not lost <= recorded:
        yield f"IAM {name} lost what was not recorded before: {sorted(lost - recorded)}"


def _given(found: Evidence, change: Change, gained: set[Right], name: str) -> Iterator[str]:
    """A startup that is reopened gets exactly the revoked rules back."""
    if not gained:
        return
    found.judged["I21"] += 1
    recorded = _recorded(change.revoked_rules, change.policy_id)
    if not gained <= recorded:
        yield f"IAM {name} was given what was never taken: {sorted(gained - recorded)}"
    own = [row for row in change.revoked_rules if row["policy_id"] == change.policy_id]
    names = set()
    for row in own:  # each record by itself: a policy may have been one startup's, then another's
        taken = tuple(_rule(each["rule"]) for each in json.loads(row["revoked"]))
        names |= _owners(found, taken, change.now_s) or {row["startup"]}
    if not any(_asked(found, "reopen", who, change) for who in names):
        yield f"I21 {name} was given back, and nobody asked to reopen {sorted(names)}"


def _left_alone(change: Change, name: str) -> Iterator[str]:
    """Rules that start nothing stay, also rules that a person added in the meantime."""
    own = [row for row in change.revoked_rules if row["policy_id"] == change.policy_id]
    taken = [each for row in own for each in json.loads(row["revoked"])]
    lefts = [_rule(each["remaining"]) for each in taken if each["remaining"]]
    for rule in change.read:
        if rule not in (change.after or ()) and not _starts(rule) and rule not in lefts:
            yield f"IAM {name} lost a rule that starts nothing: {rule}"


def _asked(found: Evidence, action: str, startup: str, change: Change) -> bool:
    """Whether an intent of that action was open when a change was made."""
    return any(
        intent["action"] == action
        and intent["startup"] == startup
        and intent["decided_s"] - SLOW_S <= change.now_s
        and change.now_s <= min(intent["not_after_s"], intent["ended_s"] or found.now_s) + SLOW_S
        for intent in found.intents
    )


def _recorded(rows: Iterable[Mapping[str, Any]], policy_id: str) -> set[Right]:
    """Everything allowed by the rules that the book says are revoked from a policy."""
    return rights(
        _rule(each["rule"])
        for row in rows
        if row["policy_id"] == policy_id and row["state"] == "revoked"
        for each in json.loads(row["revoked"])
    )


def _rule(raw: Mapping[str, Any]) -> Rule:
    where = (tuple(raw["project_ids"]), str(raw["organization_id"]), str(raw["condition"]))
    return Rule(tuple(raw["sets"]), *where)


def _owners(found: Evidence, rules: Rules, at_s: int) -> set[str]:
    """The only owner of what these rules start, by the programs at that time; empty for nobody."""
    starting = [rule for rule in rules if _starts(rule)]
    if not starting or any(not rule.project_ids for rule in starting):
        return set()
    projects = {project for rule in starting for project in rule.project_ids}
    names = set()
    for program in _programs(found, at_s):
        owners = {_owner(program, project, at_s) for project in projects}
        names |= owners if len(owners) == 1 else set()
    return names - {""}


def _owner(program: Any, project: str, at_s: int) -> str:
    """The member that a project belongs to; an empty string if it belongs to nobody."""
    owner = program.owner(project, at_s)
    return owner.name if owner is not None and program.startup(owner.name) else ""


def _programs(found: Evidence, at_s: int) -> list[Any]:
    """The programs in force at an instant, and a slow cycle before it."""
    past = [program for from_s, program in found.programs if from_s <= at_s - SLOW_S]
    return past[-1:] + [p for from_s, p in found.programs if at_s - SLOW_S < from_s <= at_s]


def _standing(found: Evidence) -> Iterator[str]:
    """After some clean cycles a closed startup can start nothing, and an open one has all back."""
    truth = _Truth(found)
    streaks: dict[str, tuple[tuple[object, ...], int, int]] = {}
    for look in found.cycle_records:
        truth.play(look.changes)
        clean = look.is_clean and not _maintained(found, look.now_s)
        program = _programs(found, look.now_s)[-1] if clean else None
        for startup in program.startups() if program else ():
            level = look.levels.get(startup.name, "")
            own = tuple(t.project_id for t in startup.projects if t.holds_at(look.now_s))
            kind = (level in SHUT, own, len(found.programs))
            before, since_s, count = streaks.get(startup.name, ((), 0, 0))
            if before != kind:
                since_s, count = look.at_s, 0
            streaks[startup.name] = (kind, since_s, count + 1)
            if level and count + 1 >= N and look.at_s >= since_s + AGAIN_S:
                found.judged["IAM"] += 1
                yield from truth.wrong(startup.name, own, look.at_s, is_shut=level in SHUT)
        if not clean:
            streaks.clear()


def _maintained(found: Evidence, now_s: int) -> bool:
    """Whether maintenance of everything forbids any call."""
    return any(
        override.family == "maintenance" and override.at_s <= now_s <= (override.until_s or now_s)
        for override in found.overrides
    )


class _Truth:
    """The policies after a number of changes, and what cohortd owes of each."""

    def __init__(self, found: Evidence) -> None:
        self.found = found
        self.rules = dict(found.organization.first)
        self.owed: dict[str, set[Right]] = defaultdict(set)
        self.edited_s: dict[str, int] = defaultdict(int)
        self._done = 0

    def play(self, until: int) -> None:
        """The changes up to the n-th, one after the other."""
        log = self.found.organization.log
        while self._done < until:
            change = log[self._done]
            self._done += 1
            id = change.policy_id
            has = rights(change.after or ())
            if change.by == US:
                # What a person added after our read is lost: IAM knows no compare-and-swap.
                self.owed[id] |= rights(change.read) & rights(change.before) - has
            else:
                self.edited_s[id] = change.at_s
            self.owed[id] -= has
            if change.after is None:
                self.owed.pop(id), self.rules.pop(id)
            else:
                self.rules[id] = change.after

    def wrong(
        self, startup: str, own: tuple[str, ...], at_s: int, *, is_shut: bool
    ) -> Iterator[str]:
        """What a closed startup may still start, or what an open startup still lacks."""
        for id, rules in self.rules.items():
            name = self.found.organization.names[id]
            starting = [rule for rule in rules if _starts(rule)]
            its = all(rule.project_ids and set(rule.project_ids) <= set(own) for rule in starting)
            free = id in self.found.organization.tagged or at_s < self.edited_s[id] + AGAIN_S
            if is_shut and starting and its and not free:
                yield f"IAM {startup} is closed at {at_s}, and {name} lets it start"
            owed = {right for right in self.owed[id] if right[1] in own}
            if not is_shut and owed:
                yield f"IAM {startup} is open at {at_s}, and {name} lacks {sorted(owed)}"


def _kept(found: Evidence) -> Iterator[str]:
    """The book still names every revoked rule that is owed."""
    truth = _Truth(found)
    truth.play(len(found.organization.log))
    for id, owed in truth.owed.items():
        forgotten = owed - _recorded(found.revoked_rules, id)
        if forgotten:
            yield f"IAM {found.organization.names[id]} lacks {sorted(forgotten)}, on no record"


def _looks_apart(found: Evidence) -> Iterator[str]:
    """Unchanged rules are read again after an hour, and not earlier."""
    last: dict[str, Row] = {}
    for intent in found.intents:
        if intent["action"] not in ("close", "reopen"):
            continue
        before = last.get(intent["startup"])
        last[intent["startup"]] = intent
        if before and before["action"] == intent["action"] == "close":
            found.judged["IAM"] += 1
            soon = intent["decided_s"] < before["ended_s"] + AGAIN_S - 60
            if before["state"] == "confirmed" and soon:
                yield f"IAM {intent['startup']} is closed again at {intent['decided_s']}"


def coverage_marks(found: Evidence) -> set[str]:
    """What happened between the daemon and IAM in this play."""
    log = found.organization.log
    seen = {f"closing {d['verb']}" for d in found.decisions if d["rule"] == "closing"}
    seen |= {"iam edited"} if any(c.by == HAND for c in log) else set()
    ours = [c for c in log if c.by == US]
    seen |= {"iam narrowed"} if any(rights(c.read) - rights(c.after or ()) for c in ours) else set()
    seen |= {"iam restored"} if any(rights(c.after or ()) - rights(c.read) for c in ours) else set()
    seen |= {"iam edit lost"} if any(c.before != c.read for c in ours) else set()
    return seen | {f"revoked {row['state']}" for row in found.revoked_rules}

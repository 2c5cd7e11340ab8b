"""Registry: every rule, in the order in which a cycle asks them.

Other modules read the attributes of a rule from here. To add a rule, write `rules/NAME.py`, list
it here, and add its messages, its test table and its row in docs/enforcement.md;
tests/quotas/rules/test_registry.py fails while one of them is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quotas.rules import (
    cohort_end,
    credits,
    deferral,
    expiry,
    limit,
    membership,
    operator,
    overuse,
    pace,
    reclaim,
    standby,
)
from quotas.rules.context import (
    OPEN,
    AnnouncementRule,
    Context,
    NoFacts,
    Restriction,
    Restricts,
    StopRule,
)

STOP_RULES: tuple[StopRule, ...] = (
    limit.RULE,
    credits.RULE,
    cohort_end.RULE,
    membership.RULE,
    operator.RULE,
    standby.RULE,
    reclaim.RULE,
)
ANNOUNCEMENT_RULES: tuple[AnnouncementRule, ...] = (
    credits.RUNWAY,
    cohort_end.END,
    expiry.RULE,
    pace.RULE,
    deferral.RULE,
    overuse.RULE,
)
ALL_RULES: tuple[StopRule | AnnouncementRule, ...] = (*STOP_RULES, *ANNOUNCEMENT_RULES)
STOP_BY_NAME: Mapping[str, StopRule] = {rule.name: rule for rule in STOP_RULES}
RULES: Mapping[str, StopRule | AnnouncementRule] = {rule.name: rule for rule in ALL_RULES}
RESTRICTING: tuple[str, ...] = ("membership", "operator", "cohort-end", "credits", "limit", "pace")
"""The rules that restrict startups: of equally strict restrictions the first wins."""
SNOOZABLE = frozenset(rule.name for rule in STOP_RULES if rule.snoozable)


def restricts(name: str) -> Restricts:
    """How the rule of that name restricts a startup. Raises KeyError where it does not."""
    found = RULES[name].restricts
    if found is None:
        raise KeyError(name)
    return found


def restriction_from(name: str, facts: Any) -> Restriction | None:
    """The restriction that a rule concludes from facts; None where they lead to none."""
    if isinstance(facts, NoFacts):
        return OPEN
    level = facts.imposes()
    return None if level is None else Restriction(name, level, facts)


def find_restriction(context: Context, startup: str, *, reads_shares: bool = True) -> Restriction:
    """The strictest restriction of a startup; without shares, of the rules that read none."""
    strictest = OPEN
    for name in RESTRICTING:
        rule = restricts(name)
        if rule.reads_shares and not reads_shares:
            continue
        facts = rule.find(context, startup)
        found = None if facts is None else restriction_from(name, facts)
        if found is not None and found.level.strictness > strictest.level.strictness:
            strictest = found
    return strictest


def edges(context: Context) -> Iterable[int]:
    """Instants at which a rule has something to say, whatever else happens."""
    for rule in ALL_RULES:
        yield from rule.edges(context)

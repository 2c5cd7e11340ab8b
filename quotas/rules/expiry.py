"""Expiry: announce credits that will expire unspent, a month, a week and a day before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.model.units import DAY_S
from quotas.rules.context import Announcement, AnnouncementRule, Context
from quotas.state.facts import DecisionFacts

ANNOUNCED_BEFORE_S = (30 * DAY_S, 7 * DAY_S, DAY_S)
"""How long ahead an expiry is announced: a month to plan a training run, then a week and a day.
An announcement moves nothing, and one that is longer than its grant falls away, so the three
fit every grant.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """The amount of a grant or tranche that expires, and when."""

    amount_ucr: int
    grant: str
    at_s: int
    now_s: int
    burn_ucr_per_h: int

    def holds(self) -> bool:
        """Whether an amount is left, and its expiry lies ahead."""
        return self.amount_ucr > 0 and self.now_s <= self.at_s


def find(context: Context) -> Iterable[Announcement]:
    """Expiries within a threshold newly passed.

    Each threshold is announced once for each grant or tranche, the nearest of several. A
    threshold that is longer than the grant itself announces nothing.
    """
    for name, balance in sorted(context.snapshot.balances.items()):
        for expiry in balance.expiries:
            left_s = expiry.at_s - context.now_s
            term_s = expiry.at_s - expiry.effective_s
            passed = [each for each in ANNOUNCED_BEFORE_S if left_s <= each < term_s]
            episode = f"expiry:{expiry.grant}:{min(passed, default=0)}"
            if passed and not context.was_announced(name, episode):
                burn = balance.burn_ucr_per_h
                facts = Facts.of(expiry, now_s=context.now_s, burn_ucr_per_h=burn)
                yield Announcement(name, episode, facts, expiry.at_s)


RULE = AnnouncementRule(name="expiry", facts=Facts, find=find)

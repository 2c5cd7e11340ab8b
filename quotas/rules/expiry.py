"""Expiry: announce what ends unless somebody acts: unspent credits, and tokens of the API.

Credits are announced a month, a week and a day before, tokens two weeks and a day before. A token
that ends unseen fails where nobody looks: in a pipeline, or on a server that waits for notices.
Its end is announced to its startup and to the operators. The end of an operators' token is
announced to them alone, under no startup.
"""

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


TOKEN_ANNOUNCED_BEFORE_S = (14 * DAY_S, DAY_S)
"""How long ahead the end of a token is announced. A lead that is longer than its life falls away.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts(DecisionFacts):
    """Which token ends, and when."""

    token: str
    name: str
    ends_s: int
    now_s: int

    def holds(self) -> bool:
        """Whether the end lies ahead, and not further than it is announced."""
        return 0 < self.ends_s - self.now_s <= max(TOKEN_ANNOUNCED_BEFORE_S)


def find_tokens(context: Context) -> Iterable[Announcement]:
    """Ends of tokens within a lead newly passed, the nearest of several, each once.

    A rotation moves the end of the old token, and the new end is announced again.
    """
    now_s = context.now_s
    for token in context.snapshot.tokens:
        left_s, life_s = token.ends_s - now_s, token.ends_s - token.created_s
        passed = [each for each in TOKEN_ANNOUNCED_BEFORE_S if left_s <= each < life_s]
        episode = f"token:{token.id}:{token.ends_s}:{min(passed, default=0)}"
        if passed and not context.was_announced(token.startup, episode):
            facts = TokenFacts(token=token.id, name=token.name, ends_s=token.ends_s, now_s=now_s)
            yield Announcement(token.startup, episode, facts, token.ends_s)


TOKEN = AnnouncementRule(name="token", facts=TokenFacts, find=find_tokens)

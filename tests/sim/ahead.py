"""Draws when startups take a part of their next tranche ahead, as data.

Only startups with tranches try, on the real book: once or twice, for all or for too much.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from .scenario.events import NAMES, START_S, Event


def aheads(seed: int, tranches: tuple[str, ...], healed_s: int) -> Iterator[Event]:
    """Up to four attempts of each startup with tranches; 0 credits mean all that is allowed."""
    chance = random.Random(f"{seed}/ahead")
    for name, kind in zip(NAMES, tranches, strict=False):
        for _ in range(chance.choice([0, 2, 4]) if kind else 0):
            at_s, credits = chance.randrange(START_S, healed_s), chance.choice([0, 0, 1, 90_000])
            yield Event(at_s, "operator", "ahead", (name, credits))

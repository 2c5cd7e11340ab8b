"""Draws when a startup borrows the whole pool and the owner asks for it, as data.

Chance alone hardly brings it about: both need credits, and the pool must be full.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from quotas.model.units import DAY_S, HOUR_S

from .events import BIG, NAMES, SMALL, START_S, ZONES, Event

FIRST_SLOT = 60


def lendings(
    seed: int, capacity: int, nominal: tuple[int, ...], limits: tuple[int | None, ...], until_s: int
) -> Iterator[Event]:
    """In a third of the scripts, sometimes, if the pool can hold all nominal quotas."""
    rng = random.Random(f"{seed}/lending")
    owners = [
        (name, own)
        for name, own, limit in zip(NAMES, nominal, limits, strict=True)
        if own and (limit is None or limit >= own)
    ]
    free = [name for name, limit in zip(NAMES, limits, strict=True) if limit is None]
    last_s = until_s - 2 * DAY_S
    if rng.random() < 2 / 3 or sum(nominal) > capacity or last_s <= START_S + DAY_S:
        return
    for number in range(rng.randint(1, max(2, (until_s - START_S) // DAY_S // 20))):
        owner, own = rng.choice(owners or [("", 0)])
        others = [name for name in free if name != owner]
        if owner and others:
            at_s = rng.randrange(START_S + DAY_S, last_s)
            yield from _lent(rng, (owner, own), rng.choice(others), at_s, capacity, number)


def _lent(
    rng: random.Random, whose: tuple[str, int], other: str, at_s: int, capacity: int, number: int
) -> Iterator[Event]:
    """Both get credits; one fills the pool, the other asks for its quota and uses it later."""
    owner, own = whose
    for name in (owner, other):
        yield Event(at_s - HOUR_S, "operator", "grant", (name, f"lent-{number}", 5_000, 5))
    slots = [(ZONES[1], FIRST_SLOT + n) for n in range(-(-capacity // 8))]
    for n, slot in enumerate(slots):
        yield Event(at_s + 60 * n, other, "on", (*slot, rng.choice(BIG[1:])))
    asks_s = at_s + rng.choice([HOUR_S // 2, 2 * HOUR_S, 5 * HOUR_S])
    yield Event(asks_s, "operator", "request", (owner, own, DAY_S))
    uses_s = asks_s + rng.choice([1, 4]) * HOUR_S
    yield Event(uses_s, owner, "on", (ZONES[1], FIRST_SLOT + 20, SMALL[-1]))
    yield Event(uses_s + 9 * HOUR_S, owner, "off", (ZONES[1], FIRST_SLOT + 20))
    for slot in slots:
        yield Event(asks_s + 14 * HOUR_S, other, "off", slot)

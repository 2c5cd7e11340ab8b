"""Draws when the catalogue of a play fails or lists impossible prices, as data."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from quotas.model.units import DAY_S

from .events import LISTINGS, START_S, ZONES, Event, Window

AT_FIRST = ("no-offers", "null-price", "absurd-price")
"""Faults that may exist already when the first prices are read."""


def windows(seed: int, events: Iterable[Event], healed_s: int) -> Iterator[Window]:
    """Each kind is off for half of the seeds; the windows last an hour to two days.

    The catalogue is read twice a day, so shorter windows would hardly be seen. A window from the
    start ends before the first change of a price. So the first price that is believed is mostly the
    cohort's, unless the daemon reads too late.
    """
    changes = (e.at_s for e in events if e.verb == "price")
    changed_s = min([healed_s, *changes])
    for kind in LISTINGS:
        rng = random.Random(f"{seed}/windows/{kind}")
        if rng.random() < 0.5:
            continue
        for zone in ZONES[1:]:
            for _ in range(rng.randint(1, max(2, (healed_s - START_S) // DAY_S // 12))):
                from_s = rng.randrange(START_S, healed_s)
                until_s = from_s + int(3_600 * 2 ** rng.uniform(0, 5.6))
                yield Window(kind, zone, from_s, min(until_s, healed_s))
            if kind in AT_FIRST and rng.random() < 0.2:
                until_s = START_S + int(60 * 2 ** rng.uniform(2, 10))
                yield Window(kind, zone, START_S, min(until_s, changed_s))

"""Grants that wait for milestones, on the real book, and their confirmations.

Half of the seeds have none. Some milestones are confirmed in time, some too early or too late,
some twice, and some never.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from quotas.model.program import Grant, Tranche
from quotas.model.units import DAY_S

from .events import NAMES, START_S, Event

REACHED = ("demo", "launch")
BEGINS_S = START_S + 2 * DAY_S
"""The first instant at which milestones can be confirmed."""
Terms = tuple[int, ...]
"""Credits of the first and of the second milestone, and the last instant of the second."""


def terms(seed: int, end_s: int) -> tuple[Terms, ...]:
    """The terms of each startup's milestones, or none."""
    rng = random.Random(f"{seed}/milestones")
    if rng.random() < 0.5:
        return ()
    return tuple(_terms(rng, end_s) if rng.random() < 0.6 else () for _ in NAMES)


def _terms(rng: random.Random, end_s: int) -> Terms:
    credits = rng.choice([40, 900]), rng.choice([40, 900])
    return (*credits, rng.randrange(BEGINS_S + DAY_S, end_s))


def confirmations(seed: int, end_s: int, healed_s: int) -> Iterator[Event]:
    """When somebody confirms a milestone, rightly or wrongly."""
    rng = random.Random(f"{seed}/confirmations")
    for name, own in zip(NAMES, terms(seed, end_s), strict=False):
        for milestone in REACHED if own else ():
            how = rng.choice(["never", "early", "some day", "some day", "twice", "late"])
            at_s = rng.randrange(BEGINS_S, healed_s)
            early_s, late_s = rng.randrange(START_S, BEGINS_S), own[2] + rng.choice([0, 99])
            again_s = at_s + rng.choice([0, DAY_S])
            moments = {"never": [], "early": [early_s, at_s], "late": [late_s]}
            for moment_s in moments.get(how, [at_s, again_s] if how == "twice" else [at_s]):
                yield Event(moment_s, "operator", "confirm", (name, milestone))


def grant_of(name: str, own: Terms, end_s: int) -> Grant:
    """The grant of a startup whose tranches wait for milestones."""
    first, second, by_s = own
    tranches = (
        Tranche(first * 1_000_000, None, REACHED[0]),
        Tranche(second * 1_000_000, None, REACHED[1], by_s),
    )
    whole_ucr = sum(tranche.amount_ucr for tranche in tranches)
    return Grant(f"{name}-3", whole_ucr, BEGINS_S, end_s, tranches=tranches)

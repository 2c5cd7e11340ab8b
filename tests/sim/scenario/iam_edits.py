"""Draws which seeds have a key for IAM, when IAM fails, and manual edits, as data."""

from __future__ import annotations

import random
from collections.abc import Iterator

from quotas.model.units import DAY_S, HOUR_S

from .events import HAND, IAM, IAM_PLACE, NAMES, START_S, Event, Window

SHARED = ("platform", "everywhere", "kept", "mixed")
"""Policies of several startups, or with a tag: cohortd may not touch them."""
STARTING = ("InstancesFullAccess", "InstancesServerStart", "InstancesServerCreate")
OTHER = ("ObjectStorageFullAccess", "InstancesReadOnly", "ContainerRegistryReadOnly")
LAST_EDIT_S = 8 * HOUR_S
"""How long people edit after the cohort's end; cohortd looks again after that."""


def has_key(seed: int) -> bool:
    """Whether the daemon of a seed has a key for IAM; half of them do."""
    return random.Random(f"{seed}/closings").random() < 0.5


def hasty(seed: int) -> float:
    """The chance that somebody edits a policy soon after it was narrowed."""
    return random.Random(f"{seed}/hasty").choice([0.0, 0.2, 0.7])


def windows(seed: int, healed_s: int) -> Iterator[Window]:
    """Faults of IAM: each kind is off for half of the seeds, and many follow a change of level."""
    levels = [e for e in edits(seed, healed_s, healed_s) if e.verb == "level"]
    changes = [at_s for e in levels for at_s in (e.at_s, e.at_s + e.args[2])]
    for kind in IAM if has_key(seed) else ():
        rng = random.Random(f"{seed}/windows/{kind}")
        if rng.random() < 0.5:
            continue
        days = (healed_s - START_S) // DAY_S
        for _ in range(rng.randint(1, max(3, days // 6))):
            from_s = rng.randrange(START_S, healed_s)
            length_s = int(60 * 2 ** rng.uniform(4, 11))
            if changes and rng.random() < 0.5:
                from_s = max(START_S, rng.choice(changes) - rng.randrange(length_s))
            yield Window(kind, IAM_PLACE, from_s, min(from_s + length_s, healed_s))


def edits(seed: int, healed_s: int, end_s: int) -> Iterator[Event]:
    """Overrides of levels that close and reopen startups, and edits at any time and at the end."""
    rng = random.Random(f"{seed}/hands")
    for _ in range(rng.choice([0, 2, 5])):
        at_s = rng.randrange(START_S + DAY_S, healed_s)
        length_s = min(rng.choice([2, 9, 40]) * HOUR_S, healed_s - at_s)
        level = rng.choice(["closed", "closed", "stopped"])
        yield Event(at_s, HAND, "level", (rng.choice(NAMES), level, length_s))
        if rng.random() < 0.5:
            yield edit_of(rng, _any(rng), at_s + rng.randrange(length_s))
    for _ in range(rng.choice([0, 3, 9])):
        yield edit_of(rng, _any(rng), rng.randrange(START_S, healed_s))
    for _ in range(rng.choice([0, 2, 4])):
        yield edit_of(rng, _any(rng), end_s + rng.randrange(LAST_EDIT_S))


def _any(rng: random.Random) -> str:
    name = rng.choice(NAMES)
    return rng.choice([name, name, f"{name}-ops", rng.choice(SHARED)])


VERBS = ("give", "give", "give", "add", "add", "take", "trim", "restore", "delete", "widen")


def edit_of(rng: random.Random, policy: str, at_s: int) -> Event:
    """One edit of a policy, by its name."""
    verb = rng.choice(VERBS)
    args: tuple[object, ...] = (policy,)
    if verb == "give":
        args += (rng.choice(STARTING),)
    elif verb == "add":
        args += (rng.choice(OTHER),)
    elif verb in ("take", "trim"):
        args += (rng.randrange(3),)
    elif verb == "widen":
        args += (rng.choice(NAMES),)
    return Event(at_s, HAND, verb, args)

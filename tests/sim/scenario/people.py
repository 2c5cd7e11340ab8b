"""Draws what people do beside starting servers, as events, from one stream for each kind.

Operators set overrides, hold credits and undo stops. Owners ask for lent quota while a
neighbour fills the pool. Servers of an unknown project run beside them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from quotas.model.units import DAY_S, HOUR_S

from .events import BIG, NAMES, NOBODY, SMALL, START_S, ZONES, Event

STRANGER = "stranger"
"""The owner of a project that is in the organization and in no program."""
DAYS_PER_QUIESCENCE = 45


def people(seed: int, healed_s: int) -> Iterator[Event]:
    """Everything that people do up to an instant."""
    for name, draw in (
        ("words", _overrides),
        ("holds", _holds),
        ("owners", _owners),
        ("strangers", _strangers),
        ("deeds", _actions),
        ("rests", _quiescences),
    ):
        yield from (e for e in draw(random.Random(f"{seed}/{name}"), healed_s) if e.at_s < healed_s)


def _overrides(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Freezes, maintenance, exemptions, levels and shortages, each with its end; undone stops."""
    families = ("freeze", "maintenance", "exempt", "level", "shortage")
    for _ in range(rng.choice([0, 2, 5])):
        family, name = rng.choice(families), rng.choice(NAMES)
        at_s = rng.randrange(START_S + DAY_S, healed_s)
        length_s = min(rng.choice([1, 5, 30]) * HOUR_S, healed_s - at_s)
        subject = {"maintenance": "*", "shortage": "h100"}.get(family, name)
        if family == "freeze":
            subject = rng.choice([name, "*"])
        value = rng.choice(["closed", "stopped"]) if family == "level" else "on"
        yield Event(at_s, "operator", "override", (family, subject, value, length_s))
    for _ in range(rng.choice([0, 3])):
        at_s = rng.randrange(START_S + DAY_S, healed_s)
        yield Event(at_s, "operator", "undo", (rng.choice(NAMES),))


def _holds(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Holds of credits; most of them are settled or voided in time."""
    for _ in range(rng.choice([0, 2, 6])):
        at_s, name = rng.randrange(START_S, healed_s), rng.choice(NAMES)
        length_s = rng.choice([6, 60]) * HOUR_S
        yield Event(at_s, "operator", "hold", (name, rng.choice([5, 60, 900]), length_s))
        later_s = at_s + rng.randrange(length_s)
        ending = rng.choice(["settle", "settle", "release", ""])
        if ending:
            yield Event(later_s, "operator", ending, (name, rng.choice([30, 100])))


def _owners(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """A neighbour fills the pool; hours later an owner asks for its quota, and uses it."""
    for number in range(rng.choice([0, 1, 2])):
        owner, other = rng.sample(NAMES, 2)
        at_s = rng.randrange(START_S, healed_s)
        big = [(ZONES[1], 40 + 10 * number + slot) for slot in range(5)]
        for slot in big:
            yield Event(at_s, other, "on", (*slot, BIG[-1]))
        asks_s = at_s + rng.choice([2, 5, 20]) * HOUR_S
        yield Event(asks_s, "operator", "request", (owner, 4, 2 * DAY_S))
        yield Event(asks_s + 4 * HOUR_S, owner, "on", (ZONES[1], 30 + number, SMALL[-1]))
        yield Event(asks_s + 9 * HOUR_S, owner, "off", (ZONES[1], 30 + number))
        for slot in big:
            yield Event(asks_s + 12 * HOUR_S, other, "off", slot)


def _strangers(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Servers in a project of no startup come and go."""
    for slot in range(rng.choice([1, 2])):
        at_s = START_S + rng.randrange(DAY_S)
        while at_s < healed_s:
            zone = rng.choice(ZONES[1:])
            yield Event(at_s, STRANGER, "on", (zone, slot, SMALL[0]))
            at_s += rng.randrange(HOUR_S, 5 * DAY_S)
            yield Event(at_s, STRANGER, "off", (zone, slot))
            at_s += rng.randrange(HOUR_S, 5 * DAY_S)


def _actions(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Actions that only the real book knows: transfers, advances and accepted prices."""
    for _ in range(rng.choice([0, 2, 5])):
        sender, to = rng.sample(NAMES, 2)
        at_s = rng.randrange(START_S, healed_s)
        yield Event(at_s, "operator", "move", (sender, to, rng.choice([5, 200])))
    for _ in range(rng.choice([0, 3])):
        at_s, name = rng.randrange(START_S, healed_s), rng.choice(NAMES)
        yield Event(at_s, "operator", "advance", (name, rng.choice([1, 50])))
    for _ in range(rng.choice([0, 0, 2])):
        at_s, back_s = rng.randrange(START_S, healed_s), rng.choice([0, 7_200, 3 * DAY_S])
        kind, percent = rng.choice(SMALL + BIG), rng.choice([80, 120])
        yield Event(at_s, "operator", "accept", (kind, percent, back_s))


def _quiescences(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Quiescences; most wait up to some days for an open notice."""
    for _ in range(max(1, (healed_s - START_S) // DAY_S // DAYS_PER_QUIESCENCE)):
        if healed_s > START_S + HOUR_S:
            at_s = rng.randrange(START_S + HOUR_S, healed_s)
            days, for_ = rng.choice([(0, "open"), *[(20, "open"), (20, "reminded")] * 2])
            wait_s = max(0, min(days * DAY_S, healed_s - DAY_S - at_s))
            yield Event(at_s, NOBODY, "quiesce", (wait_s, for_))

"""The list of mutants: each breaks one rule of the product, and says what a seed needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from quotas.model.units import DAY_S, HOUR_S

from ..scenario.script import NAMES, Event, Script

ApplyMutant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug.

    `sql` plays it on the real book, which has the rule that it breaks. `needs` changes each
    seed's script so that the bug can have an effect.
    """

    name: str
    apply: ApplyMutant
    sql: bool = False
    needs: Callable[[Script], Script] | None = None


MUTANTS: list[Mutant] = []
HALF = 0.5
"""The share of a mutant's seeds that must find it."""


def days_of(mutant: Mutant) -> int:
    """The length of a mutant's plays: half a month on the real book, which is slow."""
    return 12 if mutant.sql else 24


def mutant_of(
    *, sql: bool = False, needs: Callable[[Script], Script] | None = None
) -> Callable[[ApplyMutant], ApplyMutant]:
    """Put a bug on the list, under its function's name."""

    def keep(apply: ApplyMutant) -> ApplyMutant:
        MUTANTS.append(Mutant(apply.__name__.replace("_", " "), apply, sql, needs))
        return apply

    return keep


def shut_down_inside(script: Script) -> Script:
    """People shut servers down from inside, and forget them."""
    events = (replace(e, verb="guest") if e.verb == "off" else e for e in script.events)
    return replace(script, events=tuple(events))


def with_events(script: Script, more: Iterable[Event]) -> Script:
    """The script with more events."""
    return replace(script, events=tuple(sorted((*script.events, *more), key=lambda e: e.at_s)))


def locked_often(script: Script) -> Script:
    """One server of each startup is locked for half of every day."""
    nights = range(script.start_s, script.healed_s, DAY_S)
    locks = [
        Event(at_s + hours * HOUR_S, "provider", verb, (name,))
        for at_s in nights
        for name in NAMES
        for verb, hours in (("lock", 2), ("unlock", 14))
    ]
    return with_events(script, locks)

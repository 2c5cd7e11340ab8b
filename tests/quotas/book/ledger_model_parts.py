"""The parts of the ledger model: grants, servers, charges and holds, in fractions.

Nothing here comes from `quotas`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

Side = tuple[str, int]
Stretch = tuple[int, int, int, int]
"""Seconds of a charge: from, to, at which rate, counted from where."""
INT64 = 2**63


@dataclass
class Lot:
    """A grant, and the order in which it was made."""

    startup: str
    id: str
    priority: int
    from_s: int
    to_s: int
    order: int
    rolls: tuple[str, Fraction] | None = None
    """Where a tranche's allowed part moves at its end."""

    @property
    def account(self) -> str:
        return f"grant:{self.startup}:{self.id}"


@dataclass
class CommandResult:
    """A server: who runs it, since when and until when, at which rates, and what is charged."""

    startup: str
    rates: list[tuple[int, int]]
    """From when on at which rate; the fraction of a second's cost is counted from there."""
    start_s: int
    known_s: int
    charged_s: int
    is_on: bool = True

    @property
    def rate(self) -> int:
        return self.rates[-1][1]

    def cost(self, from_s: int, to_s: int) -> int:
        """What the seconds between two instants cost."""
        ends = [*(start_s for start_s, _ in self.rates[1:]), INT64]
        return sum(
            cost(rate, start_s, max(from_s, start_s), min(to_s, end_s))
            for (start_s, rate), end_s in zip(self.rates, ends, strict=True)
        )

    def priced(self, steps: list[tuple[int, int]]) -> None:
        """What is not charged yet is at the rates of now: cut where they change."""
        ends = [*(from_s for from_s, _ in steps[1:]), INT64]
        for (from_s, rate), end_s in zip(steps, ends, strict=True):
            cut_s = max(from_s, self.charged_s, self.start_s)
            if cut_s >= end_s:
                continue
            old = [each for each in self.rates if each[0] < cut_s]
            if rate != self.at(cut_s) and (self.is_on or cut_s < self.known_s):
                self.rates = [*old, (cut_s, rate)]

    def at(self, instant_s: int) -> int:
        """The rate at an instant."""
        return [rate for start_s, rate in self.rates if start_s <= instant_s][-1]


def cost(rate: int, origin_s: int, from_s: int, to_s: int) -> int:
    """Rate times seconds, rounded down at both ends as counted from an origin."""
    if to_s <= from_s:
        return 0
    until = [floor(Fraction(rate * (s - origin_s), 3600)) for s in (from_s, to_s)]
    return until[1] - until[0]


@dataclass
class Charged:
    """A charge: its server and seconds, what it drew, and what came back of which seconds."""

    startup: str
    server: str
    from_s: int
    to_s: int
    draws: list[Side]
    returned: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    gone: list[tuple[int, int]] = field(default_factory=list)
    priced: list[Stretch] = field(default_factory=list)
    """Its seconds in order: from, to, at which rate, counted from where."""
    run_s: int = 0
    differs: int = 0
    """What was posted as the price difference of it."""

    def cost(self, from_s: int, to_s: int) -> int:
        """What seconds of it cost, as corrected so far."""
        parts = ((max(a, from_s), min(b, to_s), rate, at) for a, b, rate, at in self.priced)
        return sum(cost(rate, at, a, b) for a, b, rate, at in parts)


@dataclass
class Held:
    """An open hold and what it was drawn from."""

    startup: str
    to_s: int
    draws: list[Side]

    @property
    def ucr(self) -> int:
        return sum(ucr for _, ucr in self.draws)

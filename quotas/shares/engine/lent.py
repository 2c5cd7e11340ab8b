"""Lenders of borrowed GPUs: each one is the unused quota of a node, or the pool's own.

Members of the borrower's group lend first, then the group's own quota, then other groups, and the
pool last. Several lenders contribute in proportion to what they offer, by largest remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from quotas.shares.engine.forest import Forest
from quotas.shares.engine.problem import Number


@dataclass(frozen=True, slots=True)
class Flows:
    """By row: what a node borrows, and what it lends to others."""

    borrowed: list[Number]
    lent: list[Number]


@dataclass(slots=True)
class _Side:
    """What the members of one group borrow and offer, and the group's own quota."""

    borrowed: Number = 0
    offered: Number = 0
    own: Number = 0
    matched: Number = 0


def trace(
    forest: Forest,
    shares: Sequence[Number],
    nominal: Sequence[Number],
    lending_limit: Sequence[Number],
    whole: type[int] | None,
) -> Flows:
    """Follow borrowed GPUs back to their lenders; `whole` is int if GPUs are whole."""
    borrowed: list[Number] = [max(0, s - n) for s, n in zip(shares, nominal, strict=True)]
    offers: list[Number] = [
        min(limit, max(0, n - s))
        for s, n, limit in zip(shares, nominal, lending_limit, strict=True)
    ]
    sides: dict[int, _Side] = {}
    groups = [group for level in forest.levels for group in level.groups()]
    for parent, members in reversed(groups):
        side = _Side(sum(borrowed[m] for m in members), sum(offers[m] for m in members))
        sides[parent] = side
        if parent < 0:
            side.matched = side.borrowed
            continue
        side.own = nominal[parent]
        supply = side.offered + side.own
        side.matched = min(side.borrowed, supply)
        borrowed[parent] = side.borrowed - side.matched
        offers[parent] = min(lending_limit[parent], supply - side.matched)
    lent: list[Number] = [0] * len(shares)
    for parent, members in groups:
        side = sides[parent]
        drawn = side.matched + (lent[parent] if parent >= 0 else 0)
        from_members = min(drawn, side.offered)
        names = [int(forest.rank[m]) for m in members]
        parts = split(from_members, [offers[m] for m in members], names, whole)
        lent[members.start : members.stop] = parts
    return Flows(borrowed, lent)


def split(
    total: Number, offers: list[Number], ranks: list[int], whole: type[int] | None
) -> list[Number]:
    """Split a total in proportion to the offers; whole GPUs by largest remainder."""
    offered = sum(offers)
    if not total or total == offered:
        return offers if total else [0] * len(offers)
    if whole is None:
        return [total * Fraction(offer) / offered for offer in offers]
    parts: list[Number] = [total * offer // offered for offer in offers]
    left = int(total - sum(parts))
    order = sorted(range(len(offers)), key=lambda i: (-(total * offers[i] % offered), ranks[i]))
    for i in order[:left]:
        parts[i] += 1
    return parts

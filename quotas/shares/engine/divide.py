"""The exact share of each node: nominal quota first, then lending, group by group.

On the way up, each group finds what its own quota gives its members, what it still wants, and what
it offers. On the way down, each total is divided by weighted max-min. Amounts are integers on the
way up, and ratios with one denominator per group on the way down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quotas.shares.engine.fill import Groups, fill
from quotas.shares.engine.forest import SAFE, Amounts, Forest, Ints, Level, as_wide, peak

_SUMMED = ("nominal", "borrowing_limit", "lending_limit", "limit", "demand")


@dataclass(frozen=True, slots=True)
class Claims:
    """What each node gets from its own quota, wants in all, and offers to others."""

    base: Ints
    """What the node's own quota gives it."""
    most: Ints
    """What it could use: its demand within all its limits."""
    offer: Ints
    """Unused quota that its lending limit allows to lend."""
    guarantee: Ints
    total: int
    """What the pool hands out in all."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Exact shares: `num / den` by row; siblings have the same `den`."""

    num: Ints
    den: Ints
    claims: Claims


def divide(forest: Forest, amounts: Amounts) -> Exact:
    """The exact division of one pool."""
    claims = claim(forest, amounts)
    num = np.zeros_like(claims.base)
    den = np.ones_like(claims.base)
    for level in forest.levels:
        rows = level.rows
        if len(level.parents):
            total_num, total_den = num[level.parents], den[level.parents]
            divisor = np.gcd(total_num, total_den)
            total_num, total_den = total_num // divisor, total_den // divisor
        else:
            total_num, total_den = as_row(claims.total), np.ones(1, np.int64)
        part, part_den = share_out(forest, claims, level, total_num, total_den)
        if part.dtype == object and num.dtype != object:
            num, den = as_wide(num), as_wide(den)
        num[rows], den[rows] = part, np.repeat(part_den, level.sizes)
    return Exact(num, den, claims)


def as_row(value: int) -> Ints:
    """One integer as an array."""
    return np.array([value], dtype=np.int64 if abs(value) < SAFE else object)


def claim(forest: Forest, amounts: Amounts) -> Claims:
    """Find base, want and offer of every node, from the leaves up."""
    a = amounts
    zero_weight = forest.weight == 0
    if _largest_sum(a) >= SAFE:
        a = _wide_amounts(a)
    base = np.minimum(np.minimum(a.demand, a.nominal), a.limit)
    guarantee = a.nominal.copy()
    most = np.minimum(np.minimum(a.demand, a.limit), a.nominal + a.borrowing_limit)
    if zero_weight.any():
        most = np.where(zero_weight, base, most)
    offer = np.minimum(a.nominal - base, a.lending_limit)
    for level in reversed(forest.levels):
        rows, up, heads = level.rows, level.parents, level.heads
        sums = [np.add.reduceat(x[rows], heads) for x in (base, most, offer, guarantee)]
        if not len(up):
            return Claims(base, most, offer, guarantee, _pool_total(a.capacity, sums))
        in_base, in_most, in_offer, in_guarantee = sums
        supply = a.nominal[up] + in_offer
        wanted = in_base + np.minimum(supply, in_most - in_base)
        base[up] = np.minimum(wanted, a.limit[up])
        guarantee[up] = a.nominal[up] + in_guarantee
        reach = np.minimum(a.limit[up], guarantee[up] + a.borrowing_limit[up])
        most[up] = np.where(zero_weight[up], base[up], np.minimum(in_most, reach))
        # Quota that a group cannot use because of its own limit is lent by the group.
        offer[up] = np.minimum(a.lending_limit[up], supply - (base[up] - in_base))
    return Claims(base, most, offer, guarantee, 0)


def share_out(
    forest: Forest, claims: Claims, level: Level, total_num: Ints, total_den: Ints
) -> tuple[Ints, Ints]:
    """Divide each group's total among its members: numerators, and one denominator a group.

    If a total is below the members' bases, these shrink by weighted max-min, whatever their
    priority. A weight of 0 only forbids borrowing, so it counts as 1 here.
    """
    rows = level.rows
    base, most = claims.base[rows], claims.most[rows]
    in_base = np.add.reduceat(base, level.heads)
    above = total_num - in_base * total_den
    weight, classes = forest.weight[rows], forest.priority[rows]
    if (above >= 0).all():
        parts, den = fill(
            Groups(level.heads, level.sizes, most - base, weight, classes, above, total_den)
        )
        return parts + base * np.repeat(den, level.sizes), den
    short = above < 0
    is_short = np.repeat(short, level.sizes)
    shrink = np.where(is_short, np.maximum(weight, 1), weight)
    caps = np.where(is_short, base, most - base)
    flat = np.where(is_short, 0, classes)
    num = np.where(short, total_num, above)
    parts, den = fill(Groups(level.heads, level.sizes, caps, shrink, flat, num, total_den))
    return parts + np.where(is_short, 0, base) * np.repeat(den, level.sizes), den


def _pool_total(capacity: int, sums: list[Ints]) -> int:
    """The GPUs that the pool hands out: bases first, then offers and unassigned GPUs."""
    base, most, offer, guarantee = (int(x[0]) for x in sums)
    supply = max(0, capacity - guarantee + offer)
    return min(capacity, base + min(supply, most - base))


def _largest_sum(a: Amounts) -> int:
    """An upper bound of every sum on the way up."""
    return sum(peak(getattr(a, name)) for name in _SUMMED) * max(len(a.nominal), 1)


def _wide_amounts(a: Amounts) -> Amounts:
    """The same amounts in unbounded integers."""
    wide: dict[str, Any] = {name: as_wide(getattr(a, name)) for name in _SUMMED}
    return replace(a, **wide)

"""Divides a total among siblings: weighted max-min by progressive filling, exactly.

Each sibling takes min(cap, level * weight), at the level that spends the total. The level is a
ratio of integers, and every comparison multiplies out, so nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from quotas.shares.engine.forest import SAFE, Ints, as_wide, peak


@dataclass(frozen=True, slots=True)
class Groups:
    """Siblings that share one total each: caps and weights by sibling, the rest by group."""

    heads: Ints
    sizes: Ints
    caps: Ints
    weights: Ints
    classes: Ints
    """A larger number is served first. The siblings of a group are in that order."""
    total_num: Ints
    total_den: Ints


def fill(groups: Groups) -> tuple[Ints, Ints]:
    """Amounts as numerators by sibling over one denominator by group.

    No result exceeds the sum of its group's caps. A weight of 0 has a cap of 0.
    """
    wanted = np.add.reduceat(groups.caps, groups.heads)
    if (groups.total_num >= wanted * groups.total_den).all():
        return groups.caps, np.ones(len(groups.heads), np.int64)
    if len(groups.heads) == len(groups.classes) or (groups.classes == groups.classes[0]).all():
        return _fill_segments(groups)
    return _fill_by_class(groups)


def _fill_by_class(groups: Groups) -> tuple[Ints, Ints]:
    """Serve the classes of each group in turn. At most one class is met in part."""
    group_of = np.repeat(np.arange(len(groups.heads)), groups.sizes)
    cuts = np.r_[True, (group_of[1:] != group_of[:-1]) | (np.diff(groups.classes) != 0)]
    heads = np.flatnonzero(cuts)
    owner = group_of[heads]
    wanted = np.add.reduceat(groups.caps, heads)
    before = np.cumsum(wanted) - wanted
    first = np.searchsorted(owner, np.arange(len(groups.heads)))
    before = before - before[first][owner]
    den = groups.total_den[owner]
    left = groups.total_num[owner] - before * den
    num = np.minimum(np.maximum(left, 0), wanted * den)
    sizes = np.diff(np.r_[heads, len(groups.caps)])
    segments = Groups(heads, sizes, groups.caps, groups.weights, groups.classes, num, den)
    amounts, dens = _fill_segments(segments)
    # Only the class met in part has a denominator other than 1, which becomes its group's.
    of_group = np.maximum.reduceat(dens, first)
    return amounts * np.repeat(of_group[owner] // dens, sizes), of_group


def _fill_segments(groups: Groups) -> tuple[Ints, Ints]:
    """Amounts at each group's level; a group whose members are all full or all empty has den 1."""
    groups = _widen(groups)
    p, q = _levels(groups)
    reach = _each(p, groups) * groups.weights
    need = groups.caps * _each(q, groups)
    full = need <= reach
    if len(p) > 1:
        settled = np.logical_and.reduceat(full | (reach == 0), groups.heads)
        divisor = np.where(settled, q, 1)
        q = q // divisor
        each = np.repeat(divisor, groups.sizes)
        need, reach = need // each, np.where(reach == 0, 0, reach // each)
    return np.where(full, need, reach), q


def _each(by_group: Ints, groups: Groups) -> Ints:
    """A group's figure for each of its members."""
    return np.repeat(by_group, groups.sizes) if len(by_group) > 1 else by_group


def _levels(groups: Groups) -> tuple[Ints, Ints]:
    """The level of each group, as a ratio.

    It rises from below over the members that are not full yet, so that none is overfilled. The
    level that would spend the rest is too low as long as a member gets full below it.
    """
    caps, weights, sizes, heads = groups.caps, groups.weights, groups.sizes, groups.heads
    num, den = groups.total_num, groups.total_den
    last_p, last_q = np.zeros_like(num), np.ones_like(num)
    live = np.arange(len(heads))
    while True:
        active = np.add.reduceat(weights, heads)
        p, q = _reduce(num, den * np.maximum(active, 1))
        last_p[live], last_q[live] = p, q
        spread = len(heads) > 1
        need = caps * (np.repeat(q, sizes) if spread else q)
        now = need <= (np.repeat(p, sizes) if spread else p) * weights
        if not now.any():
            return last_p, last_q
        rest = ~now
        num = num - den * np.add.reduceat(np.where(now, caps, 0), heads)
        sizes = np.add.reduceat(rest, heads, dtype=np.int64)
        caps, weights = caps[rest], weights[rest]
        open_ = sizes > 0
        # A full group keeps the level at which it got full.
        if not open_.all():
            live, num, den, sizes = live[open_], num[open_], den[open_], sizes[open_]
            if not len(live):
                return last_p, last_q
        heads = np.cumsum(sizes) - sizes


def _reduce(num: Ints, den: Ints) -> tuple[Ints, Ints]:
    """The same ratios in lowest terms, so that products stay small."""
    divisor = np.gcd(num, den)
    return num // divisor, den // divisor


def _widen(groups: Groups) -> Groups:
    """The same groups in unbounded integers if a product could exceed an int64."""
    # These bounds are floats: they choose the type of the integers, never an amount.
    heaviest = float(np.add.reduceat(groups.weights.astype(float), groups.heads).max())
    most = float(np.add.reduceat(groups.caps.astype(float), groups.heads).max())
    den = peak(groups.total_den)
    top = max(peak(groups.total_num), most * den)
    if max(peak(groups.caps) * den * heaviest, top * peak(groups.weights), top) < SAFE // 4:
        return groups
    large = ("caps", "weights", "total_num", "total_den")
    return replace(groups, **{name: as_wide(getattr(groups, name)) for name in large})

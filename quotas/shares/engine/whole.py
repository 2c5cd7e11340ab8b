"""Rounds exact shares to whole GPUs, from the top of the tree down.

Each node gets its exact amount, rounded down to its step. The rest of its group goes one step at
a time to the member that lacks most and can still take a step. GPUs that no member can take are
offered one level up. Ties go to the larger bank, then the least recently served, then the name.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from quotas.shares.engine.divide import Exact, as_row, share_out
from quotas.shares.engine.forest import Amounts, Forest, Ints, Level


def round_shares(forest: Forest, amounts: Amounts, exact: Exact) -> Ints:
    """The exact division in whole steps."""
    if (amounts.step == 1).all():
        return _single_steps(forest, amounts, exact)
    return StepRounder(forest, amounts, exact).round_all()


def _single_steps(forest: Forest, amounts: Amounts, exact: Exact) -> Ints:
    """Whole GPUs where every step is 1: each group's total is met by single GPUs."""
    given = exact.num // exact.den
    missing = exact.num - given * exact.den
    for level in forest.levels:
        part = given[level.rows]
        total = given[level.parents] if len(level.parents) else as_row(exact.claims.total)
        left = total - np.add.reduceat(part, level.heads)
        if left.any():
            part += _largest_first(forest, amounts, level, missing[level.rows], left)
    return given


def _largest_first(
    forest: Forest, amounts: Amounts, level: Level, missing: Ints, left: Ints
) -> Ints:
    """One more GPU for the `left` siblings of each group that lack most, as a 0/1 array."""
    extra = np.zeros(len(missing), np.int64)
    near = np.flatnonzero(missing)
    if len(left) == 1:
        sure, near, left = _split_at(near, missing[near], int(left[0]))
        extra[sure] = 1
    group_of = np.searchsorted(level.heads, near, side="right") - 1
    rows = near + level.start
    keys = [forest.rank[rows], amounts.served_s[rows], -amounts.banked[rows], -missing[near]]
    order = np.lexsort([*keys, group_of])  # by the last key, then by the one before it, and so on
    owner = group_of[order]
    place = np.arange(len(order)) - np.searchsorted(owner, owner)
    extra[near[order[place < left[owner]]]] = 1
    return extra


def _split_at(near: Ints, missing: Ints, left: int) -> tuple[Ints, Ints, Ints]:
    """For one group: members sure of a GPU, members that tie, and the GPUs left for these."""
    if not 0 < left < len(near):
        return near[:0], near, as_row(left)
    edge = np.partition(missing, len(near) - left)[len(near) - left]
    sure = near[missing > edge]
    return sure, near[missing == edge], as_row(left - len(sure))


class StepRounder:
    """Rounds with steps of any size. An instance rounds one division."""

    def __init__(self, forest: Forest, amounts: Amounts, exact: Exact) -> None:
        self.forest, self.amounts, self.exact = forest, amounts, exact
        pairs = zip(exact.num, exact.den, strict=True)
        self.due = [Fraction(int(n), int(d)) for n, d in pairs]
        self.given = [0] * len(self.due)
        # Nominal quota that rounding leaves unused and that the startup does not lend.
        self.kept = [0] * len(self.due)
        self.members: dict[int, range] = {}
        self.where: dict[int, tuple[Level, int]] = {}
        for level in forest.levels:
            for index, (parent, members) in enumerate(level.groups()):
                self.members[parent] = members
                self.where[parent] = (level, index)

    def round_all(self) -> Ints:
        """Shares of all nodes: one pass down; each group hands its rest back up."""
        self._round_group(-1, self.exact.claims.total)
        for parent in reversed([row for row in self.members if row >= 0]):
            self.given[parent] = sum(self.given[row] for row in self.members[parent])
        return np.array(self.given, dtype=self.exact.claims.base.dtype)

    def _round_group(self, parent: int, total: int) -> int:
        """Distribute `total` among the members of a group; return what they cannot take."""
        members = self.members[parent]
        steps = {row: int(self.amounts.step[row]) for row in members}
        floors = {row: self.due[row] // steps[row] * steps[row] for row in members}
        if sum(floors.values()) > total:
            self._divide_again(parent, total)
            floors = {row: self.due[row] // steps[row] * steps[row] for row in members}
        for row in members:
            self.given[row] = floors[row]
            self.kept[row] = self._kept_back(row)
        left = total - sum(self.given[row] + self.kept[row] for row in members)
        left = self._spread(members, left, self._own_step)
        for row in members:
            if row in self.members:
                unused = self._round_group(row, self.given[row])
                self.given[row] -= unused
                left += unused
        return self._spread(members, left, self._any_step)

    def _kept_back(self, row: int) -> int:
        """The nominal quota that rounding takes from a startup, beyond what it may still lend."""
        claims, given = self.exact.claims, self.given[row]
        lost = min(self.due[row].__floor__(), int(claims.base[row])) - given
        if row in self.members or lost <= 0:
            return 0
        unused = int(self.amounts.nominal[row]) - given
        more = min(int(self.amounts.lending_limit[row]), unused) - int(claims.offer[row])
        return max(0, lost - more)

    def _divide_again(self, parent: int, total: int) -> None:
        """Divide a group again, after its own step reduced its total."""
        level, index = self.where[parent]
        totals, ones = np.zeros(len(level.heads), np.int64), np.ones(len(level.heads), np.int64)
        totals[index] = total
        num, den = share_out(self.forest, self.exact.claims, level, totals, ones)
        for row in self.members[parent]:
            self.due[row] = Fraction(int(num[row - level.start]), int(den[index]))

    def _spread(self, members: range, left: int, take: Callable[[int, int], int]) -> int:
        """Give steps to the node that lacks most until none fits; return the rest."""
        queue = [self._key(row) for row in members] if left else []
        heapq.heapify(queue)
        while queue and left:
            row = heapq.heappop(queue)[-1]
            # A node that cannot take a step now never can, because the rest only shrinks.
            took = take(row, left)
            if took:
                left -= took
                heapq.heappush(queue, self._key(row))
        return left

    def _key(self, row: int) -> tuple[Fraction, int, int, int, int]:
        """Order of service: lacks most, larger bank, least recently served, name."""
        a = self.amounts
        return (
            self.given[row] - self.due[row], -int(a.banked[row]), int(a.served_s[row]),
            int(self.forest.rank[row]), row,
        )  # fmt: skip

    def _own_step(self, row: int, left: int) -> int:
        """Give the node one step if it fits; return what it took of `left`."""
        step = int(self.amounts.step[row])
        cost = step - self.kept[row]
        if cost > left or self.given[row] + step > int(self.exact.claims.most[row]):
            return 0
        self.given[row] += step
        self.kept[row] = 0
        return cost

    def _any_step(self, row: int, left: int) -> int:
        """Give one step to the node, or to the node below it that lacks most and can take one."""
        if row not in self.members:
            return self._own_step(row, left)
        room = min(left, int(self.exact.claims.most[row]) - self.given[row])
        for _, _, _, _, member in sorted(map(self._key, self.members[row])):
            took = self._any_step(member, room) if room > 0 else 0
            if took:
                self.given[row] += took
                return took
        return 0

"""The ceiling of each startup: its share if only its own demand were unlimited.

`Reach` finds it without a new division. Only the nodes on the startup's path change their claims,
so in each group only one member changes. Its level is found by bisection among its siblings, which
are sorted once.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from quotas.shares.engine.pool import Division
from quotas.shares.engine.problem import Number

EXACT_UP_TO = 256
"""Up to this many startups, each ceiling is computed by a division of its own.

Above it, `Reach` rounds the exact ceiling down in every group on the way. The result is never too
high. At step 1 it is too low by less than one GPU for each level of the tree.
"""

_SHIFT = 200
"""Two different ratios of integers below 2^99 differ by more than 2^-200."""


def ceilings(division: Division) -> dict[int, Number]:
    """The ceiling of every startup, by row."""
    leaves = division.layout.leaves
    if len(leaves) > EXACT_UP_TO:
        return lower_bounds(division)
    return {row: ceiling(division, row) for row in leaves}


def ceiling(division: Division, row: int) -> Number:
    """The ceiling of one startup: the pool divided again, with a demand that never binds."""
    amounts = division.amounts
    unlimited = amounts.capacity + int(amounts.nominal[row]) + int(amounts.step[row])
    if int(amounts.demand[row]) >= unlimited:
        return division.shares[row]
    return division.with_demand(row, unlimited).shares[row]


def lower_bounds(division: Division) -> dict[int, Number]:
    """Every ceiling rounded down, never below the share, by one query for each startup."""
    reach = Reach(division)
    bounds: dict[int, Number] = {}
    for row in division.layout.leaves:
        step = 1 if division.given is None else int(division.amounts.step[row])
        most = division.unscaled(reach.most_of(row) // step * step)
        bounds[row] = max(division.shares[row], most)
    return bounds


@dataclass(frozen=True, slots=True)
class Queue:
    """Members that share one total by weight, in the order in which they get full."""

    keys: list[int]
    caps: list[int]
    weights: list[int]
    met: list[int]
    """Sum of the caps up to a place, itself included."""
    active: list[int]
    """Sum of the weights after a place."""

    def part(self, total: int, weight: int, cap: int) -> int:
        """What a member of that weight would get of the total without its cap, rounded down.

        `cap` is its cap in the queue, whose entry is left out.
        """
        own_key = (cap << _SHIFT) // weight
        low, high = 0, len(self.keys)
        while low < high:
            middle = (low + high) // 2
            past = own_key <= self.keys[middle]
            met = self.met[middle] - (cap if past else 0)
            rising = self.active[middle] + (weight if past else 0)
            spent = met * self.weights[middle] + self.caps[middle] * rising
            if spent <= total * self.weights[middle]:
                low = middle + 1
            else:
                high = middle
        place = bisect_right(self.keys, self.keys[low - 1]) - 1 if low else -1
        past = place >= 0 and own_key <= self.keys[place]
        met = (self.met[place] if place >= 0 else 0) - (cap if past else 0)
        rising = self.active[place] if place >= 0 else sum(self.weights)
        return (total - met) * weight // (rising + (weight if past else 0))


def sort_queue(caps: list[int], weights: list[int]) -> Queue:
    """Members by the level at which they get full. Members of weight 0 are left out."""
    rows = sorted(((c << _SHIFT) // w, c, w) for c, w in zip(caps, weights, strict=True) if w)
    in_order = [row[2] for row in rows]
    total = sum(in_order)
    active = [total - part for part in accumulate(in_order)]
    sorted_caps = [row[1] for row in rows]
    met = list(accumulate(sorted_caps))
    return Queue([row[0] for row in rows], sorted_caps, in_order, met, active)


@dataclass(frozen=True, slots=True)
class Path:
    """The claims of a node once the startup below it asks for everything."""

    row: int
    base: int
    most: int
    offer: int
    in_base: int
    """Base of all its members."""


class Reach:
    """Answers for one pool's division."""

    def __init__(self, division: Division) -> None:
        self.forest, self.amounts = division.layout.forest, division.amounts
        self.claims = division.exact.claims
        self.parent = [-1] * len(self.forest.weight)
        self.sums: dict[int, tuple[int, int, int]] = {}
        self.members: dict[int, range] = {}
        self.queues: dict[tuple[int, int | None], tuple[Queue, int]] = {}
        # The quota of all roots is summed once, because every query needs it.
        self.top_guarantee = 0
        c = self.claims
        if self.forest.levels:
            self.top_guarantee = int(c.guarantee[self.forest.levels[0].rows].sum())
        for level in self.forest.levels:
            for parent, group in level.groups():
                span = slice(group.start, group.stop)
                self.members[parent] = group
                base, most, offer = (int(x[span].sum()) for x in (c.base, c.most, c.offer))
                self.sums[parent] = base, most, offer
                if parent >= 0:
                    self.parent[span] = [parent] * len(group)

    def most_of(self, row: int) -> int:
        """The startup's share at an unlimited demand, rounded down in every group."""
        path = [self._leaf(row)]
        while self.parent[path[-1].row] >= 0:
            path.append(self._inner(path[-1]))
        total, in_base = self._pool(path[-1])
        for step in reversed(path):
            total, in_base = self._share(step, total, in_base), step.in_base
        return total

    def _leaf(self, row: int) -> Path:
        """The startup itself, asking for everything."""
        a = self.amounts
        nominal, limit = int(a.nominal[row]), int(a.limit[row])
        base = min(nominal, limit)
        borrows = bool(self.forest.weight[row])
        most = min(limit, nominal + int(a.borrowing_limit[row])) if borrows else base
        return Path(row, base, most, min(nominal - base, int(a.lending_limit[row])), 0)

    def _inner(self, below: Path) -> Path:
        """The group above a changed member: the same rules as `divide.claim`."""
        a, row = self.amounts, self.parent[below.row]
        in_base, in_most, in_offer = self._changed_sums(row, below)
        supply = int(a.nominal[row]) + in_offer
        limit = int(a.limit[row])
        base = min(in_base + min(supply, in_most - in_base), limit)
        reach = min(limit, int(self.claims.guarantee[row]) + int(a.borrowing_limit[row]))
        most = min(in_most, reach) if self.forest.weight[row] else base
        offer = min(int(a.lending_limit[row]), supply - (base - in_base))
        return Path(row, base, most, offer, in_base)

    def _pool(self, root: Path) -> tuple[int, int]:
        """The GPUs that the pool then hands out, and the base of all roots."""
        in_base, in_most, in_offer = self._changed_sums(-1, root)
        capacity = self.amounts.capacity
        supply = max(0, capacity - self.top_guarantee + in_offer)
        return min(capacity, in_base + min(supply, in_most - in_base)), in_base

    def _changed_sums(self, parent: int, below: Path) -> tuple[int, int, int]:
        """Sums over a group in which one member changed."""
        base, most, offer = self.sums[parent]
        c, row = self.claims, below.row
        return (
            base + below.base - int(c.base[row]),
            most + below.most - int(c.most[row]),
            offer + below.offer - int(c.offer[row]),
        )

    def _share(self, step: Path, total: int, in_base: int) -> int:
        """What the changed member gets of its group's total."""
        row, group = step.row, self.parent[step.row]
        weight = int(self.forest.weight[row])
        before = int(self.claims.base[row])
        if total < in_base:
            queue, _ = self._queue(group, None)
            return min(step.base, queue.part(total, max(1, weight), before))
        if not weight:
            return step.base
        queue, ahead = self._queue(group, int(self.forest.priority[row]))
        wanted = int(self.claims.most[row]) - before
        left = max(0, total - in_base - ahead)
        return step.base + min(step.most - step.base, queue.part(left, weight, wanted))

    def _queue(self, group: int, priority: int | None) -> tuple[Queue, int]:
        """The queue of a priority class (None: for a shrink), and the GPUs served before it."""
        if (group, priority) not in self.queues:
            rows = self.members[group]
            span = slice(rows.start, rows.stop)
            weights = self.forest.weight[span].tolist()
            base, most = self.claims.base[span].tolist(), self.claims.most[span].tolist()
            if priority is None:
                entry = sort_queue(base, [max(1, w) for w in weights]), 0
            else:
                classes = self.forest.priority[span].tolist()
                want = [m - b for m, b in zip(most, base, strict=True)]
                ahead = sum(w for w, p in zip(want, classes, strict=True) if p > priority)
                same = [w if p == priority else 0 for w, p in zip(weights, classes, strict=True)]
                entry = sort_queue(want, same), ahead
            self.queues[group, priority] = entry
        return self.queues[group, priority]

"""A problem as arrays: nodes by level, siblings together, amounts as integers.

An array is int64 if every product fits, and Python integers (dtype object) otherwise. The same
code runs on both, so no answer depends on the size of a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]
"""An array of integers: int64, or Python integers in an object array."""

SAFE = 2**62
"""Magnitudes below this add and compare within an int64."""


@dataclass(frozen=True, slots=True)
class Level:
    """The nodes of one depth, at rows [start, stop), whose siblings lie together."""

    start: int
    stop: int
    heads: Ints
    """Place within the level of each sibling group's first node."""
    sizes: Ints
    """Number of siblings in each group."""
    parents: Ints
    """Row of each group's parent; empty at the top level, whose one group is the pool's."""

    @property
    def rows(self) -> slice:
        """Rows of the level."""
        return slice(self.start, self.stop)

    def groups(self) -> Iterator[tuple[int, range]]:
        """The row of each group's parent (-1 at the top), and the rows of its members."""
        parents = self.parents.tolist() or [-1]
        heads = (self.heads + self.start).tolist()
        for parent, head, size in zip(parents, heads, self.sizes.tolist(), strict=True):
            yield parent, range(head, head + size)


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees without their amounts; rows are ordered by depth, parent, priority and name."""

    levels: tuple[Level, ...]
    weight: Ints
    priority: Ints
    rank: Ints
    """Order of the names: the last tie-break."""
    has_children: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Amounts:
    """One pool's amounts by row. A missing limit is a number too large to bind."""

    capacity: int
    nominal: Ints
    borrowing_limit: Ints
    lending_limit: Ints
    limit: Ints
    demand: Ints
    step: Ints
    banked: Ints
    served_s: Ints


def build_forest(
    parents: list[int], weights: list[int], priorities: list[int], ranks: list[int]
) -> tuple[Forest, list[int]]:
    """Lay out nodes given by their parents' places (-1: a root).

    Returns the forest, and the place in the input of the node in each row.
    """
    row_of = [-1] * len(parents)
    order: list[int] = []
    levels: list[Level] = []
    by_depth: dict[int, list[int]] = {}
    for place, at in enumerate(_depths(parents)):
        by_depth.setdefault(at, []).append(place)
    for at in sorted(by_depth):
        members = sorted(
            by_depth[at], key=lambda i: (row_of[parents[i]] if at else -1, -priorities[i], ranks[i])
        )
        start = len(order)
        for row, place in enumerate(members, start):
            row_of[place] = row
        order += members
        above = [row_of[parents[i]] if at else -1 for i in members]
        levels.append(_level(start, above))
    inner = np.zeros(len(order), bool)
    inner[[row_of[p] for p in parents if p >= 0]] = True
    forest = Forest(
        tuple(levels), as_ints([weights[i] for i in order]),
        as_ints([priorities[i] for i in order]), as_ints([ranks[i] for i in order]), inner,
    )  # fmt: skip
    return forest, order


def as_ints(values: list[int]) -> Ints:
    """An int64 array if every value is safe, and Python integers otherwise."""
    wide = any(abs(value) >= SAFE for value in values)
    return np.array(values, dtype=object if wide else np.int64)


def as_wide(values: Ints) -> Ints:
    """The same integers without a bound."""
    return values.astype(object)


def peak(values: Ints) -> int:
    """Largest value of an array of non-negative integers; 0 if it is empty."""
    return int(values.max()) if len(values) else 0


def _level(start: int, above: list[int]) -> Level:
    """Group siblings by the row of their parent."""
    rows = np.array(above, np.int64)
    heads = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    sizes = np.diff(np.r_[heads, len(above)])
    parents = rows[heads] if above[0] >= 0 else np.zeros(0, np.int64)
    return Level(start, start + len(above), heads, sizes, parents)


def _depths(parents: list[int]) -> list[int]:
    """Depth of each node; the tree has no cycle."""
    depth = [-1] * len(parents)
    for place in range(len(parents)):
        path = []
        at = place
        while at >= 0 and depth[at] < 0:
            path.append(at)
            at = parents[at]
        below = depth[at] if at >= 0 else -1
        for distance, node in enumerate(reversed(path), 1):
            depth[node] = below + distance
    return depth

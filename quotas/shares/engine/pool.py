"""One pool of a problem, divided: the share of each node.

Shares are computed at once; ceilings, lenders and reasons only when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import lcm

import numpy as np

from quotas.shares.engine.divide import Exact, divide
from quotas.shares.engine.forest import Amounts, Forest, Ints, as_ints, build_forest
from quotas.shares.engine.lent import Flows, trace
from quotas.shares.engine.problem import Node, Number, Problem
from quotas.shares.engine.whole import round_shares


@dataclass(frozen=True)
class ForestLayout:
    """A problem's trees laid out in rows."""

    problem: Problem
    forest: Forest
    nodes: tuple[Node, ...]
    """The node in each row."""

    @cached_property
    def parent_of(self) -> dict[int, int]:
        """Row of each node's parent; roots are left out."""
        row = {node.name: at for at, node in enumerate(self.nodes)}
        return {at: row[n.parent] for at, n in enumerate(self.nodes) if n.parent is not None}

    @cached_property
    def leaves(self) -> list[int]:
        """Rows of the startups, in the order of their names."""
        inner = self.forest.has_children
        rows = [at for at in range(len(self.nodes)) if not inner[at]]
        return sorted(rows, key=lambda at: self.nodes[at].name)


def lay_out(problem: Problem) -> ForestLayout:
    """Lay a problem's trees out in rows."""
    nodes = problem.nodes
    place = {node.name: at for at, node in enumerate(nodes)}
    parents = [-1 if node.parent is None else place[node.parent] for node in nodes]
    scale = lcm(*(node.weight.denominator for node in nodes))
    weights = [int(node.weight * scale) for node in nodes]
    rank = {name: at for at, name in enumerate(sorted(place))}
    forest, order = build_forest(
        parents, weights, [node.priority for node in nodes], [rank[node.name] for node in nodes]
    )
    return ForestLayout(problem, forest, tuple(nodes[at] for at in order))


@dataclass(frozen=True)
class Division:
    """One pool divided. Amounts inside are scaled to integers by `scale`."""

    layout: ForestLayout
    pool: str
    scale: int
    amounts: Amounts
    exact: Exact
    given: Ints | None
    """Whole shares by row; None if the problem is divisible."""
    _of_capacity: dict[int, Division] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def shares(self) -> list[Number]:
        """Share of each node by row."""
        if self.given is not None:
            return [int(x) for x in self.given]
        return self.exact_shares

    @cached_property
    def exact_shares(self) -> list[Number]:
        """Share of each node by row, as if GPUs could be split."""
        pairs = zip(self.exact.num, self.exact.den, strict=True)
        return [Fraction(int(n), int(d) * self.scale) for n, d in pairs]

    @cached_property
    def unallocated(self) -> Number:
        """Capacity that no node has."""
        roots = self.layout.forest.levels[0].stop if self.layout.forest.levels else 0
        capacity = self.layout.problem.pools[self.pool]
        return capacity - sum(self.shares[:roots])

    @cached_property
    def is_short(self) -> bool:
        """Whether the pool is smaller than the nominal quota in demand."""
        roots = self.layout.forest.levels[0].rows
        return int(self.exact.claims.base[roots].sum()) > self.amounts.capacity

    @cached_property
    def flows(self) -> Flows:
        """What each node borrows, and which nodes lend it."""
        nominal = [self.unscaled(x) for x in self.amounts.nominal]
        lending = [self.unscaled(x) for x in self.amounts.lending_limit]
        whole = None if self.given is None else int
        return trace(self.layout.forest, self.shares, nominal, lending, whole)

    def unscaled(self, amount: int) -> Number:
        """GPUs of a scaled amount."""
        return int(amount) if self.scale == 1 else Fraction(int(amount), self.scale)

    def with_demand(self, row: int, demand: int) -> Division:
        """The same pool if one startup asked for another (scaled) amount."""
        changed = self.amounts.demand.copy()
        changed[row] = demand
        return self.again(replace(self.amounts, demand=changed))

    def with_capacity(self, capacity: int) -> Division:
        """The same pool with another (scaled) capacity, computed once for all startups."""
        if capacity not in self._of_capacity:
            self._of_capacity[capacity] = self.again(replace(self.amounts, capacity=capacity))
        return self._of_capacity[capacity]

    def again(self, amounts: Amounts) -> Division:
        """The same trees divided with other amounts."""
        return _divided(self.layout, self.pool, self.scale, amounts)


def divide_pool(layout: ForestLayout, pool: str) -> Division:
    """Divide one pool of a problem."""
    return _divided(layout, pool, *_amounts(layout, pool))


def _divided(layout: ForestLayout, pool: str, scale: int, amounts: Amounts) -> Division:
    exact = divide(layout.forest, amounts)
    divisible = layout.problem.divisible
    given = None if divisible else round_shares(layout.forest, amounts, exact)
    return Division(layout, pool, scale, amounts, exact, given)


def _amounts(layout: ForestLayout, pool: str) -> tuple[int, Amounts]:
    """One pool's amounts as integers, and their common factor."""
    nodes, capacity = layout.nodes, layout.problem.pools[pool]
    none: Number = 0
    nominal = [node.nominal.get(pool, none) for node in nodes]
    demand = [node.demand.get(pool, none) for node in nodes]
    beyond = capacity + sum(nominal) + sum(demand)
    limit = [min(node.limit.get(pool, {}).values(), default=beyond) for node in nodes]
    borrow = [node.borrowing_limit.get(pool, beyond) for node in nodes]
    lend = [node.lending_limit.get(pool, beyond) for node in nodes]
    fields, scale = [nominal, borrow, lend, limit, demand], 1
    if layout.problem.divisible:
        scale = lcm(capacity.denominator, *(x.denominator for each in fields for x in each))
    steps = np.array([int(node.step.get(pool, 1)) for node in nodes])
    # Banks and instants of service only order ties, so each may have a scale of its own.
    banks = [node.banked.get(pool, none) for node in nodes]
    served = [node.served_s.get(pool, none) for node in nodes]
    ties = [_scaled(each, lcm(*(x.denominator for x in each))) for each in (banks, served)]
    columns = [*(_scaled(each, scale) for each in fields), steps, *ties]
    return scale, Amounts(int(capacity * scale), *columns)


def _scaled(amounts: list[Number], scale: int) -> Ints:
    """Amounts times the factor that makes all of them whole."""
    return as_ints([int(x) for x in amounts] if scale == 1 else [int(x * scale) for x in amounts])

"""The ceiling of each startup: its share if only its own demand were unlimited."""

from __future__ import annotations

from quotas.shares.engine.pool import Division
from quotas.shares.engine.problem import Number
from quotas.shares.engine.reach import Reach

EXACT_UP_TO = 256
"""Up to this many startups, each ceiling is computed by a division of its own.

Above it, `Reach` rounds the exact ceiling down in every group on the way. The result is never too
high. At step 1 it is too low by less than one GPU for each level of the tree.
"""


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
    reach = Reach(division.layout.forest, division.amounts, division.exact.claims)
    bounds: dict[int, Number] = {}
    for row in division.layout.leaves:
        step = 1 if division.given is None else int(division.amounts.step[row])
        most = division.unscaled(reach.most_of(row) // step * step)
        bounds[row] = max(division.shares[row], most)
    return bounds

"""The ceiling of each startup: its share if only its own demand were unlimited."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quotas.shares.engine.pool import Division
from quotas.shares.engine.problem import Number

EXACT_UP_TO = 256
"""Up to this many startups, each ceiling is computed by a division of its own.

Above it, one division answers for all: every startup asks for everything at once. No startup
can get less if only its own demand were unlimited, so the result is a lower bound of the ceiling.
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
    """A lower bound of every ceiling: the share in a pool of which everybody asks for everything.

    The bound is rounded down to the step, and is never below the present share.
    """
    amounts = division.amounts
    unlimited = amounts.capacity + amounts.nominal + amounts.step
    demand = np.where(division.layout.forest.has_children, 0, unlimited)
    crowded = division.again(replace(amounts, demand=np.maximum(amounts.demand, demand)))
    bounds: dict[int, Number] = {}
    for row in division.layout.leaves:
        bound = crowded.exact_shares[row]
        if division.given is not None:
            bound = int(bound // int(amounts.step[row])) * int(amounts.step[row])
        bounds[row] = max(division.shares[row], bound)
    return bounds

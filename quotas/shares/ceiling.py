"""What may each startup run now? Its share if only its own demand were unlimited."""

from __future__ import annotations

from quotas.shares.lent import Number
from quotas.shares.pool import Division

EXACT_UP_TO = 256
"""Startups up to which each ceiling is a division of its own; see `within_reach` for more."""


def ceilings(division: Division) -> dict[int, Number]:
    """The ceiling of every startup, by row."""
    leaves = division.planted.leaves
    if len(leaves) > EXACT_UP_TO:
        return within_reach(division)
    return {row: ceiling(division, row) for row in leaves}


def ceiling(division: Division, row: int) -> Number:
    """The ceiling of one startup: the pool divided again, with a demand that never binds."""
    amounts = division.amounts
    unlimited = amounts.capacity + int(amounts.nominal[row]) + int(amounts.step[row])
    if int(amounts.demand[row]) >= unlimited:
        return division.shares[row]
    return division.with_demand(row, unlimited).shares[row]


def within_reach(division: Division) -> dict[int, Number]:
    """A lower bound of each ceiling in one pass: what is free now, under the startup's limits.

    It takes from nobody: what a higher demand would win back from borrowers is left out.
    """
    amounts, shares, planted = division.amounts, division.shares, division.planted
    free = division.unallocated
    reach: dict[int, Number] = {}
    room: dict[int, Number] = {}
    for row, node in enumerate(planted.nodes):
        nominal = division.unscaled(division.exact.claims.guarantee[row])
        most = min(
            division.unscaled(amounts.limit[row]),
            nominal + division.unscaled(amounts.borrowing_limit[row]),
        )
        if not node.weight:
            most = min(most, max(nominal, shares[row]))
        above = planted.parent_of.get(row)
        room[row] = min(most - shares[row], free if above is None else room[above])
    for row in planted.leaves:
        step = int(amounts.step[row]) if division.given is not None else 0
        more = max(0, room[row])
        reach[row] = shares[row] + (more // step * step if step else more)
    return reach

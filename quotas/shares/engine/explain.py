"""The reason of a share: what limits it, and the smallest change for one more step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from quotas.shares.engine.ceiling import EXACT_UP_TO
from quotas.shares.engine.forest import Amounts, Ints
from quotas.shares.engine.pool import Division
from quotas.shares.engine.problem import Number


@dataclass(frozen=True, slots=True)
class Cause:
    """The bound that keeps a node from one more step.

    `name` is "demand", "step", "weight", "borrowing_limit", "lending_limit", "capacity", "limit",
    or the limit's own name. `row` is the node that it binds: the node itself or an ancestor.
    """

    name: str
    row: int
    at_most: Number = 0


def limiting(division: Division, row: int) -> Cause:
    """The smallest bound that the next step would exceed, or else the pool's capacity."""
    step = _step(division, row)
    at: int | None = row
    while at is not None:
        share, bounds = division.shares[at], _bounds(division, at)
        if division.given is None:
            passed = [cause for cause in bounds if share >= cause.at_most]
        else:
            passed = [cause for cause in bounds if share + step > cause.at_most]
        if passed:
            least = min(passed, key=lambda cause: cause.at_most)
            if least.name == "demand" and share < least.at_most:
                return replace(least, name="step")
            return least
        at = division.layout.parent_of.get(at)
    idle = division.unallocated
    if idle >= step and idle > 0:
        return Cause("lending_limit", row)
    return Cause("capacity", row)


def explain(division: Division, row: int, ceiling: Number, cause: Cause) -> str:
    """One sentence that explains a startup's share of a pool by its cause."""
    name, pool = division.layout.nodes[row].name, division.pool
    share, borrowed = division.shares[row], division.flows.borrowed[row]
    asked = division.unscaled(division.amounts.demand[row])
    nominal, lent = division.unscaled(division.amounts.nominal[row]), division.flows.lent[row]
    parts = f"{share - borrowed} of {nominal} nominal and {borrowed} borrowed"
    parts += f", {lent} lent" if lent else ""
    sentence = f"{name} has {share} of the {asked} GPUs it asks for in {pool} ({parts})"
    if division.is_short:
        sentence += "; the pool holds less than the nominal quota in demand, so it shrinks"
    return f"{sentence}; {_remedy(division, row, ceiling, cause)}."


def _remedy(division: Division, row: int, ceiling: Number, cause: Cause) -> str:
    """The bound, and the smallest change that would have given one more step."""
    step = _step(division, row)
    whose = "its" if cause.row == row else f"{division.layout.nodes[cause.row].name}'s"
    target = division.shares[cause.row] + step
    if division.given is None:
        return f"limited by {_bound_words(cause, whose)}"
    if cause.name in ("demand", "step"):
        if len(division.layout.leaves) > EXACT_UP_TO:
            return f"limited by its {cause.name}"  # the ceiling is only a lower bound
        more = target - division.unscaled(division.amounts.demand[row])
        if ceiling < target:
            return f"limited by its {cause.name}; even asking for more its ceiling is {ceiling}"
        return f"limited by its {cause.name}; asking for {more} more would give {target}"
    changed, words = _change(division, cause, target, whose)
    return f"limited by {_bound_words(cause, whose)}; {_enough(division, row, changed, words)}"


def _bound_words(cause: Cause, whose: str) -> str:
    """The binding cause in words."""
    words = {
        "capacity": "the pool's capacity",
        "lending_limit": "the lending limits of others, who keep the rest",
        "weight": f"{whose} weight of 0, which never borrows",
        "borrowing_limit": f"{whose} borrowing limit",
        **{name: f"{whose} {name}" for name in ("demand", "step", "limit")},
    }
    return words.get(cause.name, f"{whose} {cause.name} limit")


def _change(division: Division, cause: Cause, target: Number, whose: str) -> tuple[Amounts, str]:
    """The amounts with the bound moved just far enough, and that change in words."""
    a, at, goal = division.amounts, cause.row, int(target)
    if cause.name in ("capacity", "lending_limit"):
        return a, ""
    above_quota = goal - int(division.exact.claims.guarantee[at])
    if cause.name == "borrowing_limit":
        moved = _with(a.borrowing_limit, at, above_quota)
        return replace(a, borrowing_limit=moved), f"a borrowing limit of {above_quota}"
    if cause.name == "weight":
        nominal = int(a.nominal[at]) + max(1, above_quota)
        return replace(a, nominal=_with(a.nominal, at, nominal)), f"a nominal quota of {nominal}"
    others = [c for c in _bounds(division, at) if c.name != cause.name and c.at_most < target]
    if others:
        return a, f"more than {_bound_words(cause, whose)}"
    called = cause.name if cause.name == "limit" else f"{cause.name} limit"
    return replace(a, limit=_with(a.limit, at, goal)), f"a {called} of {goal}"


def _enough(division: Division, row: int, changed: Amounts, words: str) -> str:
    """The change in words, with the additional GPUs that the pool needs if it is not enough."""
    goal = division.shares[row] + _step(division, row)
    if len(division.layout.leaves) > EXACT_UP_TO:
        return f"{words or 'more GPUs in the pool'} would be needed for {goal}"
    trial = division if changed is division.amounts else division.again(changed)
    if words and trial.shares[row] >= goal:
        return f"{words} would give {goal}"
    more = _missing_gpus(trial, row, goal)
    if more is None:
        return f"no single change would give {goal}"
    gpus = f"{more} more GPU{'' if more == 1 else 's'} in the pool"
    return f"{words + ' and ' if words else ''}{gpus} would give {goal}"


def _missing_gpus(division: Division, row: int, goal: Number) -> int | None:
    """The fewest GPUs found that, added to the pool, raise the share to `goal`."""
    start = division.amounts.capacity
    lacks, high = 0, 1
    ample = 2 * (start + sum(int(x) for x in division.amounts.demand)) + int(goal)
    ample += sum(int(x) for x in division.amounts.nominal)
    while division.with_capacity(start + high).shares[row] < goal:
        lacks, high = high, high * 2
        if lacks > ample:
            return None
    while high - lacks > 1:
        middle = (lacks + high) // 2
        if division.with_capacity(start + middle).shares[row] < goal:
            lacks = middle
        else:
            high = middle
    return high


def _bounds(division: Division, row: int) -> Iterator[Cause]:
    """All hard bounds of one node; a group has no demand of its own."""
    node, pool, amounts = division.layout.nodes[row], division.pool, division.amounts
    if not division.layout.forest.has_children[row]:
        yield Cause("demand", row, division.unscaled(amounts.demand[row]))
    for name, at_most in sorted(node.limit.get(pool, {}).items()):
        yield Cause(name, row, at_most if division.given is None else int(at_most))
    quota = division.unscaled(division.exact.claims.guarantee[row])
    if not node.weight:
        yield Cause("weight", row, quota)
    if pool in node.borrowing_limit:
        yield Cause("borrowing_limit", row, quota + division.unscaled(amounts.borrowing_limit[row]))


def _step(division: Division, row: int) -> int:
    """The node's step; 0 if GPUs are divisible."""
    return 0 if division.given is None else int(division.amounts.step[row])


def _with(values: Ints, row: int, value: int) -> Ints:
    """A copy of the array with one value changed."""
    changed = values.copy()
    changed[row] = value
    return changed

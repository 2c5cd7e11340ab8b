"""Answers of the division: typed for the daemon, JSON for `cohortd allocate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from quotas.shares.engine.ceiling import ceilings
from quotas.shares.engine.explain import explain, limiting
from quotas.shares.engine.pool import Division, divide_pool, lay_out
from quotas.shares.engine.problem import Number, Problem, read_problem


class Answer(NamedTuple):
    """One startup's part of one pool in GPUs, what limits it, and the reason as a sentence."""

    share: Number
    ceiling: Number
    nominal: Number
    borrowed: Number
    lent: Number
    limited_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Solution:
    """The answers by startup and pool, in the order of the names, whatever the input's order."""

    answers: Mapping[str, Mapping[str, Answer]]
    unallocated: Mapping[str, Number]
    """GPUs of each pool that no startup has."""


def solve(problem: Problem) -> Solution:
    """Divide the pools of a well-formed problem."""
    layout = lay_out(problem)
    answers: dict[str, dict[str, Answer]] = {layout.nodes[row].name: {} for row in layout.leaves}
    unallocated: dict[str, Number] = {}
    for pool in sorted(problem.pools):
        division = divide_pool(layout, pool)
        tops = ceilings(division)
        for row in layout.leaves:
            answers[layout.nodes[row].name][pool] = _answer(division, row, tops[row])
        unallocated[pool] = division.unallocated
    return Solution(answers, unallocated)


def allocate(raw: object) -> dict[str, object]:
    """Divide a problem in its JSON form and answer in JSON. Raises ProblemError."""
    problem = read_problem(raw)
    solution = solve(problem)
    write = exact_text if problem.divisible else int
    shares = {
        name: {
            pool: {k: v if isinstance(v, str) else write(v) for k, v in answer._asdict().items()}
            for pool, answer in answers.items()
        }
        for name, answers in solution.answers.items()
    }
    unallocated = {pool: write(gpus) for pool, gpus in solution.unallocated.items()}
    return {"shares": shares, "unallocated": unallocated}


def _answer(division: Division, row: int, ceiling: Number) -> Answer:
    """One startup's answer for one pool."""
    cause = limiting(division, row)
    return Answer(
        share=division.shares[row],
        ceiling=ceiling,
        nominal=division.unscaled(division.amounts.nominal[row]),
        borrowed=division.flows.borrowed[row],
        lent=division.flows.lent[row],
        limited_by=cause.name,
        reason=explain(division, row, ceiling, cause),
    )


def exact_text(amount: Number) -> str:
    """A terminating number as a decimal, any other as a ratio of integers."""
    ratio = Fraction(amount)
    for digits in range(19):
        scaled = ratio * 10**digits
        if scaled.denominator == 1:
            text = f"{abs(scaled.numerator):0{digits + 1}d}"
            cut = len(text) - digits
            return ("-" if ratio < 0 else "") + text[:cut] + ("." + text[cut:] if digits else "")
    return f"{ratio.numerator}/{ratio.denominator}"

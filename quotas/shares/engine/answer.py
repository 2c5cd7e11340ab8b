"""What is every startup's share of every pool? The JSON contract of `cohortd allocate`."""

from __future__ import annotations

from fractions import Fraction

from quotas.shares.engine.ceiling import ceilings
from quotas.shares.engine.explain import explain, limiting
from quotas.shares.engine.pool import Division, divide_pool, lay_out
from quotas.shares.engine.problem import Number, read_problem


def allocate(problem: object) -> dict[str, object]:
    """Divide the pools of a problem, given in its JSON form. Raises ProblemError.

    The answer's order is that of the names, whatever the order of the input.
    """
    layout = lay_out(read_problem(problem))
    shares: dict[str, dict[str, dict[str, object]]] = {
        layout.nodes[row].name: {} for row in layout.leaves
    }
    unallocated: dict[str, object] = {}
    for pool in sorted(layout.problem.pools):
        division = divide_pool(layout, pool)
        tops = ceilings(division)
        for row in layout.leaves:
            shares[layout.nodes[row].name][pool] = _answer(division, row, tops[row])
        unallocated[pool] = _written(division, division.unallocated)
    return {"shares": shares, "unallocated": unallocated}


def _answer(division: Division, row: int, ceiling: Number) -> dict[str, object]:
    """One startup's answer for one pool."""
    amounts = {
        "share": division.shares[row],
        "ceiling": ceiling,
        "nominal": division.unscaled(division.amounts.nominal[row]),
        "borrowed": division.flows.borrowed[row],
        "lent": division.flows.lent[row],
    }
    answer: dict[str, object] = {key: _written(division, x) for key, x in amounts.items()}
    cause = limiting(division, row)
    answer["limited_by"] = cause.name
    answer["reason"] = explain(division, row, ceiling, cause)
    return answer


def _written(division: Division, amount: Number) -> int | str:
    """Whole GPUs as a number; exact ones as a decimal or rational string."""
    return exact_text(amount) if division.given is None else int(amount)


def exact_text(amount: Number) -> str:
    """A decimal where it ends, a ratio of integers where it does not."""
    ratio = Fraction(amount)
    for digits in range(19):
        scaled = ratio * 10**digits
        if scaled.denominator == 1:
            text = f"{abs(scaled.numerator):0{digits + 1}d}"
            cut = len(text) - digits
            return ("-" if ratio < 0 else "") + text[:cut] + ("." + text[cut:] if digits else "")
    return f"{ratio.numerator}/{ratio.denominator}"

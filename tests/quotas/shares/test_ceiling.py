"""The bound of the ceilings of many startups, against ceilings by division."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from quotas.shares.engine import allocate, read_problem
from quotas.shares.engine.ceiling import EXACT_UP_TO, ceiling, lower_bounds
from quotas.shares.engine.pool import Division, divide_pool, lay_out
from tests.quotas.shares.problems import POOL, flat, node, problem, trees


def division(stated: dict[str, Any]) -> Division:
    return divide_pool(lay_out(read_problem(stated)), POOL)


@settings(max_examples=300, deadline=None)
@given(flat() | trees())
def test_the_bound_for_many_startups_never_passes_the_exact_ceiling(stated: dict[str, Any]) -> None:
    """The bound is at least the share. Above the share, it is at most the divisible ceiling."""
    exact = division(stated | {"divisible": True})
    for made in (exact, division(stated)):
        for row, bound in lower_bounds(made).items():
            assert made.shares[row] <= bound <= max(made.shares[row], ceiling(exact, row))


def test_a_lender_among_many_may_have_its_quota_back() -> None:
    """With more startups than are divided one by one, a lender's ceiling is still its quota."""
    nodes = [node(f"s{i}", demand=9) for i in range(EXACT_UP_TO + 1)]
    answer: Any = allocate(problem(60, node("lender", nominal=8), *nodes))
    assert answer["shares"]["lender"][POOL]["ceiling"] == 8

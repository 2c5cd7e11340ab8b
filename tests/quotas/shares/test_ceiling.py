"""Ceilings by query, for many startups, against ceilings by division."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from quotas.shares.engine import allocate, read_problem
from quotas.shares.engine.ceiling import EXACT_UP_TO, ceiling, lower_bounds
from quotas.shares.engine.pool import Division, divide_pool, lay_out
from tests.quotas.shares.problems import POOL, flat, node, problem, trees


def division(stated: dict[str, Any]) -> Division:
    return divide_pool(lay_out(read_problem(stated)), POOL)


@settings(max_examples=150, deadline=None)
@given(flat())
def test_in_a_flat_pool_the_query_rounds_the_exact_ceiling_down(stated: dict[str, Any]) -> None:
    """The query is the divisible ceiling's floor, or the share where that is larger."""
    made, exact = division(stated), division(stated | {"divisible": True})
    for row, bound in lower_bounds(made).items():
        assert bound == max(made.shares[row], ceiling(exact, row) // 1)


@settings(max_examples=150, deadline=None)
@given(trees())
def test_in_a_tree_the_query_never_passes_the_exact_ceiling(stated: dict[str, Any]) -> None:
    """A query is at most the exact ceiling or the share, and short by less than the depth."""
    made, exact = division(stated), division(stated | {"divisible": True})
    depth = len(made.layout.forest.levels)
    for row, bound in lower_bounds(made).items():
        top = ceiling(exact, row)
        assert top - depth < bound <= max(made.shares[row], top)


def test_a_lender_among_many_may_have_its_quota_back() -> None:
    """With more startups than are divided one by one, a lender's ceiling is still its quota."""
    nodes = [node(f"s{i}", demand=9) for i in range(EXACT_UP_TO + 1)]
    answer: Any = allocate(problem(60, node("lender", nominal=8), *nodes))
    assert answer["shares"]["lender"][POOL]["ceiling"] == 8

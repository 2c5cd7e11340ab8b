"""A bad problem is refused in one sentence that names node, field and value."""

from __future__ import annotations

from typing import Any

import pytest

from quotas.shares.engine import ProblemError, allocate
from tests.quotas.shares.problems import divided, node, problem

REFUSED: dict[str, tuple[Any, str]] = {
    "a cycle": (
        problem(4, node("a", "b"), node("b", "a")),
        "node 'a': field 'parent' is 'b', which closes a cycle",
    ),
    "a tree without end": (
        problem(4, node("n000"), *(node(f"n{i:03}", f"n{i - 1:03}") for i in range(1, 251))),
        "node 'n250': field 'parent' is 'n249', which puts it at level 251",
    ),
    "an unknown parent": (problem(4, node("a", "x")), "node 'a': field 'parent' is 'x'"),
    "an unknown pool": (
        problem(4, {"name": "a", "demand": {"b300": 1}}),
        "node 'a': field 'demand' is for pool 'b300', which does not exist",
    ),
    "a duplicate name": (problem(4, node("a"), node("a")), "node 'a': field 'name' is 'a'"),
    "negative GPUs": (problem(4, node("a", nominal=-1)), "field 'nominal' for pool 'h100' is -1"),
    "fractional GPUs": (problem(4, node("a", demand=1.5)), "field 'demand' for pool 'h100' is 1.5"),
    "a negative weight": (problem(4, node("a", weight=-2)), "node 'a': field 'weight' is -2"),
    "a demand on an inner node": (
        problem(4, node("g", demand=3), node("a", "g")),
        "node 'g': field 'demand' for pool 'h100' is 3",
    ),
    "a step of none": (problem(4, node("a", step=0)), "field 'step' for pool 'h100' is 0"),
    "not a number": (problem(4, node("a", limit="many")), "'limit' for pool 'h100' is 'many'"),
    "infinity": (problem(4, node("a", weight=float("inf"))), "field 'weight' is inf"),
    "an exponent without end": (
        problem(4, node("a", demand="1e999999999")),
        "field 'demand' for pool 'h100' is '1e999999999', which has more than 28 digits",
    ),
    "a weight near nothing": (problem(4, node("a", weight=1e-300)), "field 'weight' is 1e-300"),
    "too large a number": (problem(10**28), "pool 'h100': field 'gpus' has more than 28 digits"),
    "a ratio with no end": (problem(4, node("a", weight="1/0")), "field 'weight' is '1/0'"),
    "a null weight": (problem(4, node("a", weight=None)), "field 'weight' is None"),
    "a null demand": (problem(4, node("a", demand=None)), "'demand' for pool 'h100' is None"),
    "its own parent": (problem(4, node("a", "a")), "field 'parent' is 'a', which closes a cycle"),
    "not a truth": (problem(4) | {"divisible": 1}, "field 'divisible' is 1"),
    "a misspelt field": (problem(4, {"name": "a", "nominl": 3}), "node 'a': field 'nominl' is 3"),
    "a capacity below 0": (problem(-4), "pool 'h100': field 'gpus' is -4"),
    "no capacity": ({"pools": {"h100": {}}, "nodes": []}, "pool 'h100': field 'gpus' is missing"),
    "no list": ({"pools": {}, "nodes": 3}, "field 'nodes' is 3"),
    "no object": ([], "the problem is []"),
    "no name": (problem(4, {"name": ""}), "node number 1: field 'name' is ''"),
    "a truth for GPUs": (problem(True), "pool 'h100': field 'gpus' is True"),
    "a priority in parts": (problem(4, node("a", priority=1.5)), "field 'priority' is 1.5"),
    "a negative cause": (
        problem(4, node("a", limit={"pace": -1})),
        "field 'limit' for pool 'h100', cause 'pace', is -1",
    ),
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_bad_problem_is_refused(kind: str) -> None:
    """The refusal is one line and names where, which field, and what it held."""
    stated, says = REFUSED[kind]
    with pytest.raises(ProblemError) as refusal:
        allocate(stated)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_node_may_come_before_its_parent() -> None:
    """A tree is read whole: the order of its nodes means nothing."""
    assert divided(problem(4, node("a", "g", demand=9), node("g"))) == {"a": 4}


def test_whole_amounts_may_be_written_as_decimals() -> None:
    """2.0 GPUs are 2 GPUs."""
    assert divided(problem(4.0, node("a", demand=2.0))) == {"a": 2}


def test_the_deepest_tree_is_divided() -> None:
    """A chain of as many levels as are allowed hands its GPUs down, in steps of two as well."""
    chain = [node("n0"), *(node(f"n{i}", f"n{i - 1}") for i in range(1, 249))]
    assert divided(problem(9, *chain, node("leaf", "n248", demand=5, step=2))) == {"leaf": 4}

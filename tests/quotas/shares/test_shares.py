"""The properties of a division, one small problem each."""

from __future__ import annotations

from typing import Any

import pytest

from quotas.shares.engine import allocate
from tests.quotas.shares.problems import POOL, divided, node, problem

SHARES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nominal comes first": (
        problem(10, node("a", nominal=8, demand=8), node("b", demand=50, weight=100)),
        {"a": 8, "b": 2},
    ),
    "idle nominal is lent by weight": (
        problem(
            16, node("idle", nominal=9, demand=0), node("a", demand=50, weight=3),
            node("b", demand=50), node("c", nominal=7, demand=3),
        ),
        {"idle": 0, "a": 10, "b": 3, "c": 3},
    ),
    "priority comes before weight": (
        problem(10, node("a", demand=8, priority=1), node("b", demand=8, weight=9)),
        {"a": 8, "b": 2},
    ),
    "a lending limit keeps the rest idle": (
        problem(10, node("a", nominal=10, lending_limit=4), node("b", demand=9)),
        {"a": 0, "b": 4},
    ),
    "weight 0 never borrows": (
        problem(10, node("a", nominal=2, demand=9, weight=0), node("b", demand=1)),
        {"a": 2, "b": 1},
    ),
    "inside a cohort first": (
        problem(
            10, node("g"), node("h"), node("a", "g", nominal=10), node("b", "g", demand=8),
            node("c", "h", demand=50, weight=50),
        ),
        {"a": 0, "b": 8, "c": 2},
    ),
    "too little capacity shrinks nominal by weight": (
        problem(9, node("a", nominal=8, demand=8, weight=2), node("b", nominal=8, demand=8)),
        {"a": 6, "b": 3},
    ),
    "a server is not split": (
        problem(12, node("a", demand=12, step=8), node("b", demand=12)),
        {"a": 0, "b": 12},
    ),
    "a nominal that is no multiple guarantees the floor": (
        problem(12, node("a", nominal=12, demand=12, step=8), node("b", demand=9)),
        {"a": 8, "b": 4},
    ),
    "what rounding leaves is lent under the lending limit": (
        problem(12, node("a", nominal=12, demand=12, step=8, lending_limit=1), node("b", demand=9)),
        {"a": 8, "b": 1},
    ),
    "a remainder goes to the larger bank": (
        problem(1, node("a", demand=1), node("b", demand=1, banked=1)),
        {"a": 0, "b": 1},
    ),
    "then to the least recently served": (
        problem(1, node("a", demand=1, served_s=7), node("b", demand=1, served_s=6)),
        {"a": 0, "b": 1},
    ),
    "what one cohort cannot take another gets": (
        problem(
            8, node("g"), node("h"), node("a", "g", demand=8, step=8), node("b", "h", demand=8)
        ),
        {"a": 0, "b": 8},
    ),
    "a group's limit binds its members": (
        problem(
            20, node("g", limit=5), node("a", "g", demand=9), node("b", "g", demand=9, weight=4)
        ),
        {"a": 1, "b": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", sorted(SHARES))
def test_rules(rule: str) -> None:
    """Each rule of docs/shares.md, in the smallest problem that shows it."""
    stated, expected = SHARES[rule]
    assert divided(stated) == expected


def answer(stated: dict[str, Any], name: str) -> dict[str, Any]:
    result: Any = allocate(stated)
    return dict(result["shares"][name][POOL])


def test_the_contract_of_the_blueprint() -> None:
    """The example of the contract has its answer, with every missing field at its default."""
    stated = problem(
        40, node("spring"), node("acme", "spring", nominal=8, borrowing_limit=16, demand=12)
    )
    got = allocate(stated)
    reason = got["shares"]["acme"][POOL].pop("reason")  # type: ignore[index]
    assert got == {
        "shares": {
            "acme": {
                POOL: {
                    "share": 12, "ceiling": 24, "nominal": 8, "borrowed": 4, "lent": 0,
                    "limited_by": "demand",
                }
            }
        },
        "unallocated": {POOL: 28},
    }  # fmt: skip
    assert reason == (
        "acme has 12 of the 12 GPUs it asks for in h100 (8 of 8 nominal and 4 borrowed); "
        "limited by its demand; asking for 1 more would give 13."
    )


def test_exact_shares_are_decimals_or_ratios() -> None:
    """Divisible shares are strings: a decimal where it ends, else a ratio."""
    nodes = [node(name, demand=9) for name in "abc"]
    assert answer(problem(10, *nodes, divisible=True), "a")["share"] == "10/3"
    assert answer(problem("7.5", *nodes, divisible=True), "a")["share"] == "2.5"


def test_the_smallest_cause_names_the_limit() -> None:
    """Of several causes all bind, and the smallest is named."""
    limit = {"policy": 16, "credits": 5, "pace": 8}
    got = answer(problem(40, node("a", demand=12, limit=limit)), "a")
    assert (got["share"], got["limited_by"]) == (5, "credits")
    assert got["reason"].endswith("its credits limit; a credits limit of 6 would give 6.")


@pytest.mark.parametrize(
    ("nodes", "cause"),
    [
        ([node("a", nominal=1, demand=9, weight=0)], "weight"),
        ([node("a", demand=9, borrowing_limit=3)], "borrowing_limit"),
        ([node("a", demand=9), node("b", nominal=20, lending_limit=0)], "lending_limit"),
        ([node("a", demand=90)], "capacity"),
        ([node("a", demand=12, step=8)], "step"),
        ([node("g", limit=6), node("a", "g", demand=9)], "limit"),
    ],
)
def test_what_binds_is_named(nodes: list[dict[str, Any]], cause: str) -> None:
    """Whatever keeps a startup from one more step is named."""
    assert answer(problem(20, *nodes), "a")["limited_by"] == cause


def test_the_change_it_names_is_enough() -> None:
    """The reason's change, when made, gives what the reason says."""
    nodes = [node("a", demand=90), node("b", demand=90, weight=3)]
    assert answer(problem(20, *nodes), "a")["reason"].endswith(
        "limited by the pool's capacity; 2 more GPUs in the pool would give 6."
    )
    assert divided(problem(22, *nodes))["a"] == 6
    assert divided(problem(21, *nodes))["a"] == 5


def test_lenders_lend_before_the_pool() -> None:
    """Lenders give in proportion to what they offer, by largest remainder; the pool last."""
    stated = problem(
        20, node("a", nominal=6), node("b", nominal=3), node("c", demand=5), node("d", nominal=1)
    )
    assert divided(stated, "lent") == {"a": 3, "b": 2, "c": 0, "d": 0}


def test_a_ceiling_wins_back_what_is_lent() -> None:
    """A lender's ceiling is its nominal quota though all of it is lent."""
    stated = problem(8, node("a", nominal=8, demand=0), node("b", demand=20))
    assert divided(stated, "ceiling") == {"a": 8, "b": 8}

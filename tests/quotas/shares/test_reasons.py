"""A reason is true: the change that it names has the effect that it promises."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.shares.engine import allocate
from tests.quotas.shares.problems import POOL, divided, node, problem, trees

STEPS = (1, 1, 2, 4, 8)
BOUND = re.compile(r"limited by (?:(its|\w+'s) )?([^;.]+)")
PROMISE = re.compile(r"; (?P<change>(?!no single)[^;]+?) would give (?P<goal>\d+)\.$")
PARTS = {
    "demand": re.compile(r"asking for (\d+) more"),
    "borrowing_limit": re.compile(r"a borrowing limit of (\d+)"),
    "nominal": re.compile(r"a nominal quota of (\d+)"),
    "limit": re.compile(r"a (?:\w+ )?limit of (\d+)"),
    "gpus": re.compile(r"(\d+) more GPUs? in the pool"),
}


def answers(stated: dict[str, Any]) -> dict[str, dict[str, Any]]:
    made: Any = allocate(stated)
    return {name: own[POOL] for name, own in made["shares"].items()}


def step_of(stated: dict[str, Any], name: str) -> int:
    """Its step; a group that lost its members is a startup of step 1."""
    return int(*(e.get("step", {}).get(POOL, 1) for e in stated["nodes"] if e["name"] == name))


def amended(stated: dict[str, Any], name: str, reason: str) -> dict[str, Any]:
    """The problem with what the reason of a startup asks to be changed."""
    made = copy.deepcopy(stated)
    promise, bound = PROMISE.search(reason), BOUND.search(reason)
    assert promise is not None and bound is not None, reason
    whose = name if bound[1] in (None, "its") else bound[1].removesuffix("'s")
    (own,) = (entry for entry in made["nodes"] if entry["name"] == whose)
    found = {key: part.search(promise["change"]) for key, part in PARTS.items()}
    if found["borrowing_limit"]:
        found["limit"] = None
    assert any(found.values()), reason
    for key, match in found.items():
        if match is None:
            continue
        number = int(match[1])
        if key == "gpus":
            made["pools"][POOL]["gpus"] += number
        elif key == "demand":
            own["demand"] = {POOL: own.get("demand", {}).get(POOL, 0) + number}
        else:
            own[key] = {POOL: number}
    return made


@settings(max_examples=80, deadline=None)
@given(trees(steps=STEPS))
def test_the_change_that_is_named_gives_one_more_step(stated: dict[str, Any]) -> None:
    """Whatever a reason says "would give" more, does: the very number, for every startup."""
    for name, own in answers(stated).items():
        promise = PROMISE.search(own["reason"])
        if promise is not None:
            after = divided(amended(stated, name, own["reason"]))[name]
            assert after >= own["share"] + step_of(stated, name), own["reason"]


@settings(max_examples=80, deadline=None)
@given(trees(steps=STEPS))
def test_one_less_than_the_demand_or_limit_it_names_is_not_enough(stated: dict[str, Any]) -> None:
    """The change is the smallest of its kind: a demand or a limit one lower gives no step."""
    for name, own in answers(stated).items():
        promise = PROMISE.search(own["reason"])
        if promise is None or "in the pool" in promise["change"]:
            continue
        made = amended(stated, name, own["reason"])
        (mine,) = (e for e in made["nodes"] if e["name"] == name)
        if promise["change"].startswith("asking"):
            mine["demand"] = {POOL: mine["demand"][POOL] - 1}
            assert divided(made)[name] < own["share"] + step_of(stated, name), own["reason"]


@settings(max_examples=60, deadline=None)
@given(trees(steps=STEPS), st.integers(0, 60))
def test_a_reason_says_the_numbers_of_its_answer(stated: dict[str, Any], gpus: int) -> None:
    """Share, demand and what is borrowed stand in the sentence as they stand in the answer."""
    stated["pools"][POOL]["gpus"] = gpus
    demands = {e["name"]: e["demand"][POOL] for e in stated["nodes"] if "demand" in e}
    for name, own in answers(stated).items():
        assert own["reason"].startswith(
            f"{name} has {own['share']} of the {demands.get(name, 0)} GPUs it asks for in {POOL} ("
        )
        assert f" and {own['borrowed']} borrowed" in own["reason"]
        assert own["reason"].endswith(".") and "\n" not in own["reason"]


HARD: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "no capacity at all": (
        problem(0, node("a", nominal=8, demand=8), node("b", demand=4)),
        {"a": 0, "b": 0},
    ),
    "a step larger than the pool": (
        problem(7, node("a", nominal=7, demand=8, step=8), node("b", demand=9)),
        {"a": 0, "b": 7},
    ),
    "nobody has a weight": (
        problem(9, node("a", demand=5, weight=0), node("b", nominal=2, demand=5, weight=0)),
        {"a": 0, "b": 2},
    ),
    "nobody lends": (
        problem(
            8, node("a", nominal=4, lending_limit=0), node("b", nominal=4, demand=9),
        ),
        {"a": 0, "b": 4},
    ),
    "a group that never borrows": (
        problem(
            9, node("g", weight=0), node("a", "g", nominal=1, demand=9), node("b", demand=1)
        ),
        {"a": 1, "b": 1},
    ),
    "a limit of nothing": (
        problem(9, node("a", nominal=5, demand=9, limit=0), node("b", demand=9)),
        {"a": 0, "b": 9},
    ),
    "the lowest priority of all": (
        problem(9, node("a", demand=9, priority=-(10**20)), node("b", demand=5)),
        {"a": 4, "b": 5},
    ),
    "weights far apart": (
        problem(9, node("a", demand=9, weight=1e-20), node("b", demand=9, weight=10**20)),
        {"a": 0, "b": 9},
    ),
    "more than an int64 of GPUs": (
        problem(10**24, node("a", demand=10**25), node("b", demand=10**25, weight=3)),
        {"a": 25 * 10**22, "b": 75 * 10**22},
    ),
    "a step that leaves an odd GPU": (
        problem(
            11, node("a", demand=20, step=4), node("b", demand=20, step=2), node("c", demand=0)
        ),
        {"a": 4, "b": 6, "c": 0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(HARD))
def test_hard_problems(case: str) -> None:
    """Nothing, too much, and everything at its edge are divided and explained all the same."""
    stated, expected = HARD[case]
    assert {name: own["share"] for name, own in answers(stated).items()} == expected
    assert all(own["ceiling"] >= 0 and own["reason"] for own in answers(stated).values())


def test_a_deep_chain_of_limits_names_the_group_that_binds() -> None:
    """The tightest bound may be far above: it is named, and widening it gives a step."""
    chain = [node("n0", limit=3), *(node(f"n{i}", f"n{i - 1}") for i in range(1, 60))]
    stated = problem(9, *chain, node("leaf", "n59", demand=9))
    own = answers(stated)["leaf"]
    assert (own["share"], own["limited_by"]) == (3, "limit")
    assert own["reason"].endswith("limited by n0's limit; a limit of 4 would give 4.")
    assert divided(amended(stated, "leaf", own["reason"])) == {"leaf": 4}

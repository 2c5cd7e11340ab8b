"""Properties of every division: bounds, sums, purity, monotony, efficiency."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.shares.engine import allocate, read_problem
from quotas.shares.engine.pool import Division, divide_pool, lay_out
from tests.quotas.shares.problems import POOL, divided, flat, node, problem, trees

STEPS = (1, 1, 2, 4, 8)


def division(stated: dict[str, Any]) -> Division:
    return divide_pool(lay_out(read_problem(stated)), POOL)


def subtree_quota(made: Division) -> list[Fraction]:
    quota = [Fraction(made.unscaled(x)) for x in made.amounts.nominal]
    for row in sorted(made.layout.parent_of, reverse=True):
        quota[made.layout.parent_of[row]] += quota[row]
    return quota


def assert_within_limits(made: Division) -> None:
    quota = subtree_quota(made)
    for row, entry in enumerate(made.layout.nodes):
        share = made.shares[row]
        assert share >= 0
        assert all(share <= at_most for at_most in entry.limit.get(POOL, {}).values())
        if POOL in entry.borrowing_limit:
            assert share <= quota[row] + entry.borrowing_limit[POOL]
        if not entry.weight:
            assert share <= quota[row]
        if not made.layout.forest.has_children[row]:
            assert share <= entry.demand.get(POOL, 0)
            if made.given is not None:
                assert share % entry.step.get(POOL, 1) == 0
            lent = made.flows.lent[row]
            assert lent <= quota[row] - min(share, quota[row])
            if POOL in entry.lending_limit:
                assert lent <= entry.lending_limit[POOL]
    assert made.unallocated >= 0


@settings(max_examples=150, deadline=None)
@given(trees(steps=STEPS), st.booleans())
def test_no_limit_is_passed(stated: dict[str, Any], divisible: bool) -> None:
    """No share passes capacity, demand, a limit, a borrowing or a lending limit; steps hold."""
    assert_within_limits(division(stated | {"divisible": divisible}))


@settings(max_examples=150, deadline=None)
@given(trees(steps=STEPS), st.booleans())
def test_what_is_borrowed_is_lent(stated: dict[str, Any], divisible: bool) -> None:
    """I9: what is borrowed equals what startups lend plus what the pool and groups lend."""
    made = division(stated | {"divisible": divisible})
    leaves = made.layout.leaves
    quota = sum(Fraction(made.unscaled(made.amounts.nominal[row])) for row in leaves)
    borrowed = sum(max(0, made.shares[r] - made.unscaled(made.amounts.nominal[r])) for r in leaves)
    rest = borrowed - sum(made.flows.lent[row] for row in leaves)
    assert rest >= 0
    idle = sum(max(0, made.unscaled(made.amounts.nominal[r]) - made.shares[r]) for r in leaves)
    assert rest <= max(0, made.layout.problem.pools[POOL] - quota + idle)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.lists(st.tuples(*[st.integers(0, 12)] * 2, st.integers(1, 4))))
def test_all_is_handed_out(gpus: int, rows: list[tuple[int, int, int]]) -> None:
    """I9: without limits the shares sum to min(capacity, demand), whole and divisible."""
    nodes = [node(f"s{i}", nominal=n, demand=d, weight=w) for i, (n, d, w) in enumerate(rows)]
    due = min(gpus, sum(d for _, d, _ in rows))
    for divisible in (False, True):
        assert sum(divided(problem(gpus, *nodes, divisible=divisible)).values()) == due


@settings(max_examples=100, deadline=None)
@given(trees(steps=STEPS), st.integers(0, 2**32))
def test_the_order_of_the_input_never_matters(stated: dict[str, Any], seed: int) -> None:
    """I15: any order of nodes and of their fields gives the same answer, byte for byte."""
    mixed = random.Random(seed)
    nodes = [dict(mixed.sample(list(e.items()), len(e))) for e in stated["nodes"]]
    mixed.shuffle(nodes)
    assert allocate(stated | {"nodes": nodes}) == allocate(stated)


@settings(max_examples=150, deadline=None)
@given(trees())
def test_whole_gpus_stay_within_one_of_exact(stated: dict[str, Any]) -> None:
    """With step 1 every node, groups too, is less than one GPU from its exact share."""
    made = division(stated)
    for share, exact in zip(made.shares, made.exact_shares, strict=True):
        assert abs(share - exact) < 1


@settings(max_examples=100, deadline=None)
@given(flat(), st.data())
def test_a_leaver_takes_from_nobody(stated: dict[str, Any], data: Any) -> None:
    """I16: in a flat pool removing a startup lowers no exact share, and no whole one by over 1."""
    gone = data.draw(st.integers(0, len(stated["nodes"]) - 1))
    rest = [entry for place, entry in enumerate(stated["nodes"]) if place != gone]
    for slack, divisible in ((0, True), (1, False)):
        before = divided(stated | {"divisible": divisible})
        after = divided(stated | {"divisible": divisible, "nodes": rest})
        assert all(after[name] >= before[name] - slack for name in after)


@settings(max_examples=100, deadline=None)
@given(trees(), st.booleans())
def test_nothing_idle_could_be_used(stated: dict[str, Any], divisible: bool) -> None:
    """Pareto: GPUs are idle only if every startup is at a bound, or lenders keep the rest."""
    made = division(stated | {"divisible": divisible})
    kept = any(POOL in entry.lending_limit for entry in made.layout.nodes)
    if kept or not made.unallocated:
        return
    step = 0 if divisible else 1
    quota = subtree_quota(made)
    for row in made.layout.leaves:
        at: int | None = row
        bound = made.shares[row] >= made.layout.nodes[row].demand.get(POOL, 0)
        while at is not None and not bound:
            entry, share = made.layout.nodes[at], made.shares[at]
            tops = list(entry.limit.get(POOL, {}).values())
            tops += [quota[at] + x for pool, x in entry.borrowing_limit.items() if pool == POOL]
            bound = any(share + step > top or share >= top for top in tops) or not entry.weight
            at = made.layout.parent_of.get(at)
        assert bound, made.layout.nodes[row].name


@settings(max_examples=150, deadline=None)
@given(trees(steps=STEPS), st.data())
def test_a_ceiling_is_the_share_of_an_unlimited_demand(stated: dict[str, Any], data: Any) -> None:
    """A ceiling equals the share the startup gets when it asks for everything."""
    ceilings = divided(stated, "ceiling")
    name = data.draw(st.sampled_from(sorted(ceilings)))
    asking = [e | ({"demand": {POOL: 999}} if e["name"] == name else {}) for e in stated["nodes"]]
    assert ceilings[name] == divided(stated | {"nodes": asking})[name]


@settings(max_examples=100, deadline=None)
@given(trees())
def test_at_step_one_nobody_holds_more_than_a_ceiling(stated: dict[str, Any]) -> None:
    """At step 1 a ceiling is never more than one GPU below the share it bounds."""
    shares, ceilings = divided(stated), divided(stated, "ceiling")
    assert all(ceilings[name] >= shares[name] - 1 for name in shares)


@settings(max_examples=60, deadline=None)
@given(flat(), st.integers(2, 10**16))
def test_large_numbers_give_the_same_division(stated: dict[str, Any], times: int) -> None:
    """Amounts beyond an int64 divide like small ones: exact shares scale with the problem."""
    fields = ("nominal", "demand", "limit", "borrowing_limit", "lending_limit")
    scaled = [dict(entry) for entry in stated["nodes"]]
    for entry in scaled:
        for key in fields:
            amount = entry[key][POOL]
            entry[key] = {POOL: amount * times if amount is not None else None}
    gpus = stated["pools"][POOL]["gpus"] * times
    large = {"pools": {POOL: {"gpus": gpus}}, "nodes": scaled, "divisible": True}
    small = divided(stated | {"divisible": True})
    assert divided(large) == {name: share * times for name, share in small.items()}

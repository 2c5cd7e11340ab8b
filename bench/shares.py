"""Benchmark of shares, against textbook progressive filling and a bare sort, in one run.

Run `python -m bench.shares [--large]`; `--large` adds the JSON contract at 100,000 startups.
"""

from __future__ import annotations

import math
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from quotas.shares.engine import allocate
from quotas.shares.engine.divide import divide
from quotas.shares.engine.forest import Amounts, Forest, build_forest
from quotas.shares.engine.whole import round_shares

SIZES = (5, 1_000, 10_000, 30_000, 100_000)
Case = tuple[Forest, list[Amounts]]


def flat_case(size: int, pools: int) -> Case:
    """Startups side by side, ten GPUs each, a little less than they demand."""
    draw = np.random.default_rng(size)
    weights = draw.integers(1, 9, size).tolist()
    forest, _ = build_forest([-1] * size, weights, [0] * size, list(range(size)))
    return forest, [amounts(draw, np.ones(size, bool), 10 * size) for _ in range(pools)]


def deep_case(size: int, pools: int) -> Case:
    """Programs of cohorts of five startups, twenty cohorts each."""
    draw = np.random.default_rng(size)
    cohorts = max(1, size // 5)
    programs = max(1, cohorts // 20)
    parents = [-1] * programs + [at % programs for at in range(cohorts)]
    parents += [programs + at % cohorts for at in range(size)]
    count = len(parents)
    weights = [int(w) for w in draw.integers(1, 9, count)]
    forest, _ = build_forest(parents, weights, [0] * count, list(range(count)))
    leaves = ~forest.has_children
    return forest, [amounts(draw, leaves, 10 * size) for _ in range(pools)]


def amounts(draw: np.random.Generator, leaves: np.ndarray, gpus: int) -> Amounts:
    """Random nominal quota and demand on the startups, no limits."""
    size = len(leaves)
    nominal = np.where(leaves, draw.integers(0, 8, size), 0)
    demand = np.where(leaves, draw.integers(0, 30, size), 0)
    beyond = np.full(size, gpus + int(nominal.sum() + demand.sum()))
    ones, none = np.ones(size, np.int64), np.zeros(size, np.int64)
    return Amounts(gpus, nominal, beyond, beyond, beyond, demand, ones, none, none)


def textbook(weights: list[int], nominal: list[int], demand: list[int], gpus: int) -> list[float]:
    """Textbook progressive filling: raise all shares together, fix the full ones, repeat."""
    shares = [float(min(n, d)) for n, d in zip(nominal, demand, strict=True)]
    wants = [d - s for d, s in zip(demand, shares, strict=True)]
    left = gpus - sum(shares)
    active = [at for at, want in enumerate(wants) if want > 0]
    while active and left > 1e-9:
        level = min(
            left / sum(weights[at] for at in active), min(wants[at] / weights[at] for at in active)
        )
        for at in active:
            shares[at] += level * weights[at]
            wants[at] -= level * weights[at]
        left -= level * sum(weights[at] for at in active)
        active = [at for at in active if wants[at] > 1e-9]
    return shares


def best_s(action: Callable[[], object], budget_s: float = 1.0) -> float:
    """Least time of one run, of at least three."""
    best, spent, runs = math.inf, 0.0, 0
    while runs < 3 or (spent < budget_s and runs < 2000):
        start = time.perf_counter()
        action()
        took = time.perf_counter() - start
        best, spent, runs = min(best, took), spent + took, runs + 1
    return best


def peak_mib(action: Callable[[], object]) -> float:
    """Most memory that one run holds, in MiB."""
    tracemalloc.start()
    action()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def divide_all(case: Case) -> None:
    """Whole shares of every pool."""
    forest, pools = case
    for pool in pools:
        round_shares(forest, pool, divide(forest, pool))


def measure(name: str, make: Callable[[int, int], Case], pools: int) -> None:
    """One row for each size, and the exponent of growth over the sizes."""
    times = []
    for size in SIZES:
        case = make(size, pools)
        forest, columns = case
        took = best_s(lambda case=case: divide_all(case))
        times.append(took)
        ratios = [c.demand / forest.weight for c in columns]
        floor = best_s(lambda ratios=ratios: [np.sort(x) for x in ratios], 0.3)
        book = math.nan
        if make is flat_case:
            lists = [
                (forest.weight.tolist(), c.nominal.tolist(), c.demand.tolist(), c.capacity)
                for c in columns
            ]
            book = best_s(lambda lists=lists: [textbook(*x) for x in lists], 0.3)
        mib = peak_mib(lambda case=case: divide_all(case))
        print(
            f"{name:10} {pools:5} {size:9,} {took * 1e3:11.3f} {mib:9.1f} "
            f"{book / took:10.1f} {took / floor:8.1f}"
        )
    logs = [math.log(n * math.log(n)) for n in SIZES[1:]]
    slope = np.polyfit(logs, [math.log(t) for t in times[1:]], 1)[0]
    print(f"{'':16} growth: time ~ (n log n)^{slope:.2f} over {len(logs)} sizes from 1,000")


def contract(size: int) -> None:
    """The whole JSON contract: parse, shares, ceilings, lenders and every reason."""
    nodes = [
        {"name": f"s{at}", "nominal": {"h100": at % 8}, "demand": {"h100": at * 7 % 30}}
        for at in range(size)
    ]
    problem = {"pools": {"h100": {"gpus": 10 * size}}, "nodes": nodes}
    start = time.perf_counter()
    allocate(problem)
    print(f"allocate() with ceilings and reasons, {size:,}: {time.perf_counter() - start:.3f} s")


def main() -> None:
    """Print the table."""
    print("shape      pools  startups     best ms  peak MiB  book/ours ours/sort")
    for name, make in (("flat", flat_case), ("three deep", deep_case)):
        for pools in (1, 8):
            measure(name, make, pools)
    for size in (5, 200, 1_000, 10_000, *([100_000] if "--large" in sys.argv else [])):
        contract(size)


if __name__ == "__main__":
    main()

"""Kill rates: how many seeds find each mutant, and by what. The soak can continue them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import ceil

from .hunt import INERT, MUTANTS, UNCLEAN, Mutant, killed_by
from .registry import HALF, days_of

Kills = dict[str, list[str]]
"""By mutant: who found it in each seed from 1 on; "" if nobody did."""
NOBODY = ("", "crash", UNCLEAN, INERT)


def hunted(known: Kills, seeds: int, jobs: int) -> Iterator[Mutant]:
    """Play every mutant's seeds that `known` lacks, and add each result when it is done."""
    with ProcessPoolExecutor(jobs) as pool:
        for mutant in MUTANTS:
            done = known.setdefault(mutant.name, [])
            while batch := undecided(done, seeds):
                done += pool.map(partial(_killed, mutant.name), batch, chunksize=2)
            yield mutant


def undecided(found: Sequence[str], seeds: int) -> range:
    """The next seeds that may decide whether half of all seeds find a mutant; none once decided.

    Whatever the rest would say: a mutant that 100 seeds found is found by half of 200.
    """
    half, killed = ceil(seeds * HALF), kills(found)
    if killed >= half or len(found) - killed > seeds - half:
        return range(0)
    first = len(found) + 1
    return range(first, min(first + half - killed, seeds + 1))


def kills(found: Iterable[str]) -> int:
    """The number of seeds in which somebody found the mutant."""
    return sum(by not in NOBODY for by in found)


def _killed(name: str, seed: int) -> str:
    mutant = next(each for each in MUTANTS if each.name == name)
    return killed_by(mutant, seed, days_of(mutant))


def describe(mutant: Mutant, found: Sequence[str]) -> str:
    """A sentence on one mutant: how many seeds killed it, and by what."""
    by = Counter(found)
    crashes, unclean, _ = by.pop("crash", 0), by.pop(UNCLEAN, 0), by.pop("", 0)
    unused = by.pop(INERT, 0)
    who = ", ".join(f"{name} {count}" for name, count in by.most_common(4))
    crashed = f", {crashes} crashed" * bool(crashes)
    crashed += f", {unclean} fail without it" * bool(unclean)
    crashed += f", {unused} inert" * bool(unused)
    return f"{mutant.name}: {kills(found)} of {len(found)} ({who}{crashed})"


def inert(known: Kills) -> list[str]:
    """Mutants whose planted code ran in none of their seeds."""
    return [name for name, found in known.items() if found and set(found) == {INERT}]


def survivors(known: Kills) -> list[str]:
    """Mutants that fail the hunt: fewer than half of their seeds find them, or they are inert."""
    unused = inert(known)
    few = [m.name for m in MUTANTS if _rate(known.get(m.name, [])) < HALF]
    return [*(name for name in few if name not in unused), *(f"{name} (inert)" for name in unused)]


def _rate(found: list[str]) -> float:
    return kills(found) / len(found) if found else 1.0

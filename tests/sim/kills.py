"""How many seeds find each planted bug, and who notices? For the soak; it can be gone on with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from .mutants import MUTANTS, Mutant, killed_by
from .planting import HALF, days_of

Kills = dict[str, list[str]]
"""By mutant, who found it in each seed from 1 on; "" where nobody did."""


def hunted(known: Kills, seeds: int, jobs: int) -> Iterator[Mutant]:
    """Play every mutant's seeds that are not in `known`, and put them there; each when done."""
    with ProcessPoolExecutor(jobs) as pool:
        for mutant in MUTANTS:
            done = known.setdefault(mutant.name, [])
            rest = range(len(done) + 1, seeds + 1)
            done += pool.map(partial(_killed, mutant.name), rest, chunksize=4)
            yield mutant


def _killed(name: str, seed: int) -> str:
    mutant = next(each for each in MUTANTS if each.name == name)
    return killed_by(mutant, seed, days_of(mutant))


def told(mutant: Mutant, found: Iterable[str]) -> str:
    """A sentence on one mutant: killed by how many, by what, and why not by more."""
    by = Counter(found)
    crashes, nobody = by.pop("crash", 0), by.pop("", 0)
    killed = sum(by.values())
    who = ", ".join(f"{name} {count}" for name, count in by.most_common(4))
    crashed = f", {crashes} fell over" * bool(crashes)
    weak = f"; {mutant.weak}" if mutant.weak else ""
    return f"{mutant.name}: {killed} of {killed + crashes + nobody} ({who}{crashed}){weak}"


def survivors(known: Kills) -> list[str]:
    """Mutants that fewer than half of their seeds find, and that do not say why."""
    return [
        mutant.name
        for mutant in MUTANTS
        if not mutant.weak and _rate(known.get(mutant.name, [])) < HALF
    ]


def _rate(found: list[str]) -> float:
    return sum(by not in ("", "crash") for by in found) / len(found) if found else 1.0

"""Does the auditor see? Bugs planted in the rules must be found from the region's truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ..scenario.script import Script
from . import hunt
from .hunt import MUTANTS, UNCLEAN, Mutant, baseline_fault, killed_by
from .kill_rates import NOBODY, kills, undecided
from .registry import days_of

SEEDS = (1, 2, 3)
DAYS = 12
QUICK = {
    "runs end at the sweep",
    "charges an hour too much",
    "never stops",
    "never disputes",
    "credits never end",
    "a neighbour pays",
    "what is left never expires",
    "limits are forgotten",
    "the guard sleeps",
    "shadow stops too",
    "notices are short",
    "rules are taken before they are recorded",
    "every open notice is reminded of",
    "a notice comes and goes",
}


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in QUICK], ids=lambda m: m.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """With the bug planted, at least one of three seeds breaks an invariant."""
    assert any(killed_by(mutant, seed, DAYS) not in NOBODY for seed in SEEDS)


NEEDS = {mutant.needs: mutant for mutant in MUTANTS if mutant.needs is not None}
BASELINES = (2, 5)


@pytest.mark.parametrize("seed", BASELINES)
@pytest.mark.parametrize("needs", NEEDS, ids=lambda needs: NEEDS[needs].name)
def test_what_a_mutant_needs_breaks_nothing_by_itself(
    needs: Callable[[Script], Script], seed: int
) -> None:
    """The scripts that are hunted, as long and with the same cap, are in order without a bug."""
    assert baseline_fault(needs, NEEDS[needs].sql, seed, days_of(NEEDS[needs])) == ""


def test_a_find_does_not_count_where_the_script_fails_without_the_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug that does nothing, where any play is a storm, is found by nobody."""
    monkeypatch.setattr(hunt, "MOST_CYCLES_A_DAY", 1)
    harmless = Mutant("harmless", lambda _: None)
    assert killed_by(harmless, 2, 4) == "I17"
    assert killed_by(replace(harmless, needs=_as_it_is), 2, 4) == UNCLEAN
    assert kills([UNCLEAN, "I17"]) == 1


def _as_it_is(script: Script) -> Script:
    return script


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_every_bug_has_a_place_to_be_planted(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that moved to another module takes its mutant along, or the hunt would fall over."""
    mutant.apply(monkeypatch)


def test_the_list_is_long_and_each_weak_one_says_why() -> None:
    """At least forty bugs, no name twice; what few seeds find says why."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 40 and set(names) >= QUICK
    assert all(len(m.weak.split()) >= 4 for m in MUTANTS if m.weak)


@pytest.mark.parametrize(
    ("found", "next_"),
    [
        ([], range(1, 5)),
        (["I4", "", "I4"], range(4, 6)),
        (["I4"] * 4, range(0)),
        (["", "crash", "", "", "I4"], range(6, 9)),
        (["", "crash", "", "", "I4", ""], range(0)),
        (["", "", "", "", "I4", "I4", "I4"], range(8, 9)),
    ],
)
def test_a_mutant_is_played_until_half_of_its_seeds_is_settled(
    found: list[str], next_: range
) -> None:
    """Of eight seeds: four finds, or five misses, say what the rest could not change."""
    assert undecided(found, 8) == next_

"""The auditor finds bugs that are planted in the rules, from the region's own truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from quotas.enforcement.decide import decide
from scheduler.act import access, intents

from ..scenario.script import Script
from . import hunt
from .hunt import INERT, MUTANTS, UNCLEAN, Mutant, baseline_fault, killed_by
from .kill_rates import NOBODY, kills, survivors, undecided
from .patch import CountingPatch
from .registry import days_of

SEEDS = range(1, 7)
DAYS = 12
QUICK = {
    "runs end at the sweep",
    "charges an hour too much",
    "never stops",
    "unconfirmed time is never set aside",
    "credits never end",
    "a neighbour pays",
    "what is left never expires",
    "limits are forgotten",
    "the disruption budget is ignored",
    "shadow stops too",
    "notices are short",
    "rules are revoked before they are recorded",
    "every open notice is reminded of",
    "a notice comes and goes",
}


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in QUICK], ids=lambda m: m.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """With the bug planted, at least one of six seeds breaks an invariant."""
    found = []
    for seed in SEEDS:
        found.append(killed_by(mutant, seed, DAYS))
        if found[-1] not in NOBODY:
            return
    pytest.fail("inert: the planted code never ran" if set(found) == {INERT} else str(found))


NEEDS = {mutant.needs: mutant for mutant in MUTANTS if mutant.needs is not None}
BASELINES = (2, 5)


@pytest.mark.parametrize("seed", BASELINES)
@pytest.mark.parametrize("needs", NEEDS, ids=lambda needs: NEEDS[needs].name)
def test_what_a_mutant_needs_breaks_nothing_by_itself(
    needs: Callable[[Script], Script], seed: int
) -> None:
    """Without a bug, the scripts of the hunt have no fault, at the same length and CPU limit."""
    assert baseline_fault(needs, NEEDS[needs].sql, seed, days_of(NEEDS[needs])) == ""


def test_a_find_does_not_count_where_the_script_fails_without_the_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug without effect is found by nobody, although every play has faults."""
    monkeypatch.setattr(hunt, "MOST_CYCLES_A_DAY", 1)
    harmless = Mutant("harmless", lambda _: None)
    assert killed_by(harmless, 2, 4) == "I17"
    assert killed_by(replace(harmless, needs=_as_it_is), 2, 4) == UNCLEAN
    assert kills([UNCLEAN, "I17"]) == 1


def _plant_where_nobody_calls(patch: pytest.MonkeyPatch) -> None:
    """Break the rules of IAM, which a play on the book in memory never uses."""
    patch.setattr(access, "record_revocation", lambda *_: None)


def _plant_a_harmless_call(patch: pytest.MonkeyPatch) -> None:
    """Replace `decide` with itself, which runs in every cycle."""
    patch.setattr("scheduler.cycle.decide", decide)


def _plant_a_harmless_constant(patch: pytest.MonkeyPatch) -> None:
    """Replace a constant with its own value, which every call reads."""
    patch.setattr(intents, "CALL_BUDGET_S", intents.CALL_BUDGET_S)


@pytest.mark.parametrize(
    ("apply", "found"),
    [
        pytest.param(_plant_where_nobody_calls, INERT, id="code that never ran is inert"),
        pytest.param(_plant_a_harmless_call, "", id="a harmless function that ran is a miss"),
        pytest.param(
            _plant_a_harmless_constant, "", id="a harmless constant that was read is a miss"
        ),
    ],
)
def test_a_mutant_whose_code_never_ran_is_inert(
    apply: Callable[[pytest.MonkeyPatch], None], found: str
) -> None:
    """A miss counts only if the planted code ran."""
    assert killed_by(Mutant("harmless", apply), 2, 4) == found


def test_an_inert_mutant_fails_the_hunt() -> None:
    """One mutant that never ran fails a hunt that found all others."""
    known = {mutant.name: ["I4"] for mutant in MUTANTS}
    assert survivors(known) == []
    name = MUTANTS[0].name
    assert survivors(known | {name: [INERT, INERT]}) == [f"{name} (inert)"]
    assert survivors(known | {name: [INERT, "I4"]}) == []


def _as_it_is(script: Script) -> Script:
    return script


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_every_bug_has_a_place_to_be_planted(mutant: Mutant) -> None:
    """A mutant follows its rule to another module, or the hunt would crash."""
    patch = CountingPatch()
    try:
        mutant.apply(patch)
    finally:
        patch.undo()


def test_the_list_is_long() -> None:
    """There are at least forty mutants, and no name occurs twice."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 40 and set(names) >= QUICK


@pytest.mark.parametrize(
    ("found", "next_"),
    [
        pytest.param([], range(1, 5), id="at first four seeds may settle it"),
        pytest.param(["I4", "", "I4"], range(4, 6), id="after two finds two more may settle it"),
        pytest.param(["I4"] * 4, range(0), id="four finds settle it"),
        pytest.param(
            ["", "crash", "", "", "I4"], range(6, 9), id="after four misses each seed may settle it"
        ),
        pytest.param(["", "crash", "", "", "I4", ""], range(0), id="five misses settle it"),
        pytest.param(
            ["", "", "", "", "I4", "I4", "I4"],
            range(8, 9),
            id="after three finds and four misses one seed settles it",
        ),
    ],
)
def test_a_mutant_is_played_until_half_of_its_seeds_is_settled(
    found: list[str], next_: range
) -> None:
    """Of eight seeds, four finds or five misses decide, so the rest is not played."""
    assert undecided(found, 8) == next_

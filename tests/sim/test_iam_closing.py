"""Closing by IAM in plays on the real book: nothing foreign is touched, nothing is lost."""

from __future__ import annotations

import pytest

from .audit.auditor import coverage_marks_of, faults_of, instability_of
from .audit.evidence import evidence_of
from .mutants.iam_closing import passes_on
from .play.iam import US
from .play.play import Play, played
from .scenario.events import HAND
from .scenario.script import Script, draw

pytestmark = pytest.mark.usefixtures("deterministic")
KEYED = (1, 4, 6)
DAYS = 12


@pytest.fixture(scope="module")
def keyed(deterministic: None) -> dict[int, Play]:
    """Seeds whose daemon has a key for IAM."""
    return {seed: played(draw(seed, DAYS), sql=True) for seed in KEYED}


@pytest.mark.parametrize("seed", KEYED)
def test_nothing_is_taken_without_record_and_nothing_is_lost(
    keyed: dict[int, Play], seed: int
) -> None:
    """Rules survive manual edits and faults of IAM, and the healed daemon is quiet."""
    play = keyed[seed]
    assert play.script.iam and faults_of(play) == [] and instability_of(play) == []


def test_the_batch_saw_startups_closed_and_reopened(keyed: dict[int, Play]) -> None:
    """The batch closes and reopens startups; otherwise it would prove little."""
    seen = set().union(*(coverage_marks_of(play, evidence_of(play)) for play in keyed.values()))
    assert seen >= {"closing close", "closing reopen", "iam narrowed", "iam restored", "iam edited"}


def test_a_project_that_passes_on_while_closed_is_its_new_owners() -> None:
    """The new, open owner of a project gets the rules that were revoked from the former owner."""
    play = played(passes_on(draw(3, DAYS)), sql=True)
    assert faults_of(play) == [] and play.program_operator.done["pass"] == 1


def test_a_book_in_python_has_no_key(keyed: dict[int, Play]) -> None:
    """Manual edits are in every script, and only a daemon with a key plays them."""
    script = keyed[4].script
    play = played(script)
    assert play.permissions is None and play.organization.log == []
    assert any(event.who == HAND for event in script.events)
    assert any(change.by == US for change in keyed[4].organization.log)
    assert Script.from_json(script.to_json()) == script

"""Does a failing script shrink to what it needs, and do the kept ones still pass?"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from .auditor import faults_of
from .events import CALLS, DICE, IAM, IAM_POINTS, POINTS, READS
from .play import Play
from .report import MARKS, by_class, silent
from .script import Script, draw
from .shrink import shrink
from .soak import Tally
from .wiring import wired

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def test_a_script_shrinks_to_the_events_it_fails_for() -> None:
    """Of hundreds of events the two that matter are left, and no fault."""
    script = draw(5, 60)
    needed = {script.events[7], script.events[100]}
    least = shrink(script, lambda each: needed <= set(each.events))
    assert set(least.events) == needed and least.windows == () and least.dice == {}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_failed_once_passes_now(path: Path) -> None:
    """Each script that once broke an invariant is played again."""
    with wired():
        play = Play(Script.from_json(path.read_text()))
        play.run()
    assert faults_of(play) == []


def test_a_batch_in_which_a_mark_never_fires_is_named() -> None:
    """A hundred seeds without a borrowed server taken back prove little; ten may lack it."""
    marks = dict.fromkeys(MARKS, 1) | {"notice borrowed executed": 0}
    assert silent(marks, 100, real=False) == ["notice borrowed executed"]
    assert silent(marks, 10, real=False) == []
    assert set(silent(marks, 100, real=True)) > {"deed advance"}


def test_every_fault_that_a_play_injects_has_a_class() -> None:
    """The report counts faults by class, and leaves none over."""
    kinds = [
        *READS,
        *CALLS,
        *IAM,
        "clock step",
        "observed",
        "standby",
        "heard StaleEpoch",
        "operator",
    ]
    kinds += [f"{die} {point}" for die in DICE for point in (*POINTS, *IAM_POINTS)]
    assert "other" not in by_class(dict.fromkeys(kinds, 1))


def test_a_soak_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """The state file keeps the tally, counts and all."""
    whole = Tally("pure", 2, 30, 1.5, {"7": ["I4"]}, Counter(crash=3), Counter(charge=2))
    (tmp_path / "state").write_text(json.dumps(vars(whole)))
    assert Tally.read(tmp_path / "state") == whole

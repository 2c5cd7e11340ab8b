"""Shrinking of failing scripts, kept regressions, and the reports of a soak."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from quotas.book.verify.verify import Verdict

from ..audit.auditor import checks_of, faults_of
from ..audit.evidence import evidence_of
from ..play.play import Play
from ..play.wiring import wired
from ..scenario.events import CALLS, DICE, IAM, IAM_POINTS, LISTINGS, POINTS, READS
from ..scenario.script import Script, draw
from . import run
from .report import COVERAGE_MARKS, FAULTS, by_class, silent
from .run import Tally
from .shrink import Kept, faults_in, least, shrink

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def test_a_script_shrinks_to_the_events_it_fails_for() -> None:
    """Of hundreds of events only the two that matter remain, and no fault."""
    script = draw(5, 60)
    needed = {script.events[7], script.events[100]}
    least = shrink(script, lambda each: needed <= set(each.events))
    assert set(least.events) == needed and least.windows == () and least.dice == {}


def test_it_shrinks_on_what_it_broke_first_and_slips_to_nothing_else() -> None:
    """Smaller scripts break I3, crash or break I7, but shrinking looks for I12 only."""
    script = draw(5, 60)
    needed, more = script.events[7], script.events[100]

    def faults(each: Script, *, sql: bool) -> list[str]:
        assert sql
        if not each.events:
            raise StopIteration
        if needed not in each.events:
            return ["I3 another"]
        return ["I12 the one sought", "I7"] if more in each.events else ["I7 more", "I12 still"]

    kept = least(script, sql=True, faults=faults)
    assert (kept.script.events, kept.invariant, kept.sql) == ((needed,), "I12", True)
    assert Kept.from_json(kept.to_json()) == kept
    with pytest.raises(ValueError, match="nothing is wrong with seed 5"):
        least(script, faults=lambda *_, **__: [])


def test_unrest_and_what_verify_says_are_faults_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A play that the auditor accepts may fail `verify` or be unstable, and shrinks on that."""
    monkeypatch.setattr(run, "instability_of", lambda _: ["I17 unrest"])
    monkeypatch.setattr(run, "verify", lambda _: Verdict(0, {}, "a forged entry"))
    script = replace(draw(0, 20), days=1, events=(), windows=())
    assert faults_in(script, sql=True) == ["verify: a forged entry", "I17 unrest"]
    assert faults_in(script, sql=False) == ["I17 unrest"]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_failed_once_passes_now(path: Path) -> None:
    """Each script that once broke an invariant passes on the book it broke it on."""
    kept = Kept.from_json(path.read_text())
    assert faults_in(kept.script, sql=kept.sql) == []


def test_a_batch_in_which_a_mark_never_fires_is_named() -> None:
    """A hundred seeds without a reclaimed server prove little; ten may lack it."""
    coverage_marks = dict.fromkeys(COVERAGE_MARKS, 1) | {"notice reclaim executed": 0}
    faults = dict.fromkeys(FAULTS, 1)
    assert silent(coverage_marks, faults, 100, real=False) == ["notice reclaim executed"]
    assert silent(coverage_marks, faults, 10, real=False) == []
    assert set(silent(coverage_marks, faults, 100, real=True)) > {
        "action advance",
        "fault iam-lost",
    }


def test_a_batch_that_a_fault_never_befell_is_named() -> None:
    """A hundred seeds without a stale read, or without a crash at some point, are reported."""
    faults = dict.fromkeys(FAULTS, 1) | {"stale": 0}
    del faults["crash after call"]
    coverage_marks = dict.fromkeys(COVERAGE_MARKS, 1)
    assert silent(coverage_marks, faults, 100, real=False) == [
        "fault stale",
        "fault crash after call",
    ]


def test_every_fault_that_a_play_injects_has_a_class() -> None:
    """The report assigns a class to every fault."""
    kinds = [
        *READS,
        *CALLS,
        *LISTINGS,
        *IAM,
        "clock step",
        "observed",
        "follower",
        "cycle failed StaleEpoch",
        "cycle failed OperationalError",
        "operator grant",
        "provider stick",
        "hand edit",
    ]
    kinds += [f"{die} {point}" for die in DICE for point in (*POINTS, *IAM_POINTS)]
    classes = by_class(dict.fromkeys(kinds, 1))
    assert "other" not in classes
    assert "cycle failed OperationalError" not in classes["faults of the database"]


def test_a_state_of_another_commit_or_of_other_seeds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report covers one commit and one range of seeds: a mix is refused, with a way out."""
    path = tmp_path / "state"
    monkeypatch.setattr(run, "commit", lambda: "abc1234")
    options = Namespace(state=path, first=5, seeds=0, days=30, jobs=1)
    options = Namespace(**vars(options), sql=False, book="", quiet=True)
    assert run.soak(options, "pure").of.endswith("from 5 on, at commit abc1234")
    monkeypatch.setattr(run, "commit", lambda: "def5678")
    with pytest.raises(SystemExit, match="name another file, or remove this one"):
        run.soak(options, "pure")
    monkeypatch.setattr(run, "commit", lambda: "abc1234")
    options.first = 1
    with pytest.raises(SystemExit, match="from 1 on"):
        run.soak(options, "pure")


def test_a_count_is_of_what_was_judged() -> None:
    """I11 does not count a cancelled notice, nor a server that was off by itself."""
    with wired():
        play = Play(draw(2, 12))
        play.run()
    found = evidence_of(play)
    assert faults_of(play, found) == []
    stopped = [n for n in found.notices if n["server_id"] and n["state"] != "cancelled"]
    assert 0 < found.judged["I11"] < len(stopped)
    assert checks_of(play, found)["I1"] == len(found.transfers)


def test_a_soak_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """The state file keeps the whole tally."""
    whole = Tally("pure", 2, 30, 1.5, {"7": ["I4"]}, Counter(crash=3), Counter(charge=2))
    (tmp_path / "state").write_text(json.dumps(vars(whole)))
    assert Tally.read(tmp_path / "state") == whole

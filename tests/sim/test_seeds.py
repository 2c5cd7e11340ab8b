"""Programs of five startups for each seed, with faults, audited from the region's own truth."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from quotas.book.verify.verify import verify
from quotas.decisions.record import is_recomputed, kind_name
from quotas.state.snapshot import Decision

from .audit.auditor import coverage_marks_of, faults_of
from .audit.evidence import evidence_of
from .audit.intervals import both, seconds
from .play.play import Play, played
from .play.program_operator import REAL_ONLY
from .scenario.script import Script, draw

pytestmark = pytest.mark.usefixtures("deterministic")
PURE = [(seed, 30) for seed in range(int(os.environ.get("COHORTD_SIM_SEEDS", "12")))]
PURE += [(100, 183), (45, 24)]  # in 45 a price changes before the first can be read
SQL = [*((seed, 20) for seed in range(4)), (70, 12)]  # in 70 a run ends before it has a price
QUIET_CYCLES = 10


@pytest.fixture(scope="module")
def pure(deterministic: None) -> dict[tuple[int, int], Play]:
    """Every seed on the book in memory."""
    return {key: played(draw(*key)) for key in PURE}


@pytest.fixture(scope="module")
def real(deterministic: None) -> dict[tuple[int, int], Play]:
    """Some seeds on the real book."""
    return {key: played(draw(*key), sql=True) for key in SQL}


def counts(play: Play) -> tuple[int, ...]:
    """The numbers of rows that a quiet cycle must not add to."""
    found = evidence_of(play)
    rows = (
        found.transfers,
        found.decisions,
        found.notices,
        found.intents,
        found.unconfirmed_periods,
    )
    return tuple(len(each) for each in rows)


@pytest.mark.parametrize("key", PURE, ids=str)
def test_the_auditor_finds_nothing(pure: dict[tuple[int, int], Play], key: tuple[int, int]) -> None:
    """T1: the invariants hold in every pure seed."""
    assert faults_of(pure[key]) == []


def test_every_decision_is_recomputed(
    pure: dict[tuple[int, int], Play], real: dict[tuple[int, int], Play]
) -> None:
    """Promise 9: the stored inputs lead to each decision again, for many rules."""
    rules = set()
    for play in (*pure.values(), *real.values()):
        for row in evidence_of(play).decisions:
            of = (row["startup"], row["server_id"], row["rule"], row["verb"], row["episode"])
            made = Decision(*of, row["inputs"])
            assert is_recomputed(made), made
            rules.add(kind_name(made.rule, made.verb))
    assert rules > {"pace", "overuse", "request", "outcome", "credits", "runway", "end"}


@pytest.mark.parametrize("key", SQL, ids=str)
def test_nor_on_the_real_book(real: dict[tuple[int, int], Play], key: tuple[int, int]) -> None:
    """T2: the invariants hold on the real book, and `verify` accepts it."""
    assert faults_of(real[key]) == []
    assert verify(real[key].book).fault is None


@pytest.mark.parametrize("key", SQL[:2], ids=str)
def test_both_books_keep_the_same_ledger(
    real: dict[tuple[int, int], Play], key: tuple[int, int]
) -> None:
    """The same seed leaves the same rows in the book in memory and in the real one."""
    script = draw(*key)
    events = tuple(e for e in script.events if e.verb not in (*REAL_ONLY, "void"))
    script = replace(script, events=events, iam=False, milestones=())
    one, two = (played(script, sql=sql) for sql in (False, True))
    left, right = evidence_of(one), evidence_of(two)
    names = ("kind", "startup", "at_s", "recorded_s", "entries", "epoch")
    assert [[row[n] for n in names] for row in left.transfers] == [
        [row[n] for n in names] for row in right.transfers
    ]
    assert left.balances == right.balances
    assert one.quiescence.held == two.quiescence.held > 0
    for rows, others in ((left.notices, right.notices), (left.intents, right.intents)):
        assert [r["state"] for r in rows] == [r["state"] for r in others]
    answers = ("acknowledge", "snooze")
    decided = [d for d in right.decisions if d["verb"] not in answers]
    assert [d["verb"] for d in left.decisions] == [d["verb"] for d in decided]


@pytest.mark.parametrize("key", PURE, ids=str)
def test_after_healing_it_converges_and_stays_quiet(
    pure: dict[tuple[int, int], Play], key: tuple[int, int]
) -> None:
    """I17: everything is off after the end, and ten more cycles write nothing."""
    play = pure[key]
    play.settle(3)
    before = counts(play)
    reports = play.settle(QUIET_CYCLES)
    assert counts(play) == before
    if play.script.mode == "enforce":
        assert reports[-1].sentence.split(", ")[1].startswith("0 of ")


def test_most_plays_rest_while_somebody_has_notice(pure: dict[tuple[int, int], Play]) -> None:
    """I17 is checked in mid-play in nearly every play, mostly while a notice is open."""
    rested = [play.quiescence for play in pure.values() if play.quiescence.held]
    assert len(rested) >= 0.8 * len(pure)
    assert sum(quiescence.notices > 0 for quiescence in rested) >= 0.5 * len(rested)


def test_without_faults_nearly_every_second_is_charged(
    pure: dict[tuple[int, int], Play],
) -> None:
    """In seed 0, which has no faults, hardly any second is neither charged nor unconfirmed."""
    found = evidence_of(pure[0, 30])
    ours = {t.project_id for _, p in found.programs for s in p.startups() for t in s.projects}
    truth = [
        (server, span)
        for server, spans in found.truth.items()
        for span in spans
        if found.projects.get(server) in ours  # a stranger's is nobody's charge
    ]
    charged_s = sum(r["posted_until_s"] - r["start_s"] for r in found.runs)
    unconfirmed_s = sum(d["end_s"] - d["start_s"] for d in found.unconfirmed_periods)
    real_s = sum(seconds([span]) for _, span in truth)
    assert charged_s + unconfirmed_s >= 0.9 * real_s
    assert both([(0, 2)], [(1, 3)]) == [(1, 2)]


def test_the_batch_saw_what_it_should(pure: dict[tuple[int, int], Play]) -> None:
    """The batch saw every important event; otherwise it would prove little."""
    seen = set().union(*(coverage_marks_of(play, evidence_of(play)) for play in pure.values()))
    expected = {
        "Complete",
        "Partial",
        "Unknown",
        "charge",
        "expiry",
        "grant",
        "void",
        "unconfirmed",
        "quiescence",
        "overdraft",
        "intent confirmed",
        "notice credits executed",
        "notice limit executed",
        "notice standby executed",
        "notice cohort-end executed",
        "decision defer",
        "fault clock step",
        "fault follower",
        "fault cycle failed StaleEpoch",
        "fault cycle failed OperationalError",
        "call Conflict",
        "call Throttled",
        "call Unreachable",
    }
    assert expected <= seen, expected - seen


def test_a_seed_plays_the_same_twice() -> None:
    """The same seed leaves the same rows, so a failing seed can be played again."""
    first, second = (evidence_of(played(draw(3, 10))) for _ in range(2))
    assert first.transfers == second.transfers and len(first.transfers) > 5
    assert first.decisions == second.decisions


def test_a_script_is_data() -> None:
    """A script survives JSON, so that a failing one can be kept."""
    script = draw(7, 20)
    assert Script.from_json(script.to_json()) == script

"""Ten days of five startups for each seed, with faults, audited from the region's own truth."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from quotas.book.verify import verify
from quotas.units import HOUR_S

from .auditor import Audit, overlap, seconds
from .play import END_S, Play

SEEDS = range(int(os.environ.get("COHORTD_SIM_SEEDS", "6")))
QUIET_CYCLES = 10
TABLES = ("transfer", "entry", "decision", "notice", "intent", "dispute")


@pytest.fixture(scope="module", autouse=True)
def quiet_log() -> Iterator[None]:
    """Thousands of cycles log too much to keep."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
def plays(quiet_log: None) -> list[Play]:
    """Every seed, played to three hours past the cohort's end."""
    found = [Play(seed) for seed in SEEDS]
    for play in found:
        play.run(END_S + 3 * HOUR_S)
    return found


def counts(play: Play) -> dict[str, int]:
    """Rows of each table that a quiet cycle must not write."""
    with play.book.reading() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in TABLES
        }


@pytest.mark.parametrize("seed", SEEDS)
def test_the_auditor_finds_nothing(plays: list[Play], seed: int) -> None:
    """I1-I4, I8, I11-I14, I21 hold in every seed, and the book agrees with itself."""
    play = plays[seed]
    assert Audit(play).all() == []
    assert verify(play.book).fault is None


@pytest.mark.parametrize("seed", SEEDS)
def test_after_healing_it_converges_and_stays_quiet(plays: list[Play], seed: int) -> None:
    """I17: everything is off after the end; ten more cycles write nothing but zones."""
    play = plays[seed]
    play.settle(3)
    before = counts(play)
    play.settle(QUIET_CYCLES)
    assert counts(play) == before
    assert play.reports[-1].sentence.startswith("5 startups, 0 of ")


def test_without_faults_nearly_every_second_is_charged(plays: list[Play]) -> None:
    """Seed 0 has no faults: what is not charged or disputed is only the time that boots took."""
    audit = Audit(plays[0])
    charged_s = real_s = both_s = 0
    for server, intervals in audit.truth.items():
        charged = [(c["start_s"], c["end_s"]) for c in audit.charges.get(server, [])]
        charged_s += seconds(charged)
        real_s += seconds(intervals)
        both_s += overlap(charged, intervals)
    assert both_s >= 0.9 * real_s, "more than a tenth of the truth is not charged"
    assert charged_s - both_s <= 0.001 * real_s, "seconds were charged that did not run"


def test_the_batch_saw_what_it_should(plays: list[Play]) -> None:
    """A batch in which these never happen proves little."""
    seen = set().union(*(Audit(play).marks() for play in plays))
    expected = {
        "Complete",
        "Partial",
        "Unknown",
        "charge",
        "expiry",
        "grant",
        "intent confirmed",
        "notice credits executed",
        "notice limit executed",
        "dispute",
    }
    assert expected <= seen, expected - seen


def test_some_stops_failed_and_stayed_failed(plays: list[Play]) -> None:
    """The region refused calls in this batch: their intents are terminal as failed."""
    assert any("intent failed" in Audit(play).marks() for play in plays)


def test_a_seed_plays_the_same_twice() -> None:
    """Same seed, same sentences: a failing seed can be looked at again."""
    first, second = Play(3), Play(3)
    for play in (first, second):
        play.run(play.clock.now_s() + 24 * HOUR_S)
    assert [r.sentence for r in first.reports] == [r.sentence for r in second.reports]
    assert len(first.reports) > 5

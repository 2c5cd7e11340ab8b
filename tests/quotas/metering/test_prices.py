"""Price versions and their steps: which rate is in force, and which one is charged."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.metering.prices import (
    SPONSOR,
    STARTUP,
    Prices,
    Version,
    charged_steps,
    is_absurd,
)
from quotas.metering.rating import split_by_rate
from quotas.metering.runs import Catalogue, Metered
from quotas.model.units import HOUR_S, Period, cost_ucr
from tests.builders import FLAVOR, RATE, Z, a_program, a_run, metered

FIRST = Version(1, 0, 100, 0, STARTUP)


def steps(*versions: Version, fixed_at_s: int | None = None) -> list[tuple[int, int]]:
    """From when, and at what rate, a startup is charged."""
    return [(s.from_s, s.rate_ucr_per_h) for s in charged_steps(versions, fixed_at_s)]


def test_a_version_is_in_force_until_the_next_one() -> None:
    """The instant itself belongs to the new rate; time before the first is priced by it."""
    later = Version(2, 50, 120, 40)
    prices = Prices({FLAVOR: (later, FIRST)})
    found = [prices.in_force(FLAVOR, at_s) for at_s in (-5, 0, 49, 50, 99)]
    assert [v.id for v in found if v] == [1, 1, 1, 2, 2]
    assert prices.in_force("another", 0) is None


def test_the_last_recorded_of_the_same_instant_counts() -> None:
    """A change that was accepted twice for one instant has the second rate."""
    twice = [Version(2, 50, 120, 40), Version(3, 50, 90, 41)]
    assert steps(FIRST, *twice) == [(0, 100), (50, 90)]


CASES = {
    "fixed: a later rate waits for the next cohort": (Version(2, 50, 120, 50), 10, [(0, 100)]),
    "fixed: a cheaper one too": (Version(2, 50, 80, 50), 10, [(0, 100)]),
    "fixed: the rate at the cohort's start": (
        Version(2, 50, 120, 40),
        50,
        [(0, 100), (50, 120)],
    ),
    "fixed: a correction in its favour": (Version(2, 50, 80, 70), 10, [(0, 100), (50, 80)]),
    "fixed: a dearer correction is the sponsor's": (Version(2, 50, 120, 70), 10, [(0, 100)]),
    "fixed: unless startups bear it": (
        Version(2, 50, 120, 70, STARTUP),
        10,
        [(0, 100), (50, 120)],
    ),
    "follow: each second": (Version(2, 50, 120, 50), None, [(0, 100), (50, 120)]),
    "follow: a cheaper correction": (Version(2, 50, 80, 70), None, [(0, 100), (50, 80)]),
    "follow: a dearer one begins when it is recorded": (
        Version(2, 50, 120, 70),
        None,
        [(0, 100), (70, 120)],
    ),
    "follow: unless startups bear it": (
        Version(2, 50, 120, 70, STARTUP),
        None,
        [(0, 100), (50, 120)],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_who_is_charged_a_new_rate_and_from_when(
    case: tuple[Version, int | None, list[tuple[int, int]]],
) -> None:
    """Each row is one sentence of docs/credits.md."""
    version, fixed_at_s, expected = case
    assert steps(FIRST, version, fixed_at_s=fixed_at_s) == expected


def test_a_late_rate_that_another_superseded_never_begins() -> None:
    """Following, dearer from 50 but recorded at 70, when the next began at 60."""
    late, next_one = Version(2, 50, 120, 70, SPONSOR), Version(3, 60, 90, 60)
    assert steps(FIRST, next_one, late) == [(0, 100), (60, 90)]


def cut(prices: Prices, until_s: int, follow: str = "follow", posted_s: int = 0) -> Metered:
    """A run of s1 from 0 that is known until an instant, at its rates."""
    run = a_run(posted_until_s=posted_s)
    program = a_program(prices=follow)
    return split_by_rate(program, Catalogue({}, {}, prices), metered([run], {Z: until_s}))


def parts(found: Metered) -> list[tuple[int, int | None, int | None]]:
    """Start, end and rate of each run, in the order of time."""
    runs = sorted(found.runs.values(), key=lambda run: run.start_s)
    return [(run.start_s, run.end_s, run.rate_ucr_per_h) for run in runs]


def prices_of(*changes: tuple[int, int]) -> Prices:
    """Versions of the flavor, accepted in time."""
    return Prices({FLAVOR: tuple(Version(n, s, r, s) for n, (s, r) in enumerate(changes, 1))})


def test_a_run_is_cut_where_its_rate_changes() -> None:
    """One run to the second before, one at the new rate from the instant itself."""
    prices = prices_of((0, RATE), (100, 2 * RATE), (200, 2 * RATE), (250, RATE))
    assert parts(cut(prices, 300)) == [(0, 100, RATE), (100, 250, 2 * RATE), (250, None, RATE)]
    assert parts(cut(prices, 99)) == [(0, None, RATE)]
    assert parts(cut(prices, 100)) == [(0, 100, RATE), (100, None, 2 * RATE)]
    assert parts(cut(prices, 300, "fixed")) == [(0, None, RATE)]


def test_what_is_posted_keeps_its_run_and_rate() -> None:
    """A rate from before what is charged cuts the run where its charges end."""
    prices = prices_of((0, RATE), (100, 2 * RATE))
    assert parts(cut(prices, 300, posted_s=150)) == [(0, 150, RATE), (150, None, 2 * RATE)]


changes = st.dictionaries(st.integers(1, 5_000), st.integers(0, 10**9), max_size=5)


@given(changes, st.integers(1, 10**9), st.lists(st.integers(1, 6_000), max_size=12))
def test_many_small_cuts_cost_what_one_big_one_does(
    later: dict[int, int], first: int, looks: list[int]
) -> None:
    """I5 across changes of rate: however often a run is looked at, it costs the same."""
    prices = prices_of((0, first), *sorted(later.items()))
    program, catalogue = a_program(prices="follow"), Catalogue({}, {}, prices)
    seen: Metered = metered([a_run(rate_ucr_per_h=first)], {Z: 0})
    for look_s in sorted({*looks, 6_000}):
        seen = split_by_rate(program, catalogue, metered(seen.runs.values(), {Z: look_s}))
        assert parts(split_by_rate(program, catalogue, seen)) == parts(seen)
    once = cut_at(prices, first)
    assert parts(seen) == once
    total = sum(
        cost_ucr(rate or 0, start_s, Period(start_s, end_s or 6_000))
        for start_s, end_s, rate in parts(seen)
    )
    points = sorted({0, 6_000, *later})
    exact = sum(
        (prices.in_force(FLAVOR, a) or FIRST).rate_ucr_per_h * (b - a) for a, b in pairwise(points)
    )
    assert exact - HOUR_S * (len(points) - 1) < total * HOUR_S <= exact


def cut_at(prices: Prices, first: int) -> list[tuple[int, int | None, int | None]]:
    """The same run looked at once, at 6,000."""
    program, catalogue = a_program(prices="follow"), Catalogue({}, {}, prices)
    run = a_run(rate_ucr_per_h=first)
    return parts(split_by_rate(program, catalogue, metered([run], {Z: 6_000})))


@pytest.mark.parametrize(
    ("rate", "absurd"), [(49, True), (50, False), (200, False), (201, True), (0, True)]
)
def test_a_price_far_from_the_last_is_absurd(rate: int, absurd: bool) -> None:
    """Beyond twice 100 and below half of it, with a factor of 2; the bounds are believed."""
    assert is_absurd(rate, 100) is absurd


@pytest.mark.parametrize("from_s", [100, 50])
def test_a_dearer_correction_dated_at_the_first_version_is_the_sponsors(from_s: int) -> None:
    """It does not take the place of the first; who follows prices pays it from its recording."""
    first, dearer = Version(1, 100, 10, 100), Version(2, from_s, 20, 500)
    assert [s.rate_ucr_per_h for s in charged_steps([first, dearer], 100)] == [10]
    followed = [(s.from_s, s.rate_ucr_per_h) for s in charged_steps([first, dearer], None)]
    # Dated before the first, it is superseded by it.
    assert followed == [(100, 10), *([(500, 20)] if from_s == 100 else [])]
    told = replace(dearer, bearer="startup")
    assert charged_steps([first, told], 100)[0].rate_ucr_per_h == 20
    cheaper = Version(3, from_s, 5, 600)
    assert charged_steps([first, dearer, cheaper], 100)[0].rate_ucr_per_h == 5

"""Burn, allowance and forecast are exact, and pacing stops nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.forecast import (
    Forecast,
    Spend,
    allowance_ucr,
    burn_rates_ucr_per_h,
    credits_limit_gpus,
    forecast_unused,
    reached_s,
    spent_ucr,
)
from quotas.model.program import Curve
from quotas.model.units import DAY_S, HOUR_S, Period

TERM = Period(1000, 1000 + 180 * DAY_S)
AMOUNTS = st.integers(0, 10**15)


def test_burn_is_stated_over_an_hour_a_day_and_a_week() -> None:
    """36 credits in the last hour only: 36 an hour, 1.5 over the day, 0.214285 over the week."""
    now_s = 30 * DAY_S
    history = [Spend(Period(now_s - HOUR_S, now_s), 36_000_000)]
    assert burn_rates_ucr_per_h(history, 0, now_s) == (36_000_000, 1_500_000, 214_285)


def test_burn_is_not_thinned_by_time_before_the_start() -> None:
    """Two hours after its start a startup's day and week are two hours long."""
    history = [Spend(Period(0, 2 * HOUR_S), 5_000_000)]
    assert burn_rates_ucr_per_h(history, 0, 2 * HOUR_S) == (5_000_000,) * 3
    assert burn_rates_ucr_per_h(history, 2 * HOUR_S, 2 * HOUR_S) == (0, 0, 0)


def test_spending_is_counted_by_overlap() -> None:
    """Half of a run within the window counts half; parts add up to the whole (I5)."""
    history = [Spend(Period(0, 100), 10 * HOUR_S), Spend(Period(200, 300), 7)]
    assert spent_ucr(history, Period(50, 200)) == 500
    odd = [Spend(Period(0, 100), 3607)]
    assert sum(spent_ucr(odd, Period(n, n + 1)) for n in range(100)) == 100


@pytest.mark.parametrize(
    ("curve", "at_half"),
    [(Curve.FLAT, 500), (Curve.FRONT_LOADED, 750), (Curve.NONE, 1000)],
)
def test_allowance_at_half_time(curve: Curve, at_half: int) -> None:
    """By half-time a flat curve allows half, a front-loaded one three quarters, none all."""
    assert allowance_ucr(1000, TERM, 1000 + 90 * DAY_S, curve) == at_half


@given(AMOUNTS, st.integers(0, 400 * DAY_S), st.integers(0, 10**7), st.sampled_from(Curve))
def test_allowance_never_falls(granted: int, now_s: int, later_s: int, curve: Curve) -> None:
    """An allowance never falls, never passes the grant, and is all of it at the end."""
    now, then = (allowance_ucr(granted, TERM, at, curve) for at in (now_s, now_s + later_s))
    assert 0 <= now <= then <= granted
    assert allowance_ucr(granted, TERM, TERM.end_s, curve) == granted


def test_a_steady_past_gives_a_narrow_forecast() -> None:
    """Ten equal days and twenty to come: exactly twenty days' spending is missing."""
    assert forecast_unused([7] * 10, 200, 20 * DAY_S) == Forecast(60, 60, 60)


def test_a_varied_past_gives_a_wide_forecast() -> None:
    """Days of 0 and 20 (variance 200): four days to come, 2 * sqrt(800) either side."""
    assert forecast_unused([0, 20], 100, 4 * DAY_S) == Forecast(4, 60, 100)


def test_no_past_says_nothing() -> None:
    """Without history the interval is everything; one day gives a guess and no interval."""
    assert forecast_unused([], 100, DAY_S) == Forecast(0, 100, 100)
    assert forecast_unused([30], 100, DAY_S) == Forecast(0, 70, 100)


@given(st.lists(AMOUNTS), st.integers(-(10**15), 10**15), st.integers(0, 200 * DAY_S))
def test_a_forecast_is_an_interval(daily: list[int], available: int, left_s: int) -> None:
    """0 <= low <= expected <= high <= available, whatever the past."""
    made = forecast_unused(daily, available, left_s)
    assert 0 <= made.low_ucr <= made.expected_ucr <= made.high_ucr <= max(0, available)


def test_a_limit_is_reached_at_a_second() -> None:
    """At 2 ucr a second 100 are spent 50 s after the start; a limit not reached has no instant."""
    history = [Spend(Period(0, 1000), 2 * HOUR_S)]
    assert reached_s(history, Period(10, 1000), 100) == 60
    assert reached_s(history, Period(10, 1000), 1980) == 1000
    assert reached_s(history, Period(10, 1000), 1981) is None
    assert reached_s(history, Period(10, 1000), None) is None


@given(AMOUNTS, AMOUNTS, st.integers(1, 10**8), st.integers(1, 10**6), st.integers(0, 100))
def test_more_credit_never_limits_more(
    less: int, more: int, price: int, minimum_s: int, usage: int
) -> None:
    """The credits limit grows with credit and is never below what runs (I16)."""
    low = credits_limit_gpus(less, price, minimum_s, usage)
    assert usage <= low <= credits_limit_gpus(less + more, price, minimum_s, usage)


def test_the_credits_limit_is_a_floor() -> None:
    """10 credits at 3 credits per GPU-hour and half an hour: 6 GPUs, not 7."""
    assert credits_limit_gpus(10_000_000, 3_000_000, HOUR_S // 2, 0) == 6
    with pytest.raises(ValueError, match="above 0"):
        credits_limit_gpus(1, 0, 1, 0)

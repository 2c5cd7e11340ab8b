"""Amounts, rates, instants and periods are integers, and any split costs the same."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.model.units import (
    LARGEST_UCR,
    Period,
    cost_ucr,
    format_credits,
    format_duration,
    format_instant,
    month_start_s,
    parse_credits,
    parse_duration,
    parse_instant,
    spent_after_s,
)

INT64 = 2**63
rates = st.integers(0, 10**12)
instants = st.integers(0, 4 * 10**9)


@given(rates, instants, st.lists(st.integers(0, 10**8), min_size=1, max_size=12))
def test_any_partition_costs_as_much_as_the_whole(rate: int, start_s: int, cuts: list[int]) -> None:
    """I5: the charges of any partition of a run sum to the charge of the whole run."""
    points = sorted({start_s, *(start_s + cut for cut in cuts)})
    whole = cost_ucr(rate, start_s, Period(points[0], points[-1]))
    parts = [cost_ucr(rate, start_s, Period(a, b)) for a, b in itertools.pairwise(points)]
    assert sum(parts) == whole == rate * (points[-1] - start_s) // 3600


@given(rates, instants, st.integers(0, 10**8), st.integers(0, 10**8))
def test_cost_is_never_negative_and_within_one_ucr(rate: int, start: int, a: int, b: int) -> None:
    """A period costs at least 0, and differs from rate x time by less than one ucr."""
    first, last = sorted((start + a, start + b))
    cost = cost_ucr(rate, start, Period(first, last))
    assert cost >= 0 and abs(cost * 3600 - rate * (last - first)) < 3600


def test_a_day_of_eight_h100_at_list_price() -> None:
    """62 hours at 25.33 credits an hour cost 1,570.46 credits exactly."""
    assert cost_ucr(25_330_000, 0, Period(0, 62 * 3600)) == 1_570_460_000


@pytest.mark.parametrize(("rate", "start", "period"), [(-1, 0, (0, 1)), (1, 5, (4, 9))])
def test_cost_refuses_what_has_no_meaning(rate: int, start: int, period: tuple[int, int]) -> None:
    """A negative rate, or a period that begins before its run, is refused."""
    with pytest.raises(ValueError, match=r"rate|lies within|period ends"):
        cost_ucr(rate, start, Period(*period))


def test_a_period_does_not_end_before_it_starts() -> None:
    """Periods are half-open and never negative; an empty one is allowed."""
    assert Period(3, 3).seconds == 0 and Period(3, 10).seconds == 7
    with pytest.raises(ValueError, match=r"ends at 3"):
        Period(4, 3)


@given(st.integers(1, 10**12), st.integers(0, 10**15))
def test_spent_after_is_the_first_second(rate: int, amount: int) -> None:
    """At the answered second the cost has reached the amount; a second earlier it has not."""
    second = spent_after_s(rate, amount)
    assert cost_ucr(rate, 0, Period(0, second)) >= amount
    assert second == 0 or cost_ucr(rate, 0, Period(0, second - 1)) < amount


@pytest.mark.parametrize(("rate", "amount"), [(0, 1), (-1, 1), (1, -1)])
def test_spent_after_refuses_what_never_happens(rate: int, amount: int) -> None:
    """Without a burn, or for a negative amount, there is no such second."""
    with pytest.raises(ValueError, match=r"rate must be positive"):
        spent_after_s(rate, amount)


@given(st.integers(-LARGEST_UCR, LARGEST_UCR))
def test_credits_survive_writing_and_reading(amount: int) -> None:
    """I19: every amount up to 2^62 ucr is written as a plain decimal and read back exactly."""
    text = format_credits(amount)
    assert re.fullmatch(r"-?\d+\.\d{2,6}", text)
    assert parse_credits(text) == amount and abs(2 * amount) <= INT64


@pytest.mark.parametrize(
    "text",
    ["", "x", "nan", "inf", "-inf", "0.0000001", "1e99", "4611686018428", "1,5", "1e999999999"],
)
def test_credits_refuse_what_is_no_amount(text: str) -> None:
    """No number, not finite, finer than a micro-credit or above 2^62 ucr: refused."""
    with pytest.raises(ValueError, match=r"decimal|finite|finer|larger"):
        parse_credits(text)


@pytest.mark.parametrize(
    ("text", "amount"), [("60000", 60_000_000_000), ("12.5", 12_500_000), ("1e2", 100_000_000)]
)
def test_credits_are_read_exactly(text: str, amount: int) -> None:
    """Decimal strings are read without a float."""
    assert parse_credits(text) == amount


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("7d", 604_800)]
)
def test_durations(text: str, seconds: int) -> None:
    """Durations take s, m, h and d, and add up."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "1w", "30m ", "-5m", "1.5h", "5 m"])
def test_durations_refuse(text: str) -> None:
    """Anything that is not wholly number-unit pairs is refused."""
    with pytest.raises(ValueError, match=r"not a duration"):
        parse_duration(text)


def test_durations_are_written_for_people() -> None:
    """[N d ]HH:MM:SS, with a sign where negative."""
    assert format_duration(843) == "00:14:03"
    assert format_duration(86_400 * 2 + 3661) == "2 d 01:01:01"
    assert format_duration(-60) == "-00:01:00"


@given(instants)
def test_instants_survive_writing_and_reading(instant_s: int) -> None:
    """An instant is written as RFC 3339 in UTC and read back exactly."""
    assert parse_instant(format_instant(instant_s)) == instant_s


def test_instants_need_their_zone_and_lose_their_fraction() -> None:
    """An offset is honoured, a fraction cut off, a local time refused."""
    assert parse_instant("1970-01-01T01:00:00.999999+01:00") == 0
    with pytest.raises(ValueError, match=r"has no zone"):
        parse_instant("2027-01-05T00:00:00")


def test_months_are_calendar_months_in_utc() -> None:
    """Month starts cross years and leap days without drift."""
    dec = parse_instant("2027-12-31T23:59:59Z")
    assert format_instant(month_start_s(dec)) == "2027-12-01T00:00:00Z"
    assert format_instant(month_start_s(dec, 1)) == "2028-01-01T00:00:00Z"
    leap = parse_instant("2028-02-29T12:00:00Z")
    assert format_instant(month_start_s(leap, 1)) == "2028-03-01T00:00:00Z"

"""Forecasts: how fast credits burn, and how many will be left over.

Pacing informs by default. At its strictest it says "borrow no more": that never stops a
server within nominal quota, and a daily limit refuses new starts only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

from quotas.model.program import Curve, PaceAction
from quotas.model.units import DAY_S, HOUR_S, Period, cost_between_ucr

WINDOWS_S = (HOUR_S, DAY_S, 7 * DAY_S)
"""The stretches over which a burn rate is stated: 1 h, 24 h, 7 d."""


@dataclass(frozen=True, slots=True)
class Spend:
    """A run as spending: credits at a rate from its first second to its last known one."""

    period: Period
    rate_ucr_per_h: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Credits left unused at the end of the term: the expected sum and its interval."""

    low_ucr: int
    expected_ucr: int
    high_ucr: int


def spent_ucr(history: Sequence[Spend], window: Period) -> int:
    """What of a history of spending falls within a window, as charges would cut it (I5)."""
    total, from_s, until_s = 0, window.start_s, window.end_s
    for spend in history:
        began_s, end_s = spend.period.start_s, spend.period.end_s
        if began_s < until_s and from_s < end_s:
            start_s = began_s if began_s > from_s else from_s
            end_s = end_s if end_s < until_s else until_s
            if start_s < end_s:
                total += cost_between_ucr(spend.rate_ucr_per_h, began_s, start_s, end_s)
    return total


def burn_rates_ucr_per_h(history: Sequence[Spend], since_s: int, now_s: int) -> tuple[int, ...]:
    """Burn over each of WINDOWS_S, in ucr per hour, rounded down.

    A window that reaches back beyond `since_s`, the start of the books, is cut there, so that
    a young startup's rate is not thinned by time before it came.
    """
    if not history or now_s <= since_s:
        return (0,) * len(WINDOWS_S)
    windows = [Period(max(since_s, now_s - window_s), now_s) for window_s in WINDOWS_S]
    return tuple(spent_ucr(history, each) * HOUR_S // each.seconds for each in windows)


def allowance_ucr(granted_ucr: int, term: Period, now_s: int, curve: Curve) -> int:
    """Credits paced to date, rounded down; all of them under `none`, and from the term's end.

    Flat: in proportion to time. Front-loaded: 1 - (1 - x)^2 of them at the part x of the
    term, so that three quarters may be spent by half-time.
    """
    if curve == Curve.NONE or now_s >= term.end_s:
        return granted_ucr
    past_s = max(0, now_s - term.start_s)
    if curve == Curve.FLAT:
        return granted_ucr * past_s // term.seconds
    left_s = term.seconds - past_s
    return granted_ucr * (term.seconds**2 - left_s**2) // term.seconds**2


def forecast_unused(daily_ucr: Sequence[int], available_ucr: int, left_s: int) -> Forecast:
    """Credits unused at the end if days to come resemble the days in `daily_ucr`.

    The interval is two standard deviations of the sum of the days that are left, taking days
    as independent, and never leaves [0, available]. Without a day of history nothing is known:
    the interval is everything.
    """
    available = max(0, available_ucr)
    if not daily_ucr:
        return Forecast(0, available, available)
    days, total = len(daily_ucr), sum(daily_ucr)
    unused = available - total * left_s // (days * DAY_S)
    if days == 1:
        return Forecast(0, max(0, unused), available)
    # The variance of the sum over the days left, kept whole: n * sum(x^2) - (sum x)^2.
    squares = days * sum(x * x for x in daily_ucr) - total * total
    margin = 2 * isqrt(squares * left_s // (days * (days - 1) * DAY_S))
    high = min(available, max(0, unused + margin))
    return Forecast(max(0, unused - margin), max(0, unused), high)


def reached_s(history: Sequence[Spend], window: Period, limit_ucr: int | None) -> int | None:
    """The first instant of a window by which `limit_ucr` was spent in it; None if it was not."""
    if limit_ucr is None or spent_ucr(history, window) < limit_ucr:
        return None
    first_s = window.start_s + 1

    def spent_by(until_s: int) -> int:
        return spent_ucr(history, Period(window.start_s, until_s))

    return first_s + bisect_left(range(first_s, window.end_s), limit_ucr, key=spent_by)


def credits_limit_gpus(
    available_ucr: int, dearest_ucr_per_gpu_h: int, minimum_runtime_s: int, usage: int
) -> int:
    """GPUs that the credits could run for the minimum runtime, at the dearest allowed price.

    Never below what runs: running servers are the level's matter, not the share's.
    """
    if dearest_ucr_per_gpu_h <= 0 or minimum_runtime_s <= 0:
        raise ValueError("a price per GPU and a minimum runtime are above 0")
    affordable = max(0, available_ucr) * HOUR_S // (dearest_ucr_per_gpu_h * minimum_runtime_s)
    return max(usage, affordable)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is meant to be spent, and when."""

    granted_ucr: int
    term: Period
    curve: Curve

    def allowed_tomorrow_ucr(self, at_s: int) -> int:
        """The allowance a day after an instant, or at the end if that is sooner."""
        at_s = min(at_s + DAY_S, self.term.end_s)
        return allowance_ucr(self.granted_ucr, self.term, at_s, self.curve)


@dataclass(frozen=True, slots=True)
class Pace:
    """One startup's pace. `burn_ucr_per_h` is over 1 h, 24 h and 7 d.

    `ahead` is an instant of today at which it was ahead, and what it had spent by then, in ucr.
    Unless it was ahead, both `ahead` and `action` are None.
    `reached_s` is when today's burn reached the daily limit, None while it has not.
    """

    startup: str
    burn_ucr_per_h: tuple[int, ...]
    spent_ucr: int
    allowance_ucr: int
    plan: Plan
    as_of_s: int
    ahead: tuple[int, int] | None
    action: PaceAction | None
    today_ucr: int
    daily_burn_ucr: int | None
    reached_s: int | None
    unused: Forecast

    @property
    def is_ahead(self) -> bool:
        """Whether it was ahead of its pace today."""
        return self.ahead is not None

    @property
    def borrows_no_more(self) -> bool:
        """Whether its share ends at its nominal quota."""
        return self.action == PaceAction.BORROW_NO_MORE

    @property
    def is_paced(self) -> bool:
        """Whether the pace holds anything back."""
        return self.borrows_no_more or self.reached_s is not None

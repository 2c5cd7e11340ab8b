"""The burn-down chart: its points in a fixed frame, and its description in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporters.api.startup_reads import CreditMovement
from exporters.portal.i18n import Translator
from quotas.ledger.forecast import allowance_ucr
from quotas.model.program import Curve
from quotas.model.units import Period, month_start_s
from quotas.view import StartupStatus

LEFT, RIGHT, TOP, BOTTOM = 8, 632, 22, 208
"""The frame of the lines in the drawing, which is 640 by 240."""
PACE_STEPS = 32


@dataclass(frozen=True, slots=True)
class Chart:
    """The lines of the chart as SVG points, and its scales as (position, label)."""

    remaining: str
    pace: str
    band: str
    expected: str
    now_x: int
    scale: tuple[tuple[int, str], ...]
    months: tuple[tuple[int, str], ...]
    description: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """The position of an instant and an amount in the chart."""

    term: Period
    most_ucr: int

    def x(self, at_s: int) -> int:
        within = min(max(at_s, self.term.start_s), self.term.end_s) - self.term.start_s
        return LEFT + (RIGHT - LEFT) * within // self.term.seconds

    def y(self, amount_ucr: int) -> int:
        within = min(max(amount_ucr, 0), self.most_ucr)
        return BOTTOM - (BOTTOM - TOP) * within // self.most_ucr

    def points(self, places: Iterable[tuple[int, int]]) -> str:
        return " ".join(f"{self.x(at_s)},{self.y(ucr)}" for at_s, ucr in places)


def burn_down(
    status: StartupStatus,
    credit_movements: Sequence[CreditMovement],
    curve: str,
    translator: Translator,
) -> Chart | None:
    """The chart of one startup's credits; None without a cohort or without credits."""
    money, cohort = status.balance, status.cohort
    granted = money.granted_ucr + money.later_ucr
    if cohort is None or granted <= 0:
        return None
    term = Period(cohort.starts_s, cohort.ends_s)
    remaining = list(_remaining_points(credit_movements, term, money.as_of_s))
    now_ucr = max(0, money.posted_ucr - money.accrued_ucr)
    if money.as_of_s >= term.start_s:
        remaining.append((money.as_of_s, now_ucr))
    frame = _Frame(term, max(granted, *(ucr for _, ucr in remaining), 1))
    band, expected = _forecast(frame, status, now_ucr)
    sentence = translator(
        "{remaining} of {granted} credits are left.",
        remaining=translator.credits(now_ucr),
        granted=translator.credits(granted),
    )
    return Chart(
        remaining=frame.points(remaining),
        pace=frame.points(_pace_points(granted, term, Curve(curve))),
        band=band,
        expected=expected,
        now_x=frame.x(money.as_of_s),
        scale=tuple(
            (frame.y(ucr), translator.whole_credits(ucr))
            for ucr in (frame.most_ucr, frame.most_ucr // 2)
        ),
        months=tuple((frame.x(at_s), translator.month_tick(at_s)) for at_s in _months(term)),
        description=f"{sentence} {outlook(status, translator)}".rstrip(),
    )


def _remaining_points(
    credit_movements: Sequence[CreditMovement], term: Period, now_s: int
) -> Iterable[tuple[int, int]]:
    """Credits left over time: charges are slopes, grants and expiries are steps."""
    total = 0
    for each in credit_movements:
        if each.at_s > now_s and each.is_step:
            continue  # a grant that begins later
        if each.is_step and total:
            yield each.at_s, total
        total += each.amount_ucr
        yield min(each.at_s, now_s), total


def _pace_points(granted_ucr: int, term: Period, curve: Curve) -> Iterable[tuple[int, int]]:
    """Credits left if every day spent exactly its allowance."""
    for step in range(PACE_STEPS + 1):
        at_s = term.start_s + term.seconds * step // PACE_STEPS
        yield at_s, granted_ucr - allowance_ucr(granted_ucr, term, at_s, curve)


def _forecast(frame: _Frame, status: StartupStatus, now_ucr: int) -> tuple[str, str]:
    """The expected range and its middle; nothing outside the cohort's time."""
    if status.pace is None:
        return "", ""
    unused, now_s, end_s = status.pace.unused, status.balance.as_of_s, frame.term.end_s
    here = (now_s, now_ucr)
    band = frame.points([here, (end_s, unused.high_ucr), (end_s, unused.low_ucr)])
    # The middle ends at zero if it gets there before the end.
    exhausted_s = status.balance.exhausted_s
    ends = unused.expected_ucr == 0 and exhausted_s is not None and exhausted_s < end_s
    last = (exhausted_s or end_s, 0) if ends else (end_s, unused.expected_ucr)
    return band, frame.points([here, last])


def _months(term: Period) -> Iterable[int]:
    at_s = month_start_s(term.start_s, 1)
    while at_s < term.end_s:
        yield at_s
        at_s = month_start_s(at_s, 1)


def outlook(status: StartupStatus, translator: Translator) -> str:
    """The expected credits at the end, in a sentence; empty outside the cohort's time."""
    if status.pace is None:
        return ""
    unused = status.pace.unused
    if unused.high_ucr == 0:
        return translator("At this rate nothing is left before the end of the cohort.")
    return translator(
        "At the end of the cohort, between {low} and {high} are expected to be left.",
        low=translator.credits(unused.low_ucr),
        high=translator.credits(unused.high_ucr),
    )

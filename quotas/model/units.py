"""Units: amounts, rates, instants and periods as integers, their text forms, and the price formula.

Amounts are micro-credits (ucr, 1 credit = 1,000,000 ucr), rates are ucr per hour, instants are UTC
seconds since the epoch. Floats never enter an amount.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from zoneinfo import ZoneInfo

UCR_PER_CREDIT = 1_000_000
HOUR_S = 3600
DAY_S = 86_400
LARGEST_UCR = 2**62
"""The largest amount: two of them still add up within an int64."""

_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": HOUR_S, "d": DAY_S}


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open stretch of time [start_s, end_s), in UTC seconds."""

    start_s: int
    end_s: int

    def __post_init__(self) -> None:
        if self.end_s < self.start_s:
            raise ValueError(f"period ends at {self.end_s}, before its start {self.start_s}")

    @property
    def seconds(self) -> int:
        """Length in seconds; the end is not part of it."""
        return self.end_s - self.start_s

    def holds(self, instant_s: int) -> bool:
        """Whether an instant lies in the period."""
        return self.start_s <= instant_s < self.end_s

    def split(self, edges: Iterable[int]) -> list[Period]:
        """The parts of the period, cut at each edge inside it; none of an empty period."""
        inner = {edge for edge in edges if self.start_s < edge < self.end_s}
        return [Period(a, b) for a, b in pairwise(sorted({self.start_s, *inner, self.end_s}))]


def cost_ucr(rate_ucr_per_h: int, run_start_s: int, period: Period) -> int:
    """Cost of `period` of a run that began at `run_start_s`, in ucr.

    F(end) - F(start) with F(t) = floor(rate * (t - run start) / 3600). So any partition of a run
    costs exactly as much as the whole.
    """
    return cost_between_ucr(rate_ucr_per_h, run_start_s, period.start_s, period.end_s)


def cost_between_ucr(rate_ucr_per_h: int, run_start_s: int, start_s: int, end_s: int) -> int:
    """`cost_ucr` of [start_s, end_s) without a Period, for sums over many charges."""
    if rate_ucr_per_h < 0 or not run_start_s <= start_s <= end_s:
        raise ValueError("the rate must not be negative, and the period must lie within its run")
    from_s, to_s = start_s - run_start_s, end_s - run_start_s
    return rate_ucr_per_h * to_s // HOUR_S - rate_ucr_per_h * from_s // HOUR_S


def spent_after_s(rate_ucr_per_h: int, amount_ucr: int) -> int:
    """Seconds after which a cost that grows at a positive rate has reached `amount_ucr`."""
    if rate_ucr_per_h <= 0 or amount_ucr < 0:
        raise ValueError("the rate must be positive, and the amount must not be negative")
    return -(-amount_ucr * HOUR_S // rate_ucr_per_h)


def parse_credits(text: str) -> int:
    """Read a decimal string such as "60000" or "12.5" as ucr.

    Raises ValueError if it is not a finite decimal, is finer than a micro-credit, or exceeds
    2**62 ucr.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a decimal number of credits") from None
    if not amount.is_finite():
        raise ValueError(f"{text!r} is not a finite number of credits")
    if amount.adjusted() > 14 or abs(amount) * UCR_PER_CREDIT > LARGEST_UCR:
        raise ValueError(f"{text!r} is larger than 2^62 micro-credits")
    ucr = amount * UCR_PER_CREDIT
    if ucr != ucr.to_integral_value():
        raise ValueError(f"{text!r} is finer than a micro-credit (six decimals)")
    return int(ucr)


def format_credits(amount_ucr: int) -> str:
    """Write ucr as a plain decimal string with two to six decimals: 41.20, -0.000001."""
    sign = "-" if amount_ucr < 0 else ""
    whole, micro = divmod(abs(amount_ucr), UCR_PER_CREDIT)
    decimals = f"{micro:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def parse_duration(text: str) -> int:
    """Read "30m", "1h30m" or "7d" as seconds; units are s, m, h, d. Raises ValueError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 1h30m or 7d")
    return sum(int(n) * _UNIT_S[unit] for n, unit in parts)


def format_duration(seconds: int) -> str:
    """Write seconds as [N d ]HH:MM:SS, with a minus if negative."""
    sign = "-" if seconds < 0 else ""
    days, rest = divmod(abs(seconds), DAY_S)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{sign}{days} d {clock}" if days else sign + clock


def format_of_day(seconds: int) -> str:
    """Seconds since midnight as 22:00."""
    return f"{seconds // HOUR_S:02}:{seconds % HOUR_S // 60:02}"


def parse_instant(text: str) -> int:
    """Read an RFC 3339 instant with its offset as UTC seconds, fractions cut off.

    Raises ValueError for anything else, also for a local time without a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone: write 2027-01-05T00:00:00+01:00 or ...Z")
    return int(moment.replace(microsecond=0).timestamp())


def format_instant(instant_s: int) -> str:
    """Write UTC seconds as RFC 3339 with a Z."""
    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def month_start_s(instant_s: int, months_later: int = 0) -> int:
    """First instant of the UTC calendar month of `instant_s`, or of the month N months later."""
    moment = datetime.fromtimestamp(instant_s, UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months_later, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())


def day_start_s(instant_s: int, timezone: str) -> int:
    """First instant of the local day of `instant_s`."""
    zone = ZoneInfo(timezone)
    return int(datetime.combine(datetime.fromtimestamp(instant_s, zone), time(), zone).timestamp())

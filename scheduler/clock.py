"""The clock of the process: the only module that reads one; every other is handed one."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time in UTC seconds, and a monotonic time that no step of the wall moves."""

    def now_s(self) -> int:
        """Whole UTC seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that only ever grow, from an arbitrary start."""


class SystemClock:
    """The machine's own clocks."""

    def now_s(self) -> int:
        """Whole UTC seconds since the epoch."""
        return int(time.time())

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved: for the demo and for tests."""

    def __init__(self, now_s: int) -> None:
        self._now_s = now_s
        self._monotonic_s = 0.0

    def now_s(self) -> int:
        """Where the clock was last moved to."""
        return self._now_s

    def monotonic(self) -> float:
        """Seconds moved forward so far."""
        return self._monotonic_s

    def move_to(self, now_s: int) -> None:
        """Move wall and monotonic time on together."""
        self._monotonic_s += max(0, now_s - self._now_s)
        self._now_s = now_s

    def step(self, seconds: int) -> None:
        """Step the wall alone, as an operator or NTP would."""
        self._now_s += seconds


def monotonic() -> float:
    """Monotonic seconds of this machine, for durations of real calls."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait in real time: between retries of a remote call, or views of a screen."""
    threading.Event().wait(seconds)


def utc_now() -> datetime:
    """This machine's time as an aware UTC datetime, for APScheduler."""
    return datetime.now(UTC)

"""The clock of cohortctl: the only module of it that reads the time."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, and a way to wait."""

    def now_s(self) -> int:
        """Whole UTC seconds since the epoch."""

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""


class MachineClock:
    """The clock of this machine."""

    def now_s(self) -> int:
        """Whole UTC seconds since the epoch."""
        return int(time.time())

    def wait(self, seconds: float) -> None:
        """Return after so many seconds; signal handlers run meanwhile."""
        threading.Event().wait(seconds)

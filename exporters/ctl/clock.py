"""What time is it on the machine where cohortctl runs? Its only module that reads a clock."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, and a way to let it pass."""

    def now_s(self) -> int:
        """Whole UTC seconds since the epoch."""

    def wait(self, seconds: float) -> None:
        """Return when so much time has passed."""


class MachineClock:
    """This machine's own."""

    def now_s(self) -> int:
        """Whole UTC seconds since the epoch."""
        return int(time.time())

    def wait(self, seconds: float) -> None:
        """Return when so much time has passed; a signal's handler runs meanwhile."""
        threading.Event().wait(seconds)

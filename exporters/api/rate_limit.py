"""Request rates: a fixed window of one minute, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

MINUTE_S = 60


class FixedWindow:
    """The requests of one minute of the clock. The counts are dropped after it."""

    def __init__(self) -> None:
        self._began = 0
        self._counts: dict[Hashable, int] = defaultdict(int)

    def admits(self, key: Hashable, limit: int, now_s: int) -> bool:
        """Count one request; False if it exceeds the limit of the minute."""
        began = now_s // MINUTE_S
        if began != self._began:  # a clock that was set back starts a new minute, too
            self._began = began
            self._counts.clear()
        self._counts[key] += 1
        return self._counts[key] <= limit

"""How often may each of them ask? Counted by the minute, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

MINUTE_S = 60


class FixedWindow:
    """The requests of one minute of the clock. They are forgotten with it, so it stays small."""

    def __init__(self) -> None:
        self._began = 0
        self._counts: dict[Hashable, int] = defaultdict(int)

    def admits(self, key: Hashable, limit: int, now_s: int) -> bool:
        """Count one request; False where it is beyond the most that the minute allows."""
        began = now_s // MINUTE_S
        if began != self._began:  # a clock that was set back begins a minute as well
            self._began = began
            self._counts.clear()
        self._counts[key] += 1
        return self._counts[key] <= limit

"""Detection of a step of the wall clock, by monotonic time since the cycle before."""

from __future__ import annotations

from scheduler.clock import Clock

TOLERANCE_S = 5


class ClockJumpDetector:
    """Remembers both clocks from one cycle to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = (clock.now_s(), clock.monotonic())

    def jump_s(self) -> int:
        """Seconds by which the wall ran ahead of monotonic time, 0 within tolerance.

        A step back is 0 too: metering charges nothing until time passes what is known.
        """
        now = (self._clock.now_s(), self._clock.monotonic())
        ahead_s = (now[0] - self._last[0]) - (now[1] - self._last[1])
        self._last = now
        return int(ahead_s) if ahead_s > TOLERANCE_S else 0

"""The clock of the world: real time, a multiple of it, or set by a controller.

This is the only module of the simulator that reads a clock.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


def real_now_s() -> int:
    """The real time, in UTC seconds."""
    return int(time.time())


async def pause(seconds: float) -> None:
    """Wait in real time, for a slow answer."""
    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Clock:
    """World time as a function of real time; with `speed` None a controller sets it."""

    start_s: int
    speed: float | None
    began: float

    @classmethod
    def starting(cls, start_s: int, speed: float | None) -> Clock:
        """A clock that shows `start_s` now."""
        return cls(start_s, speed, time.monotonic())

    def now_s(self, world_s: int) -> int:
        """The world's time now, never before `world_s`, the time that it has already reached."""
        if self.speed is None:
            return world_s
        return max(world_s, self.start_s + int((time.monotonic() - self.began) * self.speed))

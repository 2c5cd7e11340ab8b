"""Reads of all zones within the cycle's deadlines; a late answer leaves a zone Unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from quotas.model.observation import Cause, Sweep, Unknown
from scheduler.clouds.base import Cloud, CloudError, Unreachable

ZONES_AT_ONCE = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60, 300
"""The pause of a ZoneReader after a zone failed to answer; each failure doubles it."""
TOO_LATE = "no answer within the cycle's deadline"

Answer = TypeVar("Answer")


class ZoneExecutor(Generic[Answer]):
    """Asks many zones at once, and drops answers that come too late.

    Each kind of question has its own pool, so that one that hangs delays no other.
    """

    def __init__(self, name: str, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._pool = ThreadPoolExecutor(ZONES_AT_ONCE, thread_name_prefix=name)
        self._late: dict[str, Future[Answer]] = {}

    def answers(self, zones: Iterable[str], ask: Callable[[str], Answer]) -> dict[str, Answer]:
        """The answers in time. A zone still busy with an earlier question is not asked again."""
        self._late = {zone: future for zone, future in self._late.items() if not future.done()}
        free = sorted(set(zones) - self._late.keys())
        asked = {zone: self._pool.submit(ask, zone) for zone in free}
        done, _ = wait(asked.values(), timeout=self._deadline_s)
        self._late |= asked
        return {zone: future.result() for zone, future in asked.items() if future in done}

    def close(self) -> None:
        """Let the threads end, and drop what they still read."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Observer:
    """Sweeps the zones of each cycle."""

    def __init__(self, cloud: Cloud, deadline_s: float) -> None:
        self._cloud = cloud
        self._zones: ZoneExecutor[Sweep] = ZoneExecutor("sweep", deadline_s)

    def observe(self, zones: Iterable[str], now_s: int) -> dict[str, Sweep]:
        """Each zone's answer; one that is late, in this cycle or an earlier one, is Unknown."""
        asked = sorted(set(zones))
        found = self._zones.answers(asked, lambda zone: self._cloud.sweep(zone, now_s))
        late = {zone: Unknown(zone, now_s, Cause.DEADLINE, TOO_LATE) for zone in asked}
        return {**late, **found}

    def close(self) -> None:
        """Let the threads end."""
        self._zones.close()


class ZoneReader(Generic[Answer]):
    """Reads of zones what a cycle can do without. A zone that fails is asked ever less often."""

    def __init__(self, name: str, deadline_s: float) -> None:
        self._zones: ZoneExecutor[Answer | CloudError] = ZoneExecutor(name, deadline_s)
        self._failed: dict[str, tuple[int, int]] = {}

    def read(
        self, zones: Iterable[str], ask: Callable[[str], Answer], now_s: int
    ) -> dict[str, Answer | CloudError]:
        """The answer, or the failure, of every zone that is not in a pause."""

        def tried(zone: str) -> Answer | CloudError:
            try:
                return ask(zone)
            except CloudError as error:
                return error

        due = self.askable(zones, now_s)
        found = {zone: Unreachable(TOO_LATE) for zone in due} | self._zones.answers(due, tried)
        for zone, answer in found.items():
            _, pause_s = self._failed.pop(zone, (0, FIRST_PAUSE_S // 2))
            if isinstance(answer, CloudError):
                self._failed[zone] = (now_s, min(2 * pause_s, LONGEST_PAUSE_S))
        return found

    def askable(self, zones: Iterable[str], now_s: int) -> list[str]:
        """The zones whose last failure is not too recent."""
        return [zone for zone in sorted(set(zones)) if not self._is_pausing(zone, now_s)]

    def close(self) -> None:
        """Let the threads end."""
        self._zones.close()

    def _is_pausing(self, zone: str, now_s: int) -> bool:
        """Whether its last failure is too recent; a clock that stepped back ends the pause."""
        failed_s, pause_s = self._failed.get(zone, (now_s, 0))
        return 0 <= now_s - failed_s < pause_s

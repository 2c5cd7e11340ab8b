"""Reads of all zones within the cycle's deadlines; a late answer leaves a zone Unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from quotas.model.observation import Cause, Sweep, Unknown
from scheduler.clouds.base import Cloud, CloudError, Unreachable

ZONES_AT_ONCE = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60, 300
"""How long a zone that failed to answer a Reader is left in peace: doubled at each failure."""
TOO_LATE = "no answer within the cycle's deadline"

Answer = TypeVar("Answer")


class ZoneExecutor(Generic[Answer]):
    """Asks many zones at once. A late answer belongs to a future nobody asks any more.

    Each kind of question has a pool of its own: one that hangs holds up no other.
    """

    def __init__(self, name: str, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._pool = ThreadPoolExecutor(ZONES_AT_ONCE, thread_name_prefix=name)
        self._late: dict[str, Future[Answer]] = {}

    def answers(self, zones: Iterable[str], ask: Callable[[str], Answer]) -> dict[str, Answer]:
        """What came in time. A zone still busy with an earlier question is not asked again."""
        self._late = {zone: future for zone, future in self._late.items() if not future.done()}
        free = sorted(set(zones) - self._late.keys())
        asked = {zone: self._pool.submit(ask, zone) for zone in free}
        done, _ = wait(asked.values(), timeout=self._deadline_s)
        self._late |= asked
        return {zone: future.result() for zone, future in asked.items() if future in done}

    def close(self) -> None:
        """Let the threads end; what they still read is dropped."""
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
    """Reads of zones what no cycle must have, and asks one that fails ever more seldom."""

    def __init__(self, name: str, deadline_s: float) -> None:
        self._zones: ZoneExecutor[Answer | CloudError] = ZoneExecutor(name, deadline_s)
        self._failed: dict[str, tuple[int, int]] = {}

    def read(
        self, zones: Iterable[str], ask: Callable[[str], Answer], now_s: int
    ) -> dict[str, Answer | CloudError]:
        """The answer, or the failure, of every zone that is not left in peace just now."""

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


def sweep_outcomes(sweeps: Mapping[str, Sweep]) -> dict[str, str]:
    """complete, partial or unknown, by zone."""
    return {zone: type(sweep).__name__.lower() for zone, sweep in sorted(sweeps.items())}

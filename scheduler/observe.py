"""How are all zones read within the cycle's deadline? In a bounded pool; late is Unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from quotas.observation import Cause, Sweep, Unknown
from scheduler.clouds.base import Cloud

ZONES_AT_ONCE = 8


class Observer:
    """Sweeps zones side by side. A late answer belongs to a future nobody asks any more."""

    def __init__(self, cloud: Cloud, deadline_s: float) -> None:
        self._cloud = cloud
        self._deadline_s = deadline_s
        self._pool = ThreadPoolExecutor(ZONES_AT_ONCE, thread_name_prefix="sweep")
        self._late: dict[str, Future[Sweep]] = {}

    def observe(self, zones: Iterable[str], now_s: int) -> dict[str, Sweep]:
        """Each zone's answer. A zone still busy with an earlier cycle is not asked again."""
        sweeps: dict[str, Sweep] = {}
        asked: dict[str, Future[Sweep]] = {}
        for zone in sorted(set(zones)):
            late = self._late.get(zone)
            if late is not None and not late.done():
                sweeps[zone] = _too_late(zone, now_s)
            else:
                asked[zone] = self._pool.submit(self._cloud.sweep, zone, now_s)
        wait(asked.values(), timeout=self._deadline_s)
        for zone, future in asked.items():
            sweeps[zone] = future.result() if future.done() else _too_late(zone, now_s)
        self._late = {**self._late, **asked}
        return sweeps

    def close(self) -> None:
        """Let the threads end; what they still read is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _too_late(zone: str, now_s: int) -> Unknown:
    return Unknown(zone, now_s, Cause.DEADLINE, "no answer within the cycle's deadline")


def outcomes(sweeps: Mapping[str, Sweep]) -> dict[str, str]:
    """complete, partial or unknown, by zone."""
    return {zone: type(sweep).__name__.lower() for zone, sweep in sorted(sweeps.items())}

"""Replay of a recorded demand: points of demand, turned into whole servers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from simulator.world.workloads.behaviours import Workload
from simulator.world.workloads.fleet import Fleet

_SIZES = (("H100-SXM-8-80G", 8), ("H100-SXM-4-80G", 4), ("H100-2-80G", 2), ("H100-1-80G", 1))
_ZONE = "fr-par-2"


@dataclass(frozen=True, slots=True)
class Point:
    """The GPUs that a startup wants from an instant on."""

    startup: str
    at_s: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A demand over time, of several startups."""

    points: tuple[Point, ...]

    def top(self, startups: int) -> Trace:
        """Only the startups with the highest sums of demand."""
        sums: Counter[str] = Counter()
        for point in self.points:
            sums[point.startup] += point.gpus
        chosen = set(sorted(sums, key=lambda name: (-sums[name], name))[:startups])
        return Trace(tuple(point for point in self.points if point.startup in chosen))

    def scaled(self, pool_gpus: int) -> Trace:
        """The same shape, scaled down to a highest total demand of `pool_gpus`."""
        peak = self.peak()
        if peak <= pool_gpus:
            return self
        return Trace(
            tuple(replace(each, gpus=-(-each.gpus * pool_gpus // peak)) for each in self.points)
        )

    def peak(self) -> int:
        """The highest total demand at any instant."""
        now: dict[str, int] = {}
        highest = 0
        for point in sorted(self.points, key=lambda point: point.at_s):
            now[point.startup] = point.gpus
            highest = max(highest, sum(now.values()))
        return highest

    def workloads(self) -> tuple[Workload, ...]:
        """One workload for each startup, which follows the changes of its demand."""
        changes: dict[str, list[Point]] = {}
        for point in sorted(self.points, key=lambda point: (point.startup, point.at_s)):
            kept = changes.setdefault(point.startup, [])
            if not kept or kept[-1].gpus != point.gpus:
                kept.append(point)
        return tuple(TraceWorkload(name, tuple(points)) for name, points in changes.items())


def whole_servers(gpus: int) -> list[tuple[str, str]]:
    """Names and types of the servers that hold so many GPUs, large ones first."""
    wanted: list[tuple[str, str]] = []
    for commercial_type, size in _SIZES:
        count, gpus = divmod(gpus, size)
        wanted += [(f"size{size}-{index}", commercial_type) for index in range(count)]
    return wanted


class TraceWorkload:
    """Runs exactly the servers that its trace asks for."""

    first_s = 0

    def __init__(self, name: str, points: tuple[Point, ...]) -> None:
        self.name = name
        self._points = points
        self._next = 0

    def wake(self, fleet: Fleet, now_s: int) -> int | None:
        """Switch servers on and off to meet the demand at this instant."""
        while self._next < len(self._points) and self._points[self._next].at_s <= now_s:
            self._next += 1
        gpus = self._points[self._next - 1].gpus if self._next else 0
        is_met = self._meet(fleet, gpus)
        soon_s = None if is_met else now_s + 1800
        due = self._points[self._next].at_s if self._next < len(self._points) else None
        return min((at_s for at_s in (soon_s, due) if at_s is not None), default=None)

    def _meet(self, fleet: Fleet, gpus: int) -> bool:
        """Whether every wanted server is on; the others are switched off first."""
        wanted = dict(whole_servers(gpus))
        for server in fleet.servers(_ZONE):
            if server.name not in wanted:
                fleet.off(server)
        met = [fleet.on(_ZONE, name, kind) for name, kind in wanted.items()]
        return all(met)

"""Five workloads of startups, each with its own random stream.

A workload wakes at an instant, acts on its fleet as its owner would, accepts every refusal, and
names the instant of its next wake. A server that somebody else stopped stays stopped until the
next plan.
"""

from __future__ import annotations

import random
from typing import Protocol

from simulator.world.model import Server
from simulator.world.workloads.fleet import Fleet

HOUR_S = 3600
DAY_S = 86_400
_PARIS = "fr-par-2"
_PATIENCE = 2
_MONDAY_S = 4 * DAY_S
"""1970-01-05 was a Monday."""


class Workload(Protocol):
    """A startup's way of using servers. `first_s`: its first wake, in seconds after the start."""

    name: str
    first_s: int

    def wake(self, fleet: Fleet, now_s: int) -> int | None:
        """Act, and say when to wake again (None: never)."""


class _Seeded:
    """A workload with a name, a random stream of its own, and a first wake within some hours."""

    first_h: tuple[int, int]

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = random.Random(f"{seed}/{name}")
        self.first_s = self._rng.randint(*self.first_h) * HOUR_S

    def _between_h(self, least_h: int, most_h: int) -> int:
        """A random duration in seconds, between two numbers of hours."""
        return self._rng.randint(least_h * HOUR_S, most_h * HOUR_S)


class _Sessions(_Seeded):
    """Works on one server for a session, rests, and works again."""

    server_name: str
    work_h: tuple[int, int]
    rest_h: tuple[int, int]
    _type: str
    _is_working = False

    def wake(self, fleet: Fleet, now_s: int) -> int | None:
        """Begin or end a session; without a server, try again after about an hour."""
        if self._is_working:
            if server := fleet.named(_PARIS, self.server_name):
                self._stop(fleet, server)
            self._is_working = False
            return now_s + self._between_h(*self.rest_h)
        if not fleet.on(_PARIS, self.server_name, self._type):
            return now_s + self._rng.randint(1800, 5400)
        self._is_working = True
        return now_s + self._between_h(*self.work_h)

    def _stop(self, fleet: Fleet, server: Server) -> None:
        fleet.off(server)


class SteadyTraining(_Sessions):
    """Trains for days on one large server, pauses for hours, and trains again."""

    server_name, first_h, work_h, rest_h = "trainer", (1, 12), (48, 144), (3, 20)

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._type = self._rng.choice(["H100-SXM-4-80G", "H100-SXM-8-80G"])


class GuestShutdown(_Sessions):
    """Shuts down inside the guest, which stays billed, and comes back a day or so later."""

    server_name, first_h, work_h, rest_h = "agent", (2, 20), (5, 14), (16, 40)
    _type = "H100-1-80G"

    def _stop(self, fleet: Fleet, server: Server) -> None:
        """Mostly from inside the guest; one time in five through the console."""
        if server.state != "running":
            return
        if self._rng.randrange(5) == 0:
            fleet.off(server)
        else:
            fleet.shut_down_guest(server)


class Bursts(_Seeded):
    """Works in bursts: several medium-sized servers for some hours, then nothing."""

    first_h = (2, 30)
    _burst: tuple[str, ...] = ()

    def wake(self, fleet: Fleet, now_s: int) -> int | None:
        """Begin a burst, or end it. Its small development server is on from the first day."""
        fleet.on("fr-par-1", "notebook", "L4-1-24G")
        if self._burst:
            fleet.off_named(_PARIS, self._burst)
            self._burst = ()
            return now_s + self._between_h(5, 40)
        self._burst = tuple(f"burst-{index}" for index in range(self._rng.randint(1, 4)))
        for index, name in enumerate(self._burst):
            fleet.on(_PARIS, name, "H100-1-80G" if index % 2 else "H100-2-80G")
        return now_s + self._rng.randint(90 * 60, 9 * HOUR_S)


class IdleWeekends(_Seeded):
    """Powers everything off on Friday evening and back on at Monday morning."""

    first_h = (1, 6)

    def wake(self, fleet: Fleet, now_s: int) -> int | None:
        """On during the week, off from Friday evening."""
        monday_s = now_s - (now_s - _MONDAY_S) % (7 * DAY_S)
        friday_s = monday_s + 4 * DAY_S + 18 * HOUR_S
        late_s = self._rng.randint(0, 2 * HOUR_S)
        if now_s >= friday_s:
            fleet.off_named(_PARIS, ["cluster-0", "cluster-1"])
            fleet.off_named("pl-waw-2", ["viewer"])
            return monday_s + 7 * DAY_S + 8 * HOUR_S + late_s
        wanted = [
            fleet.on(_PARIS, "cluster-0", "H100-SXM-4-80G"),
            fleet.on(_PARIS, "cluster-1", "H100-2-80G"),
            fleet.on("pl-waw-2", "viewer", "L40S-1-48G"),
        ]
        retry_s = now_s + HOUR_S + self._rng.randint(0, 1800)
        return friday_s + late_s if all(wanted) else min(retry_s, friday_s + late_s)


class Overspends(_Seeded):
    """Adds a server every few days, restarts stopped servers, and finally gives up for weeks."""

    first_h = (1, 5)
    _wanted = 1
    _grows_s: int | None = None
    _was_on = False
    _stopped_before = 0

    def wake(self, fleet: Fleet, now_s: int) -> int | None:
        """Switch every wanted server on, and sometimes add one.

        If its servers are stopped for the third time, it gives up and comes back weeks later.
        """
        first = fleet.named(_PARIS, "arm-0")
        if self._was_on and first is not None and first.state not in ("running", "starting"):
            self._stopped_before += 1
        if self._stopped_before > _PATIENCE:
            self._stopped_before, self._was_on = 0, False
            return now_s + self._rng.randint(20 * DAY_S, 40 * DAY_S)
        if self._grows_s is None or now_s >= self._grows_s:
            self._wanted = min(self._wanted + (self._grows_s is not None), 6)
            self._grows_s = now_s + self._rng.randint(4 * DAY_S, 10 * DAY_S)
        for index in range(self._wanted):
            kind = "H100-1-80G" if index % 3 == 2 else "H100-2-80G"
            self._was_on = fleet.on(_PARIS, f"arm-{index}", kind) or (index > 0 and self._was_on)
        return now_s + self._between_h(2, 6)


def default_workloads(seed: int) -> tuple[Workload, ...]:
    """The five startups of the default world."""
    return (
        SteadyTraining("acme-speech", seed),
        Bursts("borealis-vision", seed),
        IdleWeekends("cumulus-bio", seed),
        Overspends("delta-robotics", seed),
        GuestShutdown("echo-agents", seed),
    )

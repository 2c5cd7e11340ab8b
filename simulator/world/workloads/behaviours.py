"""Five workloads of startups, each with its own random stream.

A workload wakes at an instant, acts on its project's servers as their owner would, accepts every
refusal, and names the instant of its next wake. A server that somebody else stopped stays stopped
until the next plan.
"""

from __future__ import annotations

import random
from typing import Protocol

from simulator.world.model import Refusal, Server

HOUR_S = 3600
DAY_S = 86_400
_PARIS = "fr-par-2"
_PATIENCE = 2
_MONDAY_S = 4 * DAY_S
"""1970-01-05 was a Monday."""


class Region(Protocol):
    """What a startup can do with the region."""

    def servers(self, zone: str) -> tuple[Server, ...]:
        """Every server in a zone."""

    def create_server(self, zone: str, project_id: str, commercial_type: str, name: str) -> Server:
        """Create one, stopped."""

    def act(self, zone: str, server_id: str, action: str) -> Server:
        """Start an action."""

    def guest_shutdown(self, zone: str, server_id: str) -> Server:
        """Shut down inside the guest."""


class Workload(Protocol):
    """A startup's way of using servers. `first_s`: its first wake, in seconds after the start."""

    name: str
    first_s: int

    def wake(self, region: Region, project_id: str, now_s: int) -> int | None:
        """Act, and say when to wake again (None: never)."""


class Fleet:
    """A startup's own servers, switched on and off by name. Refusals become False."""

    def __init__(self, region: Region, project_id: str) -> None:
        self._region = region
        self._project_id = project_id

    def servers(self, zone: str) -> list[Server]:
        """The startup's servers in a zone."""
        every = self._region.servers(zone)
        return [server for server in every if server.project_id == self._project_id]

    def named(self, zone: str, name: str) -> Server | None:
        """The server of this name, if there is one."""
        found = (server for server in self.servers(zone) if server.name == name)
        return next(found, None)

    def on(self, zone: str, name: str, commercial_type: str) -> bool:
        """Whether the server is on or starting now; it is created if it does not exist."""
        try:
            server = self.named(zone, name) or self._region.create_server(
                zone, self._project_id, commercial_type, name
            )
            if server.state not in ("running", "starting"):
                self._region.act(zone, server.id, "poweron")
        except Refusal:
            return False
        return True

    def off(self, server: Server) -> bool:
        """Whether the server is off or stopping now."""
        if server.state in ("stopped", "stopping"):
            return True
        try:
            self._region.act(server.zone, server.id, "poweroff")
        except Refusal:
            return False
        return True

    def off_named(self, zone: str, names: list[str]) -> None:
        """Switch off those servers that exist."""
        for server in self.servers(zone):
            if server.name in names:
                self.off(server)


class SteadyTraining:
    """Trains for days on one large server, pauses for hours, and trains again."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = random.Random(f"{seed}/{name}")
        self.first_s = self._rng.randint(1, 12) * HOUR_S
        self._type = self._rng.choice(["H100-SXM-4-80G", "H100-SXM-8-80G"])
        self._is_training = False

    def wake(self, region: Region, project_id: str, now_s: int) -> int | None:
        """Begin or end a training."""
        fleet = Fleet(region, project_id)
        if self._is_training:
            fleet.off_named(_PARIS, ["trainer"])
            self._is_training = False
            return now_s + self._rng.randint(3 * HOUR_S, 20 * HOUR_S)
        if not fleet.on(_PARIS, "trainer", self._type):
            return now_s + self._rng.randint(1800, 5400)
        self._is_training = True
        return now_s + self._rng.randint(2 * DAY_S, 6 * DAY_S)


class Bursts:
    """Works in bursts: several medium-sized servers for some hours, then nothing."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = random.Random(f"{seed}/{name}")
        self.first_s = self._rng.randint(2, 30) * HOUR_S
        self._burst: list[str] = []

    def wake(self, region: Region, project_id: str, now_s: int) -> int | None:
        """Begin a burst, or end it. Its small development server is on from the first day."""
        fleet = Fleet(region, project_id)
        fleet.on("fr-par-1", "notebook", "L4-1-24G")
        if self._burst:
            fleet.off_named(_PARIS, self._burst)
            self._burst = []
            return now_s + self._rng.randint(5 * HOUR_S, 40 * HOUR_S)
        self._burst = [f"burst-{index}" for index in range(self._rng.randint(1, 4))]
        for index, name in enumerate(self._burst):
            fleet.on(_PARIS, name, "H100-1-80G" if index % 2 else "H100-2-80G")
        return now_s + self._rng.randint(90 * 60, 9 * HOUR_S)


class IdleWeekends:
    """Powers everything off on Friday evening and back on at Monday morning."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = random.Random(f"{seed}/{name}")
        self.first_s = self._rng.randint(1, 6) * HOUR_S

    def wake(self, region: Region, project_id: str, now_s: int) -> int | None:
        """On during the week, off from Friday evening."""
        fleet = Fleet(region, project_id)
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


class Overspends:
    """Adds a server every few days, restarts what was stopped, and at last gives up for weeks."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = random.Random(f"{seed}/{name}")
        self.first_s = self._rng.randint(1, 5) * HOUR_S
        self._wanted = 1
        self._grows_s: int | None = None
        self._was_on = False
        self._stopped_before = 0

    def wake(self, region: Region, project_id: str, now_s: int) -> int | None:
        """Switch every wanted server on, and sometimes add one.

        If its servers are stopped for the third time, it gives up and comes back weeks later.
        """
        fleet = Fleet(region, project_id)
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
        return now_s + self._rng.randint(2 * HOUR_S, 6 * HOUR_S)


class GuestShutdown:
    """Shuts down inside the guest, which stays billed, and comes back a day or so later."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._rng = random.Random(f"{seed}/{name}")
        self.first_s = self._rng.randint(2, 20) * HOUR_S
        self._is_working = False

    def wake(self, region: Region, project_id: str, now_s: int) -> int | None:
        """Begin a session, or end it from inside the guest."""
        fleet = Fleet(region, project_id)
        if self._is_working:
            self._shut_down(region, fleet)
            self._is_working = False
            return now_s + self._rng.randint(16 * HOUR_S, 40 * HOUR_S)
        if not fleet.on(_PARIS, "agent", "H100-1-80G"):
            return now_s + self._rng.randint(1800, 5400)
        self._is_working = True
        return now_s + self._rng.randint(5 * HOUR_S, 14 * HOUR_S)

    def _shut_down(self, region: Region, fleet: Fleet) -> None:
        """Mostly from inside the guest; one time in five through the console."""
        server = fleet.named(_PARIS, "agent")
        if server is None or server.state != "running":
            return
        if self._rng.randrange(5) == 0:
            fleet.off(server)
        else:
            region.guest_shutdown(_PARIS, server.id)


def default_workloads(seed: int) -> tuple[Workload, ...]:
    """The five startups of the default world."""
    return (
        SteadyTraining("acme-speech", seed),
        Bursts("borealis-vision", seed),
        IdleWeekends("cumulus-bio", seed),
        Overspends("delta-robotics", seed),
        GuestShutdown("echo-agents", seed),
    )

"""The simulated region as the daemon's cloud, in-process, with faults at its face."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from quotas.observation import Cause, Complete, Offer, Partial, Server, Sweep, Unknown
from scheduler.clouds.base import Conflict, Project, Throttled, Unreachable
from simulator.world import Refusal, World
from simulator.world import Server as WorldServer
from simulator.world.lifecycle import allowed_actions

STALE_S = 45
"""How old an answer may be that says it is of now."""
READS = ("outage", "partial", "stale")
KINDS = (*READS, "refuse", "throttle", "lost-before", "lost-after")


@dataclass(frozen=True)
class Window:
    """A fault in a zone, in [from_s, until_s)."""

    kind: str
    zone: str
    from_s: int
    until_s: int


def draw_windows(seed: int, start_s: int, until_s: int, zones: tuple[str, ...]) -> list[Window]:
    """The faults of a seed: each kind is off for half of the seeds, seed 0 has none."""
    chance = random.Random(f"{seed}/windows")
    windows = []
    for kind in KINDS:
        is_on = chance.random() < 0.5 and seed != 0
        for zone in zones:
            for _ in range(chance.randint(2, 8)):
                from_s = chance.randrange(start_s, until_s)
                longest = 9 if kind in READS else 12
                length_s = int(60 * 2 ** chance.uniform(0, longest))
                if is_on:
                    windows.append(Window(kind, zone, from_s, min(from_s + length_s, until_s)))
    return windows


@dataclass
class WorldCloud:
    """Reads and acts on a world, and keeps a log of both for the auditor."""

    world: World
    windows: list[Window] = field(default_factory=list)
    swept: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    calls: list[tuple[int, str, str]] = field(default_factory=list)
    seen_before: dict[str, tuple[int, tuple[Server, ...]]] = field(default_factory=dict)

    def _has(self, kind: str, zone: str) -> bool:
        now_s = self.world.now_s
        return any(
            w.kind == kind and w.zone == zone and w.from_s <= now_s < w.until_s
            for w in self.windows
        )

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """The zone's servers; Unknown, Partial or a little stale within such a window."""
        answer = self._answer(zone, at_s)
        self.swept.setdefault(zone, []).append((at_s, type(answer).__name__))
        return answer

    def _answer(self, zone: str, at_s: int) -> Sweep:
        assert at_s == self.world.now_s, "the world moves in lock-step with the daemon"
        if self._has("outage", zone):
            return Unknown(zone, at_s, Cause.UNREACHABLE, "simulated")
        servers = tuple(converted(server) for server in self.world.servers(zone))
        if self._has("partial", zone):
            return Partial(zone, at_s, servers[::2], Cause.INCONSISTENT, "simulated")
        old_s, old = self.seen_before.get(zone, (0, ()))
        if self._has("stale", zone) and at_s - old_s <= STALE_S:
            return Complete(zone, at_s, old)
        self.seen_before[zone] = (at_s, servers)
        return Complete(zone, at_s, servers)

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """The catalogue of today."""
        return tuple(
            Offer(zone, o.commercial_type, o.gpus, o.rate_ucr_per_h, o.scratch_bytes)
            for o in self.world.offers(zone)
        )

    def projects(self) -> tuple[Project, ...]:
        """Every project."""
        return tuple(Project(each.id, each.name) for each in self.world.projects)

    def server(self, zone: str, server_id: str) -> Server:
        """One server now."""
        return converted(self.world.server(zone, server_id))

    def power_off(self, zone: str, server_id: str) -> None:
        """Stop a server, or fail in one of the ways of this window."""
        self.calls.append((self.world.now_s, zone, server_id))
        if self._has("throttle", zone):
            raise Throttled("simulated 429")
        if self._has("refuse", zone):
            raise Conflict("simulated conflict")
        if self._has("lost-before", zone):
            raise Unreachable("the request was lost")
        try:
            self.world.act(zone, server_id, "poweroff")
        except Refusal as error:
            raise Conflict(str(error.body)) from None
        if self._has("lost-after", zone):
            raise Unreachable("the answer was lost")


def converted(server: WorldServer) -> Server:
    """A server of the world as an observation."""
    return Server(
        id=server.id,
        zone=server.zone,
        project_id=server.project_id,
        name=server.name,
        commercial_type=server.commercial_type,
        state=server.state,
        state_detail=server.state_detail,
        created_s=server.created_s,
        modified_s=server.modified_s,
        allowed_actions=allowed_actions(server.state, server.state_detail),
    )

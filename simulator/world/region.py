"""The state of the region and its ground truth: servers, played event by event.

The world never moves by itself: `advance` plays every event up to an instant, and the result does
not depend on the number of calls.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from simulator.world import lifecycle
from simulator.world.faults import FaultKind, Faults
from simulator.world.ground_truth import GroundTruth
from simulator.world.iam.identity import new_access_key, new_project, new_uuid
from simulator.world.iam.principals import Iam
from simulator.world.model import (
    Project,
    ScratchLost,
    Server,
    TruthRun,
    invalid,
    not_found,
    precondition,
    protected,
)
from simulator.world.offers.catalogue import OFFERS, Offer
from simulator.world.offers.market import DAY_S, Market
from simulator.world.workloads.behaviours import Workload, default_workloads
from simulator.world.workloads.fleet import Fleet

_STUCK_LOOK_S = 30


@dataclass(frozen=True, slots=True)
class _Step:
    """A server enters a state, unless a newer action has changed its course."""

    zone: str
    server_id: str
    epoch: int
    state: str
    state_detail: str


@dataclass(frozen=True, slots=True)
class _Wake:
    """A startup looks at its servers and follows its workload."""

    startup: str


class World:
    """A region of Scaleway with one organization in it."""

    def __init__(self, seed: int, start_s: int, days: int, market: Market) -> None:
        rng = random.Random(f"{seed}/organization")
        self.seed = seed
        self.start_s = start_s
        self.ends_s = start_s + days * DAY_S
        self.now_s = start_s
        self.organization_id = new_uuid(rng)
        self.operator_access_key = new_access_key(rng)
        self.operator_key = new_uuid(rng)
        self.iam = Iam(seed, self.organization_id)
        self.iam.add_owner(self.operator_access_key, self.operator_key, start_s)
        self.projects: list[Project] = []
        self.market = market
        self.faults = Faults()
        self._workloads: dict[str, Workload] = {}
        self._events: list[tuple[int, int, _Step | _Wake]] = []
        self._sequence = count()
        self._ids = random.Random(f"{seed}/servers")
        self._rngs: dict[str, random.Random] = {}
        self._servers: dict[str, dict[str, Server]] = {zone: {} for zone in OFFERS}
        self._ids_in: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        """The ids in a zone, and in a zone of a project, in the order of creation."""
        self._previous: dict[str, tuple[Server, int]] = {}
        self._stuck_steps: dict[str, list[tuple[int, _Step]]] = {}
        self._scripts: dict[tuple[str, str], tuple[lifecycle.Move, ...]] = {}
        self._servers_created = 0
        self._offers: dict[tuple[str, int], tuple[Offer, ...]] = {}
        self._ground_truth = GroundTruth()

    @classmethod
    def build(
        cls, seed: int, start_s: int, days: int = 183, workloads: Iterable[Workload] | None = None
    ) -> World:
        """A new world with its startups: five with different workloads unless others are given."""
        world = cls(seed, start_s, days, Market(seed))
        for workload in default_workloads(seed) if workloads is None else workloads:
            world.add_startup(workload.name, workload)
        return world

    def add_startup(self, name: str, workload: Workload | None = None) -> Project:
        """Add a project, with a workload or without any servers of its own."""
        project = new_project(self.seed, name, self.start_s)
        self.projects.append(project)
        self.iam.add_startup(project, self.start_s)
        if workload is not None:
            self._workloads[name] = workload
            self._schedule(self.now_s + workload.first_s, _Wake(name))
        return project

    # -- time ---------------------------------------------------------------------------

    def advance(self, now_s: int) -> None:
        """Play every event up to and including an instant, in order."""
        if now_s < self.now_s:
            raise ValueError(f"time does not go back from {self.now_s} to {now_s}")
        while self._events and self._events[0][0] <= now_s:
            self.now_s, _, event = heapq.heappop(self._events)
            if isinstance(event, _Step):
                self._step(event)
            else:
                self._wake(event)
        self.now_s = now_s

    def next_change_s(self) -> int | None:
        """The instant at which the world next does something by itself; None if it never does."""
        return self._events[0][0] if self._events else None

    def _schedule(self, at_s: int, event: _Step | _Wake) -> None:
        """Plan an event. Equal instants play in the order in which they were planned."""
        heapq.heappush(self._events, (at_s, next(self._sequence), event))

    def _wake(self, event: _Wake) -> None:
        project = next(project for project in self.projects if project.name == event.startup)
        fleet = Fleet(self, self.iam, project)
        next_s = self._workloads[event.startup].wake(fleet, self.now_s)
        if next_s is not None and next_s < self.ends_s:
            self._schedule(max(next_s, self.now_s + 1), event)

    def _step(self, step: _Step) -> None:
        server = self._servers[step.zone].get(step.server_id)
        if server is None or server.epoch != step.epoch:
            return
        leaves = server.state == "stopping" and step.state != "stopping"
        if leaves and not self._may_leave(server, step):
            return
        if step.state == lifecycle.GONE:
            self._remove(server)
        else:
            self._enter(server, step.state, step.state_detail)

    def _may_leave(self, server: Server, step: _Step) -> bool:
        """Whether a stopping server continues. While it is stuck, all its later steps wait too."""
        stuck_steps = self._stuck_steps.get(server.id, [])
        if stuck_steps and stuck_steps[0][1].epoch == step.epoch and stuck_steps[0][1] != step:
            stuck_steps.append((self.now_s, step))
            return False
        if self.faults.is_stuck(server.id, server.zone, self.now_s):
            if not stuck_steps or stuck_steps[0][1] != step:
                self._stuck_steps[server.id] = [(self.now_s, step)]
            self._schedule(self.now_s + _STUCK_LOOK_S, step)
            return False
        for due_s, later in self._stuck_steps.pop(server.id, [])[1:]:
            self._schedule(self.now_s + due_s - stuck_steps[0][0], later)
        return True

    # -- reading ------------------------------------------------------------------------

    def servers(self, zone: str) -> tuple[Server, ...]:
        """Every server in a zone, oldest first."""
        return tuple(self._servers[zone].values()) if zone in self._servers else ()

    def server_ids(self, zone: str, project_id: str = "") -> Sequence[str]:
        """The ids of the servers in a zone, or of one project there, oldest first."""
        return self._ids_in.get((zone, project_id), ())

    def server(self, zone: str, server_id: str) -> Server:
        """One server, or Refusal 404."""
        found = self._servers.get(zone, {}).get(server_id)
        if found is None:
            raise not_found("instance_server", server_id)
        return found

    def shown(self, server: Server) -> Server:
        """The server as a reader sees it: with stale reads, as it was before its last change."""
        before, changed_s = self._previous.get(server.id, (server, 0))
        if before is server or not self.faults.listed:
            return server
        stale = self.faults.take(FaultKind.STALE_READ, self.now_s, server.zone)
        return before if stale and self.now_s < changed_s + max(stale.delay_s, 1) else server

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """What a zone sells, by name, at today's prices."""
        key = (zone, self.market.changes_in_force(self.now_s))
        if key not in self._offers:
            self._offers[key] = tuple(
                replace(offer, rate_ucr_per_h=self.market.rate_ucr_per_h(offer, self.now_s))
                for offer in OFFERS.get(zone, {}).values()
            )
        return self._offers[key]

    def availability(self, offer: Offer) -> str:
        """available, scarce or shortage."""
        used = self._used_gpus(offer.zone, offer.family)
        return self.market.availability(offer, used, self.now_s)

    def truth(self) -> list[TruthRun]:
        """Every billable interval so far, with the open ones, by start."""
        return self._ground_truth.runs()

    @property
    def scratch_lost(self) -> tuple[ScratchLost, ...]:
        """Every erasure of scratch disks so far."""
        return tuple(self._ground_truth.scratch_lost)

    # -- changing -----------------------------------------------------------------------

    def create_server(
        self, zone: str, project_id: str, commercial_type: str, name: str, tags: Iterable[str] = ()
    ) -> Server:
        """Create a stopped server. Refused for an unknown type or project, or a used-up quota."""
        offer = OFFERS.get(zone, {}).get(commercial_type)
        if offer is None:
            raise invalid("commercial_type", f"{commercial_type} is not sold in {zone}")
        if all(project.id != project_id for project in self.projects):
            raise not_found("project", project_id)
        zone_servers = self._servers[zone].values()
        owned = sum(server.commercial_type == commercial_type for server in zone_servers)
        self.market.check_quota(offer, owned)
        self._servers_created += 1
        server = Server(
            id=new_uuid(self._ids),
            name=name,
            project_id=project_id,
            zone=zone,
            commercial_type=commercial_type,
            tags=tuple(tags),
            created_s=self.now_s,
            modified_s=self.now_s,
            scratch_bytes=offer.scratch_bytes,
            serial=self._servers_created,
        )
        self._servers[zone][server.id] = server
        for owner in ("", project_id):
            self._ids_in[zone, owner].append(server.id)
        return server

    def patch_server(self, zone: str, server_id: str, changes: Mapping[str, Any]) -> Server:
        """Change name, tags or protected. Any PATCH moves the modification date."""
        server = self.server(zone, server_id)
        wanted = {key: changes[key] for key in ("name", "protected") if key in changes}
        if "tags" in changes:
            wanted["tags"] = tuple(changes["tags"] or ())
        return self._store(replace(server, modified_s=self.now_s, **wanted))

    def delete_server(self, zone: str, server_id: str) -> None:
        """Remove a stopped server. Refused in any other state, or if the server is protected."""
        server = self.server(zone, server_id)
        if server.protected:
            raise protected(server_id)
        if server.state != "stopped":
            raise precondition("server should be stopped")
        self._remove(server)

    def act(self, zone: str, server_id: str, action: str) -> Server:
        """Start an action. The server enters its first state at once."""
        server = self.server(zone, server_id)
        self._check_action(server, action)
        offer = OFFERS[zone][server.commercial_type]
        if action == "poweron" and server.state == "stopped":
            self.market.check_stock(offer, self._used_gpus(zone, offer.family), self.now_s)
        self._previous[server.id] = (server, self.now_s)
        schedule = self._scripts.pop((server_id, action), None) or lifecycle.moves(
            action, server.state, offer.gpus, self._rng(server.id)
        )
        server = self._store(replace(server, epoch=server.epoch + 1))
        for move in schedule[1:]:
            step = _Step(zone, server.id, server.epoch, move.state, move.detail)
            self._schedule(self.now_s + move.after_s, step)
        return self._enter(server, schedule[0].state, schedule[0].detail)

    def script(self, server_id: str, action: str, moves: tuple[lifecycle.Move, ...]) -> None:
        """Let the next action of this kind follow the given steps, to replay a recording."""
        self._scripts[server_id, action] = moves

    def guest_shutdown(self, zone: str, server_id: str) -> Server:
        """`shutdown -h` inside the guest: the server is stopped in place, and still billed."""
        server = self.server(zone, server_id)
        if server.state != "running":
            raise precondition("server should be running")
        server = self._store(replace(server, epoch=server.epoch + 1))
        return self._enter(server, lifecycle.STANDBY, lifecycle.STANDBY)

    # -- inside -------------------------------------------------------------------------

    def _check_action(self, server: Server, action: str) -> None:
        if action not in lifecycle.ACTIONS:
            raise invalid("action", f"{action} is not an action")
        if action == "terminate" and server.protected:
            raise protected(server.id)
        if action not in lifecycle.allowed_actions(server.state, server.state_detail):
            wanted = "stopped" if action == "poweron" else "running"
            raise precondition(f"server should be {wanted}")

    def _rng(self, server_id: str) -> random.Random:
        """A server's own random stream, so that servers do not influence each other."""
        return self._rngs.setdefault(server_id, random.Random(f"{self.seed}/{server_id}"))

    def _used_gpus(self, zone: str, family: str) -> int:
        """GPUs that occupy hardware in a zone: those of every server that is not stopped."""
        offers = OFFERS[zone]
        return sum(
            offers[server.commercial_type].gpus
            for server in self._servers[zone].values()
            if server.state != "stopped" and offers[server.commercial_type].family == family
        )

    def _enter(self, server: Server, state: str, detail: str) -> Server:
        """Put a server into a state; only a change of state moves its modification date."""
        moved = state != server.state
        entered = replace(
            server,
            state=state,
            state_detail=detail,
            modified_s=self.now_s if moved else server.modified_s,
            node=self._node(server, state, detail),
        )
        self._ground_truth.note(server, entered, self.now_s)
        return self._store(entered)

    def _node(self, server: Server, state: str, detail: str) -> int | None:
        """The node of a server; none while the server is stopped or while a node is sought."""
        if state == "stopped" or detail == "allocating node":
            return None
        return server.node if server.node is not None else self._rng(server.id).randint(1, 999)

    def _store(self, server: Server) -> Server:
        self._servers[server.zone][server.id] = server
        return server

    def _remove(self, server: Server) -> None:
        self._ground_truth.note(server, replace(server, state="stopped"), self.now_s)
        del self._servers[server.zone][server.id]
        for owner in ("", server.project_id):
            self._ids_in[server.zone, owner].remove(server.id)
        self._rngs.pop(server.id, None)
        self._previous.pop(server.id, None)

"""The region of a play: the simulator's world, actions of its startups by name, and its log."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from simulator.world.faults import Fault, FaultKind
from simulator.world.lifecycle import SLOWEST_STOP_S, STANDBY
from simulator.world.model import Refusal, Server, permission_denied
from simulator.world.offers.catalogue import OFFERS
from simulator.world.offers.market import Market, PriceChange
from simulator.world.region import World

from ..scenario.script import START_S, Event

PASSING = ("starting", "stopping")
END = ("plenty", "unlock", "late_stop")
"""Actions that end another one or follow from it: no trouble of their own."""


class Region(World):
    """A world whose startups follow a script; refused actions are not done."""

    def __init__(self, seed: int, days: int, names: tuple[str, ...]) -> None:
        super().__init__(seed, START_S, days + 9, Market(seed))
        self.project_of = {name: self.add_startup(name).id for name in names}
        self.checks_permissions = False
        """Whether startups may only do what their policies in IAM let them."""
        self.slots: dict[tuple[str, str, int], str] = {}
        self.stock = dict(self.market.stock_gpus)
        self.changed: dict[str, list[int]] = {}
        """Every modification date that each server ever had."""
        self.deleted: dict[str, int] = {}
        self._done: Counter[str] = Counter()
        self._stood: dict[str, list[tuple[int, int]]] = {}
        self._stands: dict[str, int] = {}
        self._states: dict[str, list[tuple[int, str]]] = {}

    def play(self, event: Event) -> None:
        """Carry out the event, if the region allows it."""
        try:
            is_idle = getattr(self, f"do_{event.verb}")(event.who, *event.args)
        except Refusal:
            return
        if event.who == "provider" and event.verb not in END and not is_idle:
            self._done[event.verb] += 1

    def done(self) -> Counter[str]:
        """How often the provider changed something, by action."""
        return +(self._done - Counter(stick=len(self.faults.listed)))

    def _store(self, server: Server) -> Server:
        dates = self.changed.setdefault(server.id, [])
        if not dates or dates[-1] != server.modified_s:
            dates.append(server.modified_s)
        self._leaves_place(server.id)
        if server.state == STANDBY:
            self._stands[server.id] = server.modified_s
        self._enters(server.id, server.state)
        return super()._store(server)

    def _enters(self, server_id: str, state: str) -> None:
        states = self._states.setdefault(server_id, [])
        if not states or states[-1][1] != state:
            states.append((self.now_s, state))

    def _leaves_place(self, server_id: str) -> None:
        since_s = self._stands.pop(server_id, None)
        if since_s is not None:
            self._stood.setdefault(server_id, []).append((since_s, self.now_s))

    def stood_in_place(self) -> dict[str, list[tuple[int, int]]]:
        """When each server was stopped in place, by the date that the region showed."""
        found = {server_id: list(spans) for server_id, spans in self._stood.items()}
        for server_id, since_s in self._stands.items():
            found.setdefault(server_id, []).append((since_s, self.now_s))
        return found

    def _remove(self, server: Server) -> None:
        self.deleted[server.id] = self.now_s
        self._leaves_place(server.id)
        self._enters(server.id, "gone")
        super()._remove(server)

    def unstoppable(self) -> dict[str, list[tuple[int, int]]]:
        """Intervals in which each server was locked or stuck, so that nobody could stop it."""
        found: dict[str, list[tuple[int, int]]] = {}
        for server_id, states in self._states.items():
            ends = [*(at_s for at_s, _ in states[1:]), self.now_s]
            for (from_s, state), end_s in zip(states, ends, strict=True):
                if state == "locked" or (state in PASSING and end_s - from_s > SLOWEST_STOP_S):
                    found.setdefault(server_id, []).append((from_s, end_s))
        return found

    def _named(self, who: str, zone: str, slot: int) -> Server | None:
        return self._servers[zone].get(self.slots.get((who, zone, slot), ""))

    def do_on(self, who: str, zone: str, slot: int, kind: str) -> None:
        """Start the server of a slot; create it if there is none."""
        server = self._named(who, zone, slot)
        if server is None:
            self._check(who, "server:create")
            server = self.create_server(zone, self.project_of[who], kind, f"{who}-{slot}")
            self.slots[who, zone, slot] = server.id
        self._check(who, "server:start")
        self.act(zone, server.id, "poweron")

    def _check(self, who: str, permission: str) -> None:
        """Raise Refusal if a startup's policies do not allow the action."""
        if self.checks_permissions:
            project = next(p for p in self.projects if p.name == who)
            if not self.iam.startup_may(project, permission):
                raise permission_denied("compute_servers", permission.partition(":")[2])

    def do_again(self, who: str, zone: str, slot: int) -> None:
        """Start the server again after any stop."""
        server = self._named(who, zone, slot)
        if server is not None:
            self._check(who, "server:start")
            self.act(zone, server.id, "poweron")

    def do_off(self, who: str, zone: str, slot: int) -> None:
        """Power it off."""
        server = self._named(who, zone, slot)
        if server is not None:
            self.act(zone, server.id, "poweroff")

    def do_reboot(self, who: str, zone: str, slot: int) -> None:
        """Reboot the server."""
        server = self._named(who, zone, slot)
        if server is not None:
            self.act(zone, server.id, "reboot")

    def do_guest(self, who: str, zone: str, slot: int) -> None:
        """Shut the server down from inside; it is still billed."""
        server = self._named(who, zone, slot)
        if server is not None:
            self.guest_shutdown(zone, server.id)

    def do_touch(self, who: str, zone: str, slot: int) -> None:
        """Rename the server: a PATCH moves the modification date."""
        server = self._named(who, zone, slot)
        if server is not None:
            self.patch_server(zone, server.id, {"tags": ["touched"]})

    def do_delete(self, who: str, zone: str, slot: int) -> None:
        """Delete a stopped server; the next start makes another of the same name."""
        server = self._named(who, zone, slot)
        if server is not None:
            self.delete_server(zone, server.id)
            del self.slots[who, zone, slot]

    def do_resize(self, who: str, zone: str, slot: int, kind: str) -> None:
        """Give a stopped server another type."""
        server = self._named(who, zone, slot)
        if server is not None and server.state == "stopped":
            self._store(replace(server, commercial_type=kind, modified_s=self.now_s))

    def do_shortage(self, _: str, gpus: int) -> None:
        """Leave almost no stock of any type."""
        self.market.stock_gpus = dict.fromkeys(self.stock, gpus)

    def do_plenty(self, _: str) -> None:
        """Restore the stock."""
        self.market.stock_gpus = dict(self.stock)

    def do_price(self, _: str, kind: str, percent: int) -> None:
        """Change the list price of a type."""
        rate = self.market.rate_ucr_per_h(OFFERS["fr-par-2"][kind], START_S)
        self.market.change_price(PriceChange(kind, self.now_s, rate * percent // 100))

    def do_lock(self, _: str, who: str) -> bool:
        """Lock the first running server of a startup: it is billed, and no action is allowed.

        Returns True if there is none.
        """
        for server in self._of(who):
            if server.state == "running":
                stopped = self._store(replace(server, epoch=server.epoch + 1))
                self._enter(stopped, "locked", "")
                return False
        return True

    def do_unlock(self, _: str, who: str) -> None:
        """Let the startup's locked servers run again."""
        for server in self._of(who):
            if server.state == "locked":
                self._enter(server, "running", "booted")

    def do_stick(self, _: str, zone: str, until_s: int) -> None:
        """Let the next server that stops in a zone stay in stopping until an instant."""
        fault = Fault(FaultKind.STUCK_STOPPING, zone, count=1, from_s=self.now_s, until_s=until_s)
        self.faults.add(fault)

    def do_late_stop(self, _: str, zone: str, server_id: str) -> None:
        """Carry out a call that was answered with an error."""
        self.act(zone, server_id, "poweroff")

    def _of(self, who: str) -> list[Server]:
        return [
            server
            for zone in self._servers.values()
            for server in zone.values()
            if server.project_id == self.project_of[who]
        ]

    def listed(self) -> dict[str, set[int]]:
        """Every price that each flavor was ever listed at."""
        history = self.market.history
        return {
            f"{kind}@{zone}": {rate for _, rate in history(offer)}
            for zone in OFFERS
            for kind, offer in OFFERS[zone].items()
        }

    def rates(self) -> dict[tuple[str, str], int]:
        """List prices at the start, by zone and type."""
        rate_of = self.market.rate_ucr_per_h
        return {(z, kind): rate_of(o, START_S) for z in OFFERS for kind, o in OFFERS[z].items()}

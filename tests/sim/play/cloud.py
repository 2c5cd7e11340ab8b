"""The region of a play as an in-process cloud for the daemon, with faults."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from quotas.model.observation import Cause, Complete, Offer, Partial, Server, Sweep, Unknown
from scheduler.clouds.base import (
    CloudError,
    Conflict,
    Forbidden,
    KeyRefused,
    Project,
    Throttled,
    Unreachable,
)
from simulator.world.lifecycle import allowed_actions
from simulator.world.model import Refusal
from simulator.world.model import Server as WorldServer
from simulator.world.offers.catalogue import OFFERS

from ..scenario.script import Event, Window
from .region import Region

STALE_S = 150
"""The most by which an answer may be out of date: older than the last stop, by a cycle."""
ABSURD = 100


SETTLES = {"starting": "running", "stopping": "stopped"}


def _is_same(before: tuple[Server, ...] | None, after: tuple[Server, ...]) -> bool:
    """Whether the servers are the same, but for some that settled in a state of the same price."""
    return before is not None and len(before) == len(after) and all(map(_is_settled, before, after))


def _is_settled(before: Server, after: Server) -> bool:
    state = {"state": "", "state_detail": "", "modified_s": 0, "allowed_actions": ()}
    settles = SETTLES.get(before.state) == after.state
    return before == after or (settles and replace(before, **state) == replace(after, **state))


@dataclass(frozen=True, slots=True)
class Call:
    """A call to the provider: its instant by the region's clock, its subject and its answer."""

    at_s: int
    zone: str
    server_id: str
    action: str
    answer: str


@dataclass(frozen=True, slots=True)
class Swept:
    """A zone's answer: when it was given, which instant it describes, and its outcome.

    `cycle_s` is the daemon's time of the cycle that asked.
    """

    at_s: int
    asked_s: int
    cycle_s: int
    outcome: str
    is_stale: bool


@dataclass
class RegionCloud:
    """Reads a region and acts on it, and keeps a log of both for the auditor."""

    region: Region
    windows: Iterable[Window] = ()
    point: Callable[[str], None] = lambda _: None
    later: Callable[[Event], None] = lambda _: None
    offset_s: Callable[[], int] = lambda: 0
    is_calm: Callable[[], bool] = lambda: False
    swept: dict[str, list[Swept]] = field(default_factory=lambda: defaultdict(list))
    calls: list[Call] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    listed: set[str] = field(default_factory=set)
    _seen_before: dict[str, tuple[int, tuple[Server, ...]]] = field(default_factory=dict)
    _offers: dict[tuple[str, int], tuple[Offer, ...]] = field(default_factory=dict)
    _shown: dict[str, tuple[WorldServer, Server]] = field(default_factory=dict)
    _of: dict[tuple[str, str], list[Window]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for window in self.windows:
            self._of.setdefault((window.kind, window.zone), []).append(window)

    def _has(self, kind: str, zone: str) -> bool:
        now_s = self.region.now_s
        windows = self._of.get((kind, zone), ())
        if any(w.from_s <= now_s < w.until_s for w in windows) and not self.is_calm():
            self.injected[kind] += 1
            return True
        return False

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """The zone's servers; a part of them or an old state in a window of that kind."""
        stale = self.injected["stale"]
        answer = self._answer(zone, at_s)
        is_stale = self.injected["stale"] > stale
        asked_s = at_s - self.offset_s()
        # A server in a zone whose catalogue was never read is of no known type.
        outcome = type(answer).__name__ if zone in self.listed else "Unlisted"
        self.swept[zone].append(Swept(self.region.now_s, asked_s, at_s, outcome, is_stale))
        return answer

    def is_unchanged(self, zones: Iterable[str], at_s: int) -> bool:
        """Whether every zone answers Complete, and what is charged is as it was the last time.

        If not, the answers count as never given: a cycle asks again.
        """
        before = {zone: self._seen_before.get(zone, (0, None)) for zone in zones}
        answers = [self.sweep(zone, at_s) for zone in before]
        if all(isinstance(a, Complete) and _is_same(before[a.zone][1], a.servers) for a in answers):
            return True
        for zone, seen in before.items():
            self.swept[zone].pop()
            if seen[1] is not None:
                self._seen_before[zone] = (seen[0], seen[1])
        return False

    def _answer(self, zone: str, at_s: int) -> Sweep:
        if self._has("outage", zone):
            return Unknown(zone, at_s, Cause.UNREACHABLE, "simulated")
        if self._has("key-refused", zone):
            return Unknown(zone, at_s, self._refusal().cause, "simulated")
        servers = tuple(self._converted(server) for server in self.region.servers(zone))
        if self._has("partial", zone):
            return Partial(zone, at_s, servers[::2], Cause.INCONSISTENT, "simulated")
        now_s = self.region.now_s
        old_s, old = self._seen_before.get(zone, (0, ()))
        if now_s - old_s <= STALE_S and self._has("stale", zone):
            return Complete(zone, at_s, old)
        if self._has("shuffled", zone):
            servers = servers[::-1]
        if self._has("unknown-state", zone):
            servers = tuple(
                replace(s, state="hibernating") if s.state == "running" else s for s in servers
            )
        self._seen_before[zone] = (now_s, servers)
        return Complete(zone, at_s, servers)

    def _refusal(self) -> CloudError:
        """A refusal of the key: it is unknown in some seconds, and lacks a permission in others."""
        refusal = KeyRefused if self.region.now_s % 2 else Forbidden
        return refusal("simulated")

    def _converted(self, server: WorldServer) -> Server:
        known = self._shown.get(server.id)
        if known is None or known[0] is not server:
            known = self._shown[server.id] = (server, converted(server))
        return known[1]

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """Today's catalogue; none or an impossible one in a window of that kind."""
        self._answers("no-offers", zone)
        listed = self._listed(zone)
        self.listed.add(zone)
        if self._has("null-price", zone):
            return tuple(replace(offer, rate_ucr_per_h=None) for offer in listed)
        if self._has("zero-price", zone):
            return tuple(replace(offer, rate_ucr_per_h=0) for offer in listed)
        if self._has("absurd-price", zone):
            times = ((offer, (offer.rate_ucr_per_h or 0) * ABSURD) for offer in listed)
            return tuple(replace(offer, rate_ucr_per_h=rate) for offer, rate in times)
        return listed

    def _answers(self, fault: str, zone: str) -> None:
        """Raise the fault of a window of the catalogue, or a refused key."""
        if self._has(fault, zone):
            raise Unreachable("simulated")
        if self._has("key-refused", zone):
            raise self._refusal()

    def _listed(self, zone: str) -> tuple[Offer, ...]:
        key = (zone, self.region.market.changes_in_force(self.region.now_s))
        if key not in self._offers:
            self._offers[key] = tuple(
                Offer(zone, o.commercial_type, o.gpus, o.rate_ucr_per_h, o.scratch_bytes)
                for o in self.region.offers(zone)
                if o.gpus
            )
        return self._offers[key]

    def stock(self, zone: str) -> dict[str, str]:
        """The stock of each type in the region's words, if the region answers."""
        self._answers("no-stock", zone)
        return {o.commercial_type: self.region.availability(o) for o in OFFERS[zone].values()}

    def projects(self) -> tuple[Project, ...]:
        """Every project."""
        return tuple(Project(each.id, each.name) for each in self.region.projects)

    def server(self, zone: str, server_id: str) -> Server:
        """One server now."""
        return converted(self.region.server(zone, server_id))

    def power_off(self, zone: str, server_id: str) -> None:
        """Stop a server, or fail in one of the ways of this window."""
        self._act(zone, server_id, "poweroff")

    def power_on(self, zone: str, server_id: str) -> None:
        """Start a server, or fail in one of the ways of this window."""
        self._act(zone, server_id, "poweron")

    def _act(self, zone: str, server_id: str, action: str) -> None:
        self.point("before call")
        answer = "done"
        try:
            self._try(zone, server_id, action)
        except CloudError as error:
            answer = type(error).__name__
            raise
        finally:
            self.calls.append(Call(self.region.now_s, zone, server_id, action, answer))
            self.point("after call")

    def _try(self, zone: str, server_id: str, action: str) -> None:
        if self._has("throttle", zone):
            raise Throttled("simulated 429")
        if self._has("refuse", zone):
            raise Conflict("simulated conflict")
        if self._has("call-key-refused", zone):
            raise self._refusal()
        if self._has("lost-before", zone):
            raise Unreachable("the request was lost")
        if action == "poweroff" and self._has("late", zone):
            late = Event(self.region.now_s + 90, "provider", "late_stop", (zone, server_id))
            self.later(late)
            raise Unreachable("502, and done all the same")
        try:
            self.region.act(zone, server_id, action)
        except Refusal as error:
            raise Conflict(str(error.body)) from None
        if self._has("lost-after", zone):
            raise Unreachable("the answer was lost")


def converted(server: WorldServer) -> Server:
    """A server of the region as an observation."""
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

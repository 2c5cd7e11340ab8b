"""Faults of the region: on demand, or by a seeded plan."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

DAY_S = 86_400


class FaultKind(StrEnum):
    """Ways in which the region misbehaves; all of them were observed or reported."""

    RATE_LIMITED = "rate_limited"
    BAD_GATEWAY = "bad_gateway"
    HANG = "hang"
    SLOW = "slow"
    EMPTY_OBJECT = "empty_object"
    ZONE_OUTAGE = "zone_outage"
    REVOKED_KEY = "revoked_key"
    PARTIAL_PAGE = "partial_page"
    DUPLICATE_SERVER = "duplicate_server"
    COUNT_MISMATCH = "count_mismatch"
    UNKNOWN_STATE = "unknown_state"
    MISSING_PRICE = "missing_price"
    STALE_READ = "stale_read"
    STUCK_STOPPING = "stuck_stopping"
    TRANSIENT_STATE = "transient_state"


ON_DEMAND = (FaultKind.HANG, FaultKind.TRANSIENT_STATE)
PLANNED = tuple(kind for kind in FaultKind if kind not in ON_DEMAND)
"""Kinds that a plan may draw. Hanging costs real time, and few worlds edit rules."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and its limits; a limit that is None does not limit.

    `path` is a part of the request path; `count` how many times it strikes (for stuck_stopping:
    how many servers); it strikes in [from_s, until_s).
    """

    kind: FaultKind
    zone: str | None = None
    path: str | None = None
    method: str | None = None
    count: int | None = None
    from_s: int | None = None
    until_s: int | None = None
    delay_s: int = 2
    """How long slow answers take, in real seconds; how old stale reads are, in world seconds."""

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError("a fault strikes at least once")

    def covers(self, zone: str | None, path: str, method: str, now_s: int) -> bool:
        """Whether a request falls within its limits."""
        return (
            self.zone in (None, zone)
            and (self.path is None or self.path in path)
            and self.method in (None, method)
            and (self.from_s is None or self.from_s <= now_s)
            and (self.until_s is None or now_s < self.until_s)
        )


class Faults:
    """The faults that are in force."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._stuck: dict[str, Fault] = {}

    def add(self, *faults: Fault) -> None:
        """Add faults, after those in force."""
        self._faults += faults

    def clear(self) -> None:
        """End every fault; stuck servers go on."""
        self._faults.clear()
        self._stuck.clear()

    @property
    def listed(self) -> tuple[Fault, ...]:
        """The faults in force, without used-up ones."""
        return tuple(self._faults)

    def take(
        self, kind: FaultKind, now_s: int, zone: str | None = None, path: str = "", method: str = ""
    ) -> Fault | None:
        """The first fault of this kind that strikes now, counted as one strike."""
        for index, fault in enumerate(self._faults):
            if fault.kind is kind and fault.covers(zone, path, method, now_s):
                if fault.count == 1:
                    del self._faults[index]
                elif fault.count is not None:
                    self._faults[index] = replace(fault, count=fault.count - 1)
                return fault
        return None

    def is_stuck(self, server_id: str, zone: str, now_s: int) -> bool:
        """Whether a server that should become stopped stays in stopping for now."""
        bound = self._stuck.get(server_id)
        if bound is None:
            bound = self.take(FaultKind.STUCK_STOPPING, now_s, zone)
            if bound is None:
                return False
            self._stuck[server_id] = bound
        if bound.until_s is None or now_s < bound.until_s:
            return True
        del self._stuck[server_id]
        return False


def draw_faults(seed: int, start_s: int, days: int, zones: Iterable[str] = ()) -> list[Fault]:
    """The faults of a seed for a whole world: each kind is off for half of the seeds."""
    names = sorted(zones)
    drawn = [fault for kind in PLANNED for fault in _draw(kind, seed, start_s, days, names)]
    return sorted(drawn, key=lambda fault: (fault.from_s or 0, fault.kind))


def _draw(kind: FaultKind, seed: int, start_s: int, days: int, zones: list[str]) -> Iterator[Fault]:
    """About one window of minutes to hours every ten days, if the kind is on at all."""
    rng = random.Random(f"{seed}/fault/{kind}")
    if rng.random() < 0.5:
        return
    for _ in range(max(1, days // 10)):
        from_s = start_s + rng.randrange(days * DAY_S)
        until_s = from_s + int(60 * 2 ** rng.uniform(0, 8))
        zone = rng.choice(zones) if zones and rng.random() < 0.5 else None
        count = rng.choice([None, 1, 3, 10])
        yield Fault(kind, zone=zone, count=count, from_s=from_s, until_s=until_s, delay_s=1)

"""Prices with their history, stock and quotas of the region."""

from __future__ import annotations

import random
from dataclasses import dataclass

from simulator.world.model import out_of_stock, quota_exceeded
from simulator.world.offers.catalogue import OFFERS, Offer

DAY_S = 86_400
_RISE_OF_2026_S = 1_782_172_800
"""2026-06-23: the day the GPU prices rose."""

_BEFORE_2026 = {
    "H100-1-80G": 2_730_000,
    "H100-2-80G": 5_460_000,
    "H100-SXM-8-80G": 23_028_000,
    "L4-1-24G": 750_000,
    "L40S-1-48G": 1_400_000,
}

_STOCK_GPUS: dict[tuple[str, str], int] = {
    ("fr-par-2", "H100-SXM"): 64,
    ("fr-par-2", "H100-PCIe"): 48,
    ("pl-waw-2", "H100-PCIe"): 8,
    ("fr-par-2", "B300-SXM"): 0,
}
_STOCK_ELSEWHERE = 32

_QUOTA_SERVERS = {
    "H100-1-80G": 16,
    "H100-2-80G": 10,
    "H100-SXM-2-80G": 8,
    "H100-SXM-4-80G": 8,
    "H100-SXM-8-80G": 8,
}
_QUOTA_GPU_SERVERS = 4
_QUOTA_SERVERS_ELSEWHERE = 100


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A new price of a type in a zone from an instant on (None: in every zone)."""

    commercial_type: str
    at_s: int
    rate_ucr_per_h: int
    zone: str | None = None


class Market:
    """Prices with their history, and the free hardware."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._changes: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.stock_gpus = dict(_STOCK_GPUS)
        self.quota_servers = dict(_QUOTA_SERVERS)

    def change_price(self, change: PriceChange) -> None:
        """Set a price from an instant on."""
        for zone in [change.zone] if change.zone else sorted(OFFERS):
            if change.commercial_type in OFFERS[zone]:
                history = self._changes.setdefault((zone, change.commercial_type), [])
                history.append((change.at_s, change.rate_ucr_per_h))

    def history(self, offer: Offer) -> list[tuple[int, int]]:
        """Every past and future price of the offer: (from instant, micro-euros per hour)."""
        first = [(0, offer.rate_ucr_per_h)]
        if offer.commercial_type in _BEFORE_2026:
            before = _BEFORE_2026[offer.commercial_type]
            first = [(0, before), (_RISE_OF_2026_S, offer.rate_ucr_per_h)]
        later = self._changes.get((offer.zone, offer.commercial_type), [])
        return sorted(first + later, key=lambda change: change[0])

    def rate_ucr_per_h(self, offer: Offer, at_s: int) -> int:
        """The price in force at an instant."""
        return [rate for since_s, rate in self.history(offer) if since_s <= at_s][-1]

    def changes_in_force(self, at_s: int) -> int:
        """How many price changes there were: listings with equal counts show equal prices."""
        added = sum(since_s <= at_s for changes in self._changes.values() for since_s, _ in changes)
        return added + (at_s >= _RISE_OF_2026_S)

    def free_gpus(self, offer: Offer, used_gpus: int, at_s: int) -> int:
        """GPUs of this family that the zone could still start, after the use of other customers."""
        stock = self.stock_gpus.get((offer.zone, offer.family), _STOCK_ELSEWHERE)
        return max(0, stock - used_gpus - self._taken(offer, stock, at_s))

    def _taken(self, offer: Offer, stock: int, at_s: int) -> int:
        """GPUs that others use: on one day in ten a part of the stock, fixed by the seed."""
        rng = random.Random(f"{self._seed}/{offer.zone}/{offer.family}/{at_s // DAY_S}")
        return rng.randint(stock // 4, stock) if rng.randrange(10) == 0 else 0

    def availability(self, offer: Offer, used_gpus: int, at_s: int) -> str:
        """The API's word for the free stock."""
        if not offer.gpus:
            return "available"
        free = self.free_gpus(offer, used_gpus, at_s)
        if free < offer.gpus:
            return "shortage"
        return "scarce" if free < 2 * offer.gpus + 4 else "available"

    def check_quota(self, offer: Offer, owned: int) -> None:
        """Raise Refusal if the organization may not create one more server."""
        general = _QUOTA_GPU_SERVERS if offer.gpus else _QUOTA_SERVERS_ELSEWHERE
        quota = self.quota_servers.get(offer.commercial_type, general)
        if owned >= quota:
            name = offer.commercial_type.replace("-", "_")
            raise quota_exceeded(f"cp_servers_type_{name}", quota, owned)

    def check_stock(self, offer: Offer, used_gpus: int, at_s: int) -> None:
        """Raise Refusal if the zone cannot start one more server now."""
        if offer.gpus and self.free_gpus(offer, used_gpus, at_s) < offer.gpus:
            raise out_of_stock(offer.commercial_type)

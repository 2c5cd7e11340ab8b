"""Reads of what the provider has left, only of flavors that an owner waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from quotas.book.cycle.state import BookState
from quotas.shares.allocation import usage_of
from quotas.state.requests import requested_gpus
from quotas.state.snapshot import UNREAD
from scheduler.clouds.base import Cloud, CloudError
from scheduler.observe.zones import ZoneReader

FRESH_S = 60
"""How old an answer may be that a cycle decides from."""

log = structlog.get_logger()


class ProviderStock:
    """Reads each zone's stock, in the provider's words, where an on-demand pool is waited for."""

    def __init__(self, cloud: Cloud, deadline_s: float) -> None:
        self._cloud = cloud
        self._reader: ZoneReader[Mapping[str, str]] = ZoneReader("stock", deadline_s)
        self._read: dict[str, tuple[int, Mapping[str, str]]] = {}

    def read_stock(self, state: BookState, now_s: int) -> dict[str, str]:
        """The stock of every flavor of those pools, "unread" where the zone did not answer."""
        flavors = tuple(_waited_for(state))
        self._refresh({flavor.partition("@")[2] for flavor in flavors}, now_s)
        found: dict[str, str] = {}
        for flavor in flavors:
            kind, _, zone = flavor.partition("@")
            found[flavor] = self._read[zone][1].get(kind, UNREAD) if zone in self._read else UNREAD
        return found

    def close(self) -> None:
        """Let the threads that read end."""
        self._reader.close()

    def _refresh(self, zones: Iterable[str], now_s: int) -> None:
        """Read what is not fresh; what cannot be read is forgotten."""
        self._read = {z: read for z, read in self._read.items() if 0 <= now_s - read[0] < FRESH_S}
        old = [zone for zone in zones if zone not in self._read]
        for zone, stock in self._reader.read(old, self._cloud.stock, now_s).items():
            if isinstance(stock, CloudError):
                log.warning("provider_stock.unreadable", zone=zone, error=str(stock))
            else:
                self._read[zone] = (now_s, stock)


def _waited_for(state: BookState) -> Iterable[str]:
    """Flavors of the on-demand pools in which somebody asks for more than it runs."""
    assert state.program is not None
    runs = usage_of(state.program, state.runs)
    asked = requested_gpus(state.requests)
    pools = {pool for (name, pool), gpus in asked.items() if gpus > runs.get((name, pool), 0)}
    for pool in state.program.pools:
        if pool.name in pools and pool.backing == "on-demand":
            yield from pool.flavors

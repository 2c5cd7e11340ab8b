"""Reads of the provider's stock, only of flavors that an owner waits for."""

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
"""The greatest age of an answer from which a cycle decides."""

log = structlog.get_logger()


class ProviderStock:
    """Reads the stock of zones in which a startup waits for GPUs of an on-demand pool."""

    def __init__(self, cloud: Cloud, deadline_s: float) -> None:
        self._cloud = cloud
        self._reader: ZoneReader[Mapping[str, str]] = ZoneReader("stock", deadline_s)
        self._read: dict[str, tuple[int, Mapping[str, str]]] = {}

    def read_stock(self, state: BookState, now_s: int) -> dict[str, str]:
        """The provider's word for each flavor's stock; "unread" if the zone did not answer."""
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
        """Read the zones whose answer is not fresh. An answer that cannot be renewed is dropped."""
        self._read = {z: read for z, read in self._read.items() if 0 <= now_s - read[0] < FRESH_S}
        old = [zone for zone in zones if zone not in self._read]
        for zone, stock in self._reader.read(old, self._cloud.stock, now_s).items():
            if isinstance(stock, CloudError):
                log.warning("provider_stock.unreadable", zone=zone, error=str(stock))
            else:
                self._read[zone] = (now_s, stock)


def _waited_for(state: BookState) -> Iterable[str]:
    """Flavors of the on-demand pools in which a startup requests more GPUs than it runs."""
    assert state.program is not None
    runs = usage_of(state.program, state.runs)
    asked = requested_gpus(state.requests)
    pools = {pool for (name, pool), gpus in asked.items() if gpus > runs.get((name, pool), 0)}
    for pool in state.program.pools:
        if pool.name in pools and pool.backing == "on-demand":
            yield from pool.flavors

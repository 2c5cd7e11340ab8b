"""What does the provider still have of what an owner waits for? Asked only while one waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from quotas.book.state import State
from quotas.division import usage_of
from quotas.requests import asked_of
from quotas.snapshot import UNREAD
from scheduler.clouds.base import Cloud, CloudError

FRESH_S = 60
"""How old an answer may be that a cycle decides from."""

log = structlog.get_logger()


class StockWatch:
    """Reads each zone's stock, in the provider's words, where an on-demand pool is waited for."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._read: dict[str, tuple[int, Mapping[str, str]]] = {}

    def seen(self, state: State, now_s: int) -> dict[str, str]:
        """The stock of every flavor of those pools, "unread" where the zone did not answer."""
        found: dict[str, str] = {}
        for flavor in _waited_for(state):
            kind, _, zone = flavor.partition("@")
            found[flavor] = self._stock(zone, now_s).get(kind, UNREAD)
        return found

    def _stock(self, zone: str, now_s: int) -> Mapping[str, str]:
        read_s, stock = self._read.get(zone, (now_s - FRESH_S, {}))
        if now_s - read_s < FRESH_S:
            return stock
        try:
            stock = self._cloud.stock(zone)
        except CloudError as error:
            log.warning("stock.unread", zone=zone, error=str(error))
            stock = {}
        self._read[zone] = (now_s, stock)
        return stock


def _waited_for(state: State) -> Iterable[str]:
    """Flavors of the on-demand pools in which somebody asks for more than it runs."""
    assert state.program is not None
    runs = usage_of(state.program, state.runs)
    asked = asked_of(state.requests)
    pools = {pool for (name, pool), gpus in asked.items() if gpus > runs.get((name, pool), 0)}
    for pool in state.program.pools:
        if pool.name in pools and pool.backing == "on-demand":
            yield from pool.flavors

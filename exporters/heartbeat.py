"""The heartbeat: a request to a monitoring URL after successful cycles."""

from __future__ import annotations

import structlog
import urllib3

TIMEOUT_S = 10

log = structlog.get_logger()


class Heartbeat:
    """Requests a monitoring URL after successful cycles, so that silence is noticed there."""

    def __init__(self, url: str) -> None:
        self._url, self._had_good_cycle = url, False
        self._pool = urllib3.PoolManager(num_pools=1)

    def cycle(self, outcome: str) -> None:
        """Record the outcome of a cycle."""
        self._had_good_cycle = self._had_good_cycle or outcome == "done"

    def run(self) -> None:
        """Request the URL, if a cycle succeeded since the last time."""
        if not self._had_good_cycle:
            return
        self._had_good_cycle = False
        try:
            self._pool.request("GET", self._url, timeout=TIMEOUT_S, retries=False, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            # The address may hold a secret: only the kind of failure is logged.
            log.warning("heartbeat.failed", error=type(error).__name__)

"""How does Prometheus see the first of its kind? Each labelled series is shown at 0 once first.

A series that begins with 1 has not risen: increase() and the alerts on it would miss the
first failed message of a daemon, and the first broken promise of each startup.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from prometheus_client import Counter

Series = tuple[Counter, tuple[str, ...]]


class ZeroInitializedCounters:
    """Counts by labels; what is counted of a series before it was shown waits for that."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._exported: set[Series] = set()
        self._pending: dict[Series, int] = {}

    def initialize(self, counter: Counter, *labels: str) -> None:
        """Show a series at 0 from the next scrape on, if it is new."""
        self._add(0, counter, labels)

    def count(self, counter: Counter, *labels: str) -> None:
        """Count one."""
        self._add(1, counter, labels)

    def render_scrape(self, render: Callable[[], bytes]) -> bytes:
        """What a scrape reads; what waited for it counts from then on."""
        with self._lock:
            pending, self._pending = self._pending, {}
        text = render()
        with self._lock:
            for (counter, labels), number in pending.items():
                counter.labels(*labels).inc(number)
            self._exported |= pending.keys()
        return text

    def _add(self, number: int, counter: Counter, labels: tuple[str, ...]) -> None:
        series, child = (counter, labels), counter.labels(*labels)
        with self._lock:
            if series in self._exported:
                child.inc(number)
            else:
                self._pending[series] = self._pending.get(series, 0) + number

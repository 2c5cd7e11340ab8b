"""Counters whose new series are exported at 0 once before they count.

A series that begins with 1 has not risen, so increase() and the alerts on it would miss the
first failed message of a daemon and the first breached notice of each startup.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from prometheus_client import Counter

Series = tuple[Counter, tuple[str, ...]]


class ZeroInitializedCounters:
    """Counts by labels. Events of a new series wait until a scrape has shown it at 0."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._exported: set[Series] = set()
        self._pending: dict[Series, int] = {}

    def initialize(self, counter: Counter, *labels: str) -> None:
        """Export a new series at 0 from the next scrape on."""
        self._add(0, counter, labels)

    def count(self, counter: Counter, *labels: str) -> None:
        """Count one event."""
        self._add(1, counter, labels)

    def render_scrape(self, render: Callable[[], bytes]) -> bytes:
        """Render a scrape, then add the events that waited for it."""
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

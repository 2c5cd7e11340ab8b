"""Leadership of one daemon: it lasts as long as its lease, by wall and monotonic clock.

A lease ends at an instant of the wall clock, and a step of that clock can move it by days. So the
leader relies on its lease only for its length in monotonic time. A standby takes over a lease
that was not renewed for longer than any lease lasts. The epoch fences the book.
"""

from __future__ import annotations

from dataclasses import replace

from quotas.book.cycle.lease import MAX_LEASE_S, Lease, acquire, current_lease
from quotas.book.session import Book
from scheduler.clock import Clock


class Leadership:
    """Takes and renews the lease for one daemon. A standby remembers the lease it last saw."""

    def __init__(self, book: Book, clock: Clock, holder: str, length_s: int) -> None:
        self._book, self._clock = book, clock
        self._holder, self._length_s = holder, length_s
        self._seen: Lease | None = None
        self._seen_s = 0

    def lease(self, now_s: int) -> Lease | None:
        """The lease, ours for its whole length from now on; None while another leads."""
        began_s = int(self._clock.monotonic())
        expired_lease = self._seen if began_s - self._seen_s > MAX_LEASE_S else None
        lease = acquire(self._book, self._holder, now_s, self._length_s, expired_lease)
        if lease is None:
            self._watch_holder()
            return None
        return replace(lease, ends_s=began_s + self._length_s)

    def _watch_holder(self) -> None:
        """Note since when the other daemon's lease is unchanged."""
        current = current_lease(self._book)
        if current != self._seen:
            self._seen, self._seen_s = current, int(self._clock.monotonic())

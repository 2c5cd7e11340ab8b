"""Leadership of one daemon: it lasts while its lease does, by wall and monotonic clock.

A lease ends at an instant of the wall, which after a step of the clock may be days away. So
its holder counts on it for its length of monotonic time at most, and who stands by takes one
that nobody has renewed for longer than any lease lasts. The epoch fences the book.
"""

from __future__ import annotations

from dataclasses import replace

from quotas.book.cycle.lease import MAX_LEASE_S, Lease, acquire, current_lease
from quotas.book.session import Book
from scheduler.clock import Clock


class Leadership:
    """Takes and renews the lease for one daemon, and remembers whose it saw while it stood by."""

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
        """Note since when the other's lease stands as it does."""
        stands = current_lease(self._book)
        if stands != self._seen:
            self._seen, self._seen_s = stands, int(self._clock.monotonic())

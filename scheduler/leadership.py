"""Leadership of one daemon: it lasts as long as its lease, by wall and monotonic clock.

A lease ends at an instant of the wall clock, and a step of that clock can move it by days. So the
leader relies on its lease only for its length in monotonic time. A standby takes over a lease
that was not renewed for longer than any lease lasts. Beside a SQLite book a lock of the host tells
earlier that the holder died. The epoch fences the book.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from quotas.book.cycle.lease import MAX_LEASE_S, Lease, acquire, current_lease
from quotas.book.session import Book
from scheduler.clock import Clock

LOCK_NAME = "leader.lock"
_LONGEST_NAME = 1_000


class HostLock:
    """An exclusive lock on a file beside a SQLite book, with the name of its last holder.

    The lock is a hint and not the right to lead: the lease and its epoch decide who writes. If the
    lock is free and the file names the holder of the lease, that daemon no longer leads, so nobody
    has to wait for its lease to end. In every other case (a process that stands still, a child
    that survived, `release-all`, a file system without locks) the lease is waited for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def was_left_by(self, holder: str) -> bool:
        """Whether `holder` had the lock and lost it. We keep the lock if so."""
        if not self._take():
            return False
        assert self._file is not None
        if os.pread(self._file, _LONGEST_NAME, 0) == holder.encode():
            return True
        self.free()
        return False

    def hold(self, holder: str) -> None:
        """Take the lock under this name, unless another process has it."""
        self._take()
        if self._file is not None and os.pread(self._file, _LONGEST_NAME, 0) != holder.encode():
            with suppress(OSError):  # a full disk: then nobody shortens a wait for us
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, holder.encode(), 0)

    def free(self) -> None:
        """Give the lock up, if we have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take(self) -> bool:
        """Take the lock without waiting. False if another has it, or the file cannot be locked."""
        if self._file is not None:
            return True
        file = None
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self._path, flags, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if file is not None:
                os.close(file)
            return False
        self._file = file
        return True


class Leadership:
    """Takes and renews the lease for one daemon. A standby remembers the lease it last saw."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        holder: str,
        length_s: int,
        host_lock: HostLock | None = None,
    ) -> None:
        self._book, self._clock = book, clock
        self._holder, self._length_s, self._host_lock = holder, length_s, host_lock
        self._seen: Lease | None = None
        self._seen_s = 0

    def lease(self, now_s: int) -> Lease | None:
        """The lease, ours for its whole length from now on; None while another leads."""
        began_s = int(self._clock.monotonic())
        expired_lease = self._seen if began_s - self._seen_s > MAX_LEASE_S else None
        lease = acquire(self._book, self._holder, now_s, self._length_s, expired_lease)
        if lease is None:
            dead = self._lease_of_dead_holder()
            if dead is not None:
                lease = acquire(self._book, self._holder, now_s, self._length_s, dead)
        if lease is None:
            self._watch_holder()
            if self._host_lock is not None:
                self._host_lock.free()
            return None
        if self._host_lock is not None:
            self._host_lock.hold(self._holder)
        return replace(lease, ends_s=began_s + self._length_s)

    def _lease_of_dead_holder(self) -> Lease | None:
        """The lease in the book, if its holder on this host has lost the lock of a leader."""
        current = current_lease(self._book) if self._host_lock is not None else None
        if current is None or self._host_lock is None:
            return None
        return current if self._host_lock.was_left_by(current.holder) else None

    def _watch_holder(self) -> None:
        """Note since when the other daemon's lease is unchanged."""
        current = current_lease(self._book)
        if current != self._seen:
            self._seen, self._seen_s = current, int(self._clock.monotonic())

"""The lock of the leader's host: a dead leader is not waited for, and a living one is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quotas.book.cycle.lease import current_lease, seize
from scheduler.cycle import Cycle
from scheduler.leadership import LOCK_NAME, HostLock
from scheduler.timing import Timing

from ..harness import Harness


def with_lock(harness: Harness, holder: str, lock: HostLock) -> Cycle:
    """A daemon of this harness, with a lock file."""
    made = harness.daemon(holder)
    made.leadership._host_lock = lock
    return made


def dead_leader(harness: Harness, path: Path) -> None:
    """Daemon a leads, and its process dies: the kernel closes its file, the lease stays."""
    lock = HostLock(path)
    assert with_lock(harness, "a", lock).run().outcome == "done"
    lock.free()


def test_a_successor_leads_at_once_when_the_leader_died(tmp_path: Path) -> None:
    """Its epoch is the next one, long before the old lease ends."""
    harness, path = Harness(), tmp_path / LOCK_NAME
    dead_leader(harness, path)
    second = with_lock(harness, "b", HostLock(path))
    assert second.run().outcome == "done"
    assert second.lease is not None and second.lease.epoch == 2
    assert path.read_text() == "b"


def test_a_leader_that_stands_still_is_waited_for(tmp_path: Path) -> None:
    """SIGSTOP keeps the lock; once the lease has lapsed, the standby leads all the same."""
    harness, path = Harness(), tmp_path / LOCK_NAME
    assert with_lock(harness, "a", HostLock(path)).run().outcome == "done"
    second = with_lock(harness, "b", HostLock(path))
    assert second.run().outcome == "follower"
    harness.clock.move_to(harness.clock.now_s() + Timing().lease_s)
    assert second.run().outcome == "done"


def test_a_leader_without_the_lock_is_not_taken_for_the_dead_one(tmp_path: Path) -> None:
    """b leads while a, which stands still, keeps the lock. When a dies, c waits for b's lease."""
    harness, path = Harness(), tmp_path / LOCK_NAME
    first = HostLock(path)
    assert with_lock(harness, "a", first).run().outcome == "done"
    harness.clock.move_to(harness.clock.now_s() + Timing().lease_s)
    second = with_lock(harness, "b", HostLock(path))
    assert second.run().outcome == "done"
    first.free()
    assert with_lock(harness, "c", HostLock(path)).run().outcome == "follower"
    assert second.run().outcome == "done" and path.read_text() == "b"


def test_a_child_that_survives_keeps_the_lock(tmp_path: Path) -> None:
    """A forked child may still write for its parent, so the lease is waited for."""
    harness, path = Harness(), tmp_path / LOCK_NAME
    lock = HostLock(path)
    assert with_lock(harness, "a", lock).run().outcome == "done"
    assert lock._file is not None
    inherited = os.dup(lock._file)
    lock.free()
    second = with_lock(harness, "b", HostLock(path))
    assert second.run().outcome == "follower"
    os.close(inherited)
    assert second.run().outcome == "done"


def test_the_lease_of_release_all_is_waited_for(tmp_path: Path) -> None:
    """The command holds no lock: a free lock says nothing of it."""
    harness, path = Harness(), tmp_path / LOCK_NAME
    dead_leader(harness, path)
    seize(harness.book, "release-all", harness.clock.now_s(), 60)
    assert with_lock(harness, "b", HostLock(path)).run().outcome == "follower"
    held = current_lease(harness.book)
    assert held is not None and held.holder == "release-all"


@pytest.mark.parametrize("broken", ["folder", "link"])
def test_without_a_lock_file_the_lease_alone_decides(tmp_path: Path, broken: str) -> None:
    """A path that cannot be locked stops nobody from leading and shortens no wait."""
    harness, path = Harness(), tmp_path / LOCK_NAME
    if broken == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert with_lock(harness, "a", HostLock(path)).run().outcome == "done"
    assert with_lock(harness, "b", HostLock(path)).run().outcome == "follower"
    assert not (tmp_path / "elsewhere").exists()

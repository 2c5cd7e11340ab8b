"""APScheduler beats the cycle at real speed; the tests wait for events, never for time."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from scheduler.clock import SystemClock
from scheduler.cycle import Cycle, Report
from scheduler.jobs.maintenance import Chore
from scheduler.loop import Loop, sd_notify
from scheduler.timing import Timing

from ..harness import Rig

WAIT_S = 20
"""Far more than any step needs; a test that is right never waits so long."""
FAR_S = 3_600


class Scripted(Cycle):
    """A cycle whose outcomes are given: each run takes the next one and tells the test."""

    def __init__(self, rig: Rig, *runs: Callable[[], Report]) -> None:
        super().__init__(
            cloud=rig.cloud,
            book=rig.book,
            clock=SystemClock(),  # type: ignore[arg-type]  # a Clock, at real speed
            holder="a",
            timing=Timing(cycle_s=FAR_S),
            publish=rig.views.append,
        )
        self.left = list(runs)
        self.edges_s: list[int] = []

    def run(self) -> Report:
        """The next outcome; a good one when all were taken."""
        return self.left.pop(0)() if self.left else Report("done", "all is well")

    def next_s(self, report: Report) -> int:
        """The next edge that the test planned, or an hour from now."""
        return self.clock.now_s() + (self.edges_s.pop(0) if self.edges_s else FAR_S)


class Heard:
    """What the loop said: outcomes of cycles and messages to the service manager, in order."""

    def __init__(self) -> None:
        self.cycles: queue.Queue[str] = queue.Queue()
        self.pings: queue.Queue[str] = queue.Queue()

    def cycle(self, outcome: str, seconds: float, at_s: int) -> None:
        """The loop's `on_cycle`."""
        assert seconds >= 0 and at_s > 0
        self.cycles.put(outcome)


@contextmanager
def beating(
    cycle: Cycle,
    heard: Heard,
    ping: Callable[[str], None] | None = None,
    of: type[Loop] = Loop,
    chores: Iterable[Chore] = (),
) -> Iterator[Loop]:
    """A loop on its own thread, stopped and joined at the end."""
    loop = of(
        cycle,
        on_cycle=heard.cycle,
        on_missed=lambda: None,
        ping=ping or heard.pings.put,
        chores=chores,
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive(), "the loop did not return"


def broken() -> Report:
    """A cycle that fails as a database would."""
    raise OSError("disk full")


def test_an_edge_moves_the_next_run_earlier() -> None:
    """With an hour between cycles, an edge a second away is met: one job, moved."""
    cycle, heard = Scripted(Rig()), Heard()
    cycle.edges_s = [1, 1]
    with beating(cycle, heard):
        assert [heard.cycles.get(timeout=WAIT_S) for _ in range(3)] == ["done"] * 3
    assert heard.cycles.empty(), "no edge, no fourth cycle"


def test_a_wall_clock_that_steps_back_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty days back between two cycles: the next one runs all the same, and so does a chore."""

    class Wall(datetime):
        ahead = timedelta(days=30)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a datetime
            return datetime.now(tz) + cls.ahead

    class Stepped(Loop):
        def _move(self, report: Report) -> None:
            super()._move(report)
            Wall.ahead = timedelta()

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Wall)
    monkeypatch.setattr("scheduler.loop.wall", lambda: Wall.now(UTC))
    monkeypatch.setattr("scheduler.loop.LOOK_EVERY_S", 0.1)
    cycle, heard, ran = Scripted(Rig()), Heard(), threading.Event()
    with beating(cycle, heard, of=Stepped, chores=[Chore("chore", FAR_S, ran.set)]):
        assert [heard.cycles.get(timeout=WAIT_S) for _ in range(2)] == ["done"] * 2
        assert ran.wait(WAIT_S)
    assert heard.cycles.empty(), "once brought back, it waits for its hour again"


def test_a_failing_cycle_does_not_end_the_loop() -> None:
    """Whatever was raised, the next cycle runs; only the failed one gets no watchdog ping."""
    cycle, heard = Scripted(Rig(), broken, broken), Heard()
    cycle.edges_s = [1, 1]
    with beating(cycle, heard):
        outcomes = [heard.cycles.get(timeout=WAIT_S) for _ in range(3)]
        assert outcomes == ["failed", "failed", "done"]
        assert heard.pings.get(timeout=WAIT_S) == "READY=1"
        assert heard.pings.get(timeout=WAIT_S).startswith("WATCHDOG=1\nSTATUS=all is well")
    assert list(heard.pings.queue) == ["STOPPING=1"]


def test_stopping_waits_for_the_running_cycle_and_gives_the_lease_back() -> None:
    """SIGTERM finishes the running step: `run` returns after it, and the lease is free."""
    rig = Rig()
    cycle, heard = Scripted(rig), Heard()
    entered, let_go = threading.Event(), threading.Event()

    def slow() -> Report:
        report = Cycle.run(cycle)
        entered.set()
        assert let_go.wait(WAIT_S)
        return report

    cycle.left = [slow]
    loop = Loop(cycle, on_cycle=heard.cycle, on_missed=lambda: None, ping=heard.pings.put)
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert entered.wait(WAIT_S)
    loop.stop()
    while heard.pings.get(timeout=WAIT_S) != "STOPPING=1":
        pass
    assert thread.is_alive() and heard.cycles.empty()
    let_go.set()
    thread.join(WAIT_S)
    assert not thread.is_alive() and heard.cycles.get_nowait() == "done"
    assert [row["expires_s"] for row in rig.all("lease")] == [0]


def test_a_slow_start_is_ready_only_once_the_loop_runs() -> None:
    """READY=1 is the first thing said."""
    cycle, heard = Scripted(Rig()), Heard()
    with beating(cycle, heard):
        assert heard.pings.get(timeout=WAIT_S) == "READY=1"


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end of a real notification socket."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        channel.settimeout(WAIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        yield channel


def test_the_service_manager_hears_ready_watchdog_and_stopping(manager: socket.socket) -> None:
    """Over a real unix socket: READY, WATCHDOG after the good cycle only, STOPPING."""
    cycle, heard = Scripted(Rig(), broken), Heard()
    cycle.edges_s = [1]
    with beating(cycle, heard, sd_notify):
        assert manager.recv(4096) == b"READY=1"
        assert manager.recv(4096) == b"WATCHDOG=1\nSTATUS=all is well"
    assert manager.recv(4096) == b"STOPPING=1"
    assert list(heard.cycles.queue) == ["failed", "done"]


def test_an_abstract_socket_is_reached_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd may name its socket with an @ for the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("")  # the kernel picks a free abstract name
        channel.settimeout(WAIT_S)
        name = channel.getsockname()
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name[1:].decode())
        sd_notify("READY=1")
        assert channel.recv(4096) == b"READY=1"


def test_a_manager_that_went_away_does_not_end_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notification that cannot be delivered is no reason to stop metering."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    cycle, heard = Scripted(Rig()), Heard()
    cycle.edges_s = [1]
    with beating(cycle, heard, sd_notify):
        assert [heard.cycles.get(timeout=WAIT_S) for _ in range(2)] == ["done"] * 2


def test_without_a_service_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No $NOTIFY_SOCKET: silent."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sd_notify("READY=1")

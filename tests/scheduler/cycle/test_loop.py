"""APScheduler runs the cycle at real speed; the tests wait for events, never for time."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from scheduler.clock import SystemClock
from scheduler.cycle import Cycle, CycleReport
from scheduler.jobs.maintenance import MaintenanceJob
from scheduler.loop import Loop, sd_notify
from scheduler.timing import Timing

from ..harness import Harness

WAIT_S = 20
"""Far more than any step needs: only a failing test waits this long."""
FAR_S = 3_600


class Scripted(Cycle):
    """A cycle with given outcomes: each run takes the next outcome and reports to the test."""

    def __init__(self, harness: Harness, *runs: Callable[[], CycleReport]) -> None:
        super().__init__(
            cloud=harness.cloud,
            book=harness.book,
            clock=SystemClock(),  # type: ignore[arg-type]  # a Clock, at real speed
            holder="a",
            timing=Timing(cycle_s=FAR_S),
            publish=harness.views.append,
        )
        self.left = list(runs)
        self.edges_s: list[int] = []

    def run(self) -> CycleReport:
        """Return the next outcome, or a good one when all were taken."""
        return self.left.pop(0)() if self.left else CycleReport("done", "all is well")

    def next_due_s(self, report: CycleReport) -> int:
        """Return the next edge that the test planned, or an hour from now."""
        return self.clock.now_s() + (self.edges_s.pop(0) if self.edges_s else FAR_S)


class RecordedMetrics:
    """Records, in order, the outcomes of cycles and the messages to the service manager."""

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
    recorded_metrics: RecordedMetrics,
    ping: Callable[[str], None] | None = None,
    of: type[Loop] = Loop,
    maintenance: Iterable[MaintenanceJob] = (),
) -> Iterator[Loop]:
    """A loop on its own thread, stopped and joined at the end."""
    loop = of(
        cycle,
        on_cycle=recorded_metrics.cycle,
        on_missed=lambda: None,
        ping=ping or recorded_metrics.pings.put,
        maintenance=maintenance,
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive(), "the loop did not return"


def broken() -> CycleReport:
    """A cycle that fails as a database error would make it fail."""
    raise OSError("disk full")


def test_an_edge_moves_the_next_run_earlier() -> None:
    """With an hour between cycles, an edge a second away moves the one job."""
    cycle, recorded_metrics = Scripted(Harness()), RecordedMetrics()
    cycle.edges_s = [1, 1]
    with beating(cycle, recorded_metrics):
        assert [recorded_metrics.cycles.get(timeout=WAIT_S) for _ in range(3)] == ["done"] * 3
    assert recorded_metrics.cycles.empty(), "no edge, no fourth cycle"


def test_a_wall_clock_that_steps_back_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the clock steps back thirty days, the next cycle and the other jobs still run."""
    today = datetime.now(UTC)
    monkeypatch.setattr("scheduler.loop.CLOCK_CHECK_EVERY_S", 0.1)
    cycle, recorded_metrics, ran = Scripted(Harness()), RecordedMetrics(), threading.Event()
    chore = MaintenanceJob("chore", FAR_S, ran.set)
    with freeze_time(today + timedelta(days=30), tick=True) as wall:

        class Stepped(Loop):
            def _move(self, report: CycleReport) -> None:
                super()._move(report)
                if datetime.now(UTC) > today + timedelta(days=1):
                    wall.move_to(today)

        with beating(cycle, recorded_metrics, of=Stepped, maintenance=[chore]):
            assert [recorded_metrics.cycles.get(timeout=WAIT_S) for _ in range(2)] == ["done"] * 2
            assert ran.wait(WAIT_S)
    assert recorded_metrics.cycles.empty(), "once brought back, it waits for its hour again"


def test_a_failing_cycle_does_not_end_the_loop() -> None:
    """After any exception the next cycle runs; only the failed cycle sends no watchdog ping."""
    cycle, recorded_metrics = Scripted(Harness(), broken, broken), RecordedMetrics()
    cycle.edges_s = [1, 1]
    with beating(cycle, recorded_metrics):
        outcomes = [recorded_metrics.cycles.get(timeout=WAIT_S) for _ in range(3)]
        assert outcomes == ["failed", "failed", "done"]
        assert recorded_metrics.pings.get(timeout=WAIT_S) == "READY=1"
        assert recorded_metrics.pings.get(timeout=WAIT_S).startswith(
            "WATCHDOG=1\nSTATUS=all is well"
        )
    assert list(recorded_metrics.pings.queue) == ["STOPPING=1"]


def test_stopping_waits_for_the_running_cycle_and_gives_the_lease_back() -> None:
    """On SIGTERM the running step is finished, then `run` returns, and the lease is free."""
    harness = Harness()
    cycle, recorded_metrics = Scripted(harness), RecordedMetrics()
    entered, let_go = threading.Event(), threading.Event()

    def slow() -> CycleReport:
        report = Cycle.run(cycle)
        entered.set()
        assert let_go.wait(WAIT_S)
        return report

    cycle.left = [slow]
    loop = Loop(
        cycle,
        on_cycle=recorded_metrics.cycle,
        on_missed=lambda: None,
        ping=recorded_metrics.pings.put,
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert entered.wait(WAIT_S)
    loop.stop()
    while recorded_metrics.pings.get(timeout=WAIT_S) != "STOPPING=1":
        pass
    assert thread.is_alive() and recorded_metrics.cycles.empty()
    let_go.set()
    thread.join(WAIT_S)
    assert not thread.is_alive() and recorded_metrics.cycles.get_nowait() == "done"
    assert [row["expires_s"] for row in harness.all("lease")] == [0]


def test_a_slow_start_is_ready_only_once_the_loop_runs() -> None:
    """The first message to the service manager is READY=1."""
    cycle, recorded_metrics = Scripted(Harness()), RecordedMetrics()
    with beating(cycle, recorded_metrics):
        assert recorded_metrics.pings.get(timeout=WAIT_S) == "READY=1"


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
    """A real socket receives READY, WATCHDOG after good cycles only, and STOPPING."""
    cycle, recorded_metrics = Scripted(Harness(), broken), RecordedMetrics()
    cycle.edges_s = [1]
    with beating(cycle, recorded_metrics, sd_notify):
        assert manager.recv(4096) == b"READY=1"
        assert manager.recv(4096) == b"WATCHDOG=1\nSTATUS=all is well"
    assert manager.recv(4096) == b"STOPPING=1"
    assert list(recorded_metrics.cycles.queue) == ["failed", "done"]


def test_an_abstract_socket_is_reached_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket name with @ is in the abstract namespace."""
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
    """A notification that cannot be delivered does not stop the metering."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    cycle, recorded_metrics = Scripted(Harness()), RecordedMetrics()
    cycle.edges_s = [1]
    with beating(cycle, recorded_metrics, sd_notify):
        assert [recorded_metrics.cycles.get(timeout=WAIT_S) for _ in range(2)] == ["done"] * 2


def test_without_a_service_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without $NOTIFY_SOCKET nothing is sent."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sd_notify("READY=1")

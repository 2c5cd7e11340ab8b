"""What keeps the cycle beating, and how does the daemon start, reload and leave?"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, timedelta

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from quotas.book.cycle.lease import release
from scheduler.clock import wall
from scheduler.cycle import Cycle, Report
from scheduler.jobs.deliver import Deliveries
from scheduler.jobs.maintenance import Chore

log = structlog.get_logger()
JOB = "cycle"
DELIVERY = "delivery"
DELIVER_EVERY_S = 5
UPKEEP = "upkeep"
LOOK_EVERY_S = 5
"""How often, in monotonic time, it is asked whether the wall clock stepped back."""
FIRST_CHORES_S = 5
"""Chores begin after the first cycle: the book is migrated and a program is there by then."""
DEFAULTS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
FAILED = "failed"


class Loop:
    """One cycle job in a one-worker executor; an edge moves its next run earlier."""

    def __init__(
        self,
        cycle: Cycle,
        *,
        on_cycle: Callable[[str, float, int], None],
        on_missed: Callable[[], None],
        ping: Callable[[str], None],
        deliveries: Deliveries | None = None,
        chores: Iterable[Chore] = (),
    ) -> None:
        self._cycle = cycle
        self._on_cycle = on_cycle
        self._ping = ping
        self._deliveries, self._chores = deliveries, tuple(chores)
        self._done = threading.Event()
        self._in_beat = threading.Lock()
        self._looks = threading.Thread(target=self._look_after, name="looks", daemon=True)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={name: ThreadPoolExecutor(1) for name in ("default", DELIVERY, UPKEEP)},
            job_defaults=DEFAULTS,
        )
        events = EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR
        self._scheduler.add_listener(lambda _: on_missed(), events)

    def run(self) -> None:
        """Beat until `stop`; returns after the running cycle has finished."""
        self._scheduler.start()
        self._ping("READY=1")
        self._scheduler.add_job(
            self._beat,
            "interval",
            id=JOB,
            seconds=self._cycle.timing.cycle_s,
            next_run_time=wall(),
        )
        if self._deliveries is not None:
            # Its own worker: a channel that hangs delays no cycle.
            self._scheduler.add_job(
                self._deliveries.run,
                "interval",
                id=DELIVERY,
                executor=DELIVERY,
                seconds=DELIVER_EVERY_S,
            )
        for chore in self._chores:
            self._scheduler.add_job(
                chore.run,
                "interval",
                id=chore.name,
                executor=UPKEEP,
                seconds=chore.every_s,
                next_run_time=wall() + timedelta(seconds=FIRST_CHORES_S),
            )
        self._looks.start()
        self._done.wait()
        self._ping("STOPPING=1")
        if self._deliveries is not None:
            self._deliveries.stop()
        # APScheduler waits for its workers under the very lock that moving the job needs.
        with self._in_beat:
            pass
        self._looks.join()
        self._scheduler.shutdown(wait=True)
        if self._cycle.lease is not None:
            release(self._cycle.book, self._cycle.lease)

    def stop(self) -> None:
        """Let `run` return; a signal handler may call it."""
        self._done.set()

    def _beat(self) -> None:
        with self._in_beat:
            if not self._done.is_set():
                self._one_cycle()

    def _one_cycle(self) -> None:
        started = self._cycle.clock.monotonic()
        try:
            report = self._cycle.run()
        except Exception:
            # The outer retry: whatever went wrong, the next cycle starts from the book.
            log.exception("cycle.failed")
            report = Report(FAILED, "the cycle failed: see the log")
        seconds = self._cycle.clock.monotonic() - started
        self._on_cycle(report.outcome, seconds, self._cycle.clock.now_s())
        log.info("cycle", outcome=report.outcome, sentence=report.sentence, seconds=seconds)
        if report.outcome != FAILED:
            self._ping(f"WATCHDOG=1\nSTATUS={report.sentence}")
        self._move(report)

    def _move(self, report: Report) -> None:
        job = self._scheduler.get_job(JOB)
        if job is None:
            return
        wait_s = max(1, self._cycle.next_s(report) - self._cycle.clock.now_s())
        job.modify(next_run_time=wall() + timedelta(seconds=wait_s))

    def _look_after(self) -> None:
        """Run at once whatever a wall clock that stepped back has moved away.

        APScheduler waits for instants of the wall; this waits by monotonic time.
        """
        while not self._done.wait(LOOK_EVERY_S):
            for job in self._scheduler.get_jobs():
                if job.next_run_time > wall() + job.trigger.interval:
                    job.modify(next_run_time=wall())


def handle_signals(loop: Loop, reload: Callable[[], None]) -> None:
    """SIGTERM and SIGINT end the loop after the running step; SIGHUP reloads settings."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    signal.signal(signal.SIGHUP, lambda *_: reload())


def sd_notify(message: str) -> None:
    """Tell systemd, where it listens ($NOTIFY_SOCKET); silent elsewhere.

    A message that cannot be delivered is logged: systemd notices the silence by itself.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(message.encode(), address)
        except OSError as error:
            log.warning("notify.failed", error=str(error))

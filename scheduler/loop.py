"""The loop of the daemon: it starts each cycle, reloads the settings, and stops in order."""

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
from scheduler.clock import utc_now
from scheduler.cycle import Cycle, CycleReport
from scheduler.jobs.deliver import DeliveryWorker
from scheduler.jobs.maintenance import MaintenanceJob
from scheduler.jobs.worker import Worker

log = structlog.get_logger()
JOB = "cycle"
DELIVERY = "delivery"
DELIVER_EVERY_S = 5
MAINTENANCE = "maintenance"
CLOCK_CHECK_EVERY_S = 5
"""How often, in monotonic time, the loop looks whether the wall clock stepped back."""
FIRST_MAINTENANCE_S = 5
"""Maintenance begins after the first cycle has migrated the book and loaded a program."""
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
        deliveries: DeliveryWorker | None = None,
        maintenance: Iterable[MaintenanceJob] = (),
        workers: Iterable[Worker] = (),
    ) -> None:
        self._cycle, self._on_cycle, self._ping = cycle, on_cycle, ping
        self._deliveries, self._maintenance = deliveries, tuple(maintenance)
        self._workers = tuple(workers)
        self._done = threading.Event()
        self._cycle_lock = threading.Lock()
        self._clock_thread = threading.Thread(
            target=self._watch_clock, name="clock-check", daemon=True
        )
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={name: ThreadPoolExecutor(1) for name in ("default", DELIVERY, MAINTENANCE)},
            job_defaults=DEFAULTS,
        )
        events = EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR
        self._scheduler.add_listener(lambda _: on_missed(), events)

    def run(self) -> None:
        """Run the jobs until `stop`; returns after the running cycle has finished."""
        self._scheduler.start()
        self._ping("READY=1")
        self._add(JOB, self._run_cycle, self._cycle.timing.cycle_s, "default", first_s=0)
        if self._deliveries is not None:
            # Its own worker: a channel that hangs delays no cycle.
            self._add(DELIVERY, self._deliveries.run, DELIVER_EVERY_S, DELIVERY, DELIVER_EVERY_S)
        for job in self._maintenance:
            self._add(job.name, job.run, job.every_s, MAINTENANCE, FIRST_MAINTENANCE_S)
        for worker in self._workers:
            worker.start()
        self._clock_thread.start()
        self._done.wait()
        self._ping("STOPPING=1")
        if self._deliveries is not None:
            self._deliveries.stop()
        # APScheduler waits for its workers under the very lock that moving the job needs.
        with self._cycle_lock:
            pass
        self._clock_thread.join()
        self._scheduler.shutdown(wait=True)
        for worker in self._workers:
            worker.stop()
        if self._cycle.lease is not None:
            release(self._cycle.book, self._cycle.lease)

    def _add(
        self, id: str, run: Callable[[], object], every_s: int, executor: str, first_s: int
    ) -> None:
        first = utc_now() + timedelta(seconds=first_s)
        every = {"seconds": every_s, "next_run_time": first}
        self._scheduler.add_job(run, "interval", id=id, executor=executor, **every)

    def stop(self) -> None:
        """Let `run` return; a signal handler may call it."""
        self._done.set()

    def _run_cycle(self) -> None:
        with self._cycle_lock:
            if not self._done.is_set():
                self._one_cycle()

    def _one_cycle(self) -> None:
        started = self._cycle.clock.monotonic()
        try:
            report = self._cycle.run()
        except Exception:
            # The outer retry: the next cycle starts from the book, whatever failed here.
            log.exception("cycle.failed")
            report = CycleReport(FAILED, "the cycle failed: see the log")
        seconds = self._cycle.clock.monotonic() - started
        self._on_cycle(report.outcome, seconds, self._cycle.clock.now_s())
        log.info("cycle", outcome=report.outcome, sentence=report.sentence, seconds=seconds)
        if report.outcome != FAILED:
            self._ping(f"WATCHDOG=1\nSTATUS={report.sentence}")
        self._move(report)

    def _move(self, report: CycleReport) -> None:
        job = self._scheduler.get_job(JOB)
        if job is None:
            return
        wait_s = max(1, self._cycle.next_due_s(report) - self._cycle.clock.now_s())
        job.modify(next_run_time=utc_now() + timedelta(seconds=wait_s))

    def _watch_clock(self) -> None:
        """Run jobs now that a step back of the wall clock would delay.

        APScheduler waits for instants of the wall clock; this thread waits by monotonic time.
        """
        while not self._done.wait(CLOCK_CHECK_EVERY_S):
            for job in self._scheduler.get_jobs():
                if job.next_run_time > utc_now() + job.trigger.interval:
                    job.modify(next_run_time=utc_now())


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

"""A thread of its own for work that may hang: it delays no cycle, and no shutdown waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from scheduler.clock import monotonic

log = structlog.get_logger()
STOP_S = 5
"""How long a stop waits for the work that runs. The process ends without work that hangs."""
SHARE = 10
"""The work takes at most one part in so many of the time, however slow it becomes."""


class Worker:
    """Runs one function again and again until `stop`, and logs an error once while it lasts."""

    def __init__(
        self, name: str, every_s: float, work: Callable[[], None], stop_s: float = STOP_S
    ) -> None:
        self._name, self._every_s, self._work, self._stop_s = name, every_s, work, stop_s
        self._done, self._error = threading.Event(), ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Run nothing more. Work that hangs is left behind."""
        self._done.set()
        self._thread.join(self._stop_s)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._done.wait(wait_s):
            started = monotonic()
            self._run_once()
            wait_s = max(self._every_s, (SHARE - 1) * (monotonic() - started))

    def _run_once(self) -> None:
        error = ""
        try:
            self._work()
        except Exception as found:
            # The outer retry: the next run starts from the beginning, whatever failed here.
            error = f"{type(found).__name__}: {found}"
        if error and error != self._error:
            log.warning("worker.failing", worker=self._name, error=error)
        if self._error and not error:
            log.info("worker.recovered", worker=self._name)
        self._error = error

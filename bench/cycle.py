"""Benchmark of a cycle: time, peak memory and API calls at 5 and at 1,000 servers.

The baseline is the official SDK listing the same servers over the same HTTP, and doing nothing
with them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import structlog
from scaleway import Client
from scaleway.instance.v1 import InstanceV1API

from quotas.book import Book
from quotas.book.cycle.commit import apply_program
from quotas.model.program import Cohort, Grant, Pool, Program, Startup, Tenure
from scheduler.clock import ManualClock, monotonic, pause
from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.cycle import Cycle
from scheduler.timing import Timing

SIZES = (5, 1_000)
ROUNDS = 15
ZONES = ("fr-par-1", "fr-par-2", "pl-waw-2")
FLAVOR = "H100-1-80G@fr-par-2"


@contextmanager
def region(servers: int) -> Iterator[dict[str, Any]]:
    """A region with so many running servers in a process of its own."""
    command = [sys.executable, "-m", "bench.fleet", str(servers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def timed(work: Callable[[], object]) -> tuple[float, int]:
    """Median seconds of some rounds, and the peak of traced memory in bytes of one more."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        began = perf_counter()
        work()
        seconds.append(perf_counter() - began)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return median(seconds), peak


def sdk_loop(at: dict[str, Any]) -> Callable[[], object]:
    """The baseline: list every server of every zone with the plain SDK."""
    client = Client(
        access_key=at["access_key"],
        secret_key=at["secret_key"],
        default_organization_id=at["organization_id"],
        api_url=at["url"],
    )
    api = InstanceV1API(client)
    return lambda: [api.list_servers_all(zone=zone, per_page=100) for zone in ZONES]


def our_cycle(at: dict[str, Any], book: Book, calls: list[str]) -> Callable[[], object]:
    """A quiet cycle of ours, 30 virtual seconds after the one before."""
    cloud = ScalewayCloud.connect(
        access_key=at["access_key"],
        secret_key=at["secret_key"],
        organization_id=at["organization_id"],
        api_url=at["url"],
        monotonic=monotonic,
        sleep=pause,
        on_request=lambda operation, _outcome, _seconds: calls.append(operation),
    )
    start_s = at["now_s"] - 300
    clock = ManualClock(at["now_s"])
    apply_program(book, _program(at["project_id"], start_s), start_s, "bench")
    cycle = Cycle(
        cloud=cloud,
        book=book,
        clock=clock,
        holder="bench",
        timing=Timing(),
        publish=lambda _view: None,
    )

    def run() -> None:
        clock.move_to(clock.now_s() + 30)
        report = cycle.run()
        assert report.outcome == "done", report.sentence

    return run


def _program(project_id: str, start_s: int) -> Program:
    grant = Grant("g", 10**15, start_s, start_s + 10**8)
    startup = Startup("acme", "c", (Tenure(project_id, 0),), grants=(grant,))
    pool = Pool("h100", ((0, 10_000),), flavors=(FLAVOR,))
    cohort = Cohort("c", start_s, start_s + 10**8, (startup,))
    return Program("bench", 10**16, mode="enforce", pools=(pool,), cohorts=(cohort,))


def main() -> None:
    """Print the table."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    print(f"{'servers':>8} {'':12} {'ms':>9} {'ratio':>7} {'peak MB':>9} {'API calls':>10}")
    for size in SIZES:
        with region(size) as at, TemporaryDirectory() as folder:
            base_s, base_peak = timed(sdk_loop(at))
            book, calls = Book.open(Path(folder)), []
            run = our_cycle(at, book, calls)
            own_s, own_peak = timed(run)
            calls.clear()
            run()
            book.close()
        base_mb = base_peak / 1e6
        print(f"{size:>8} {'SDK listing':12} {base_s * 1e3:>9.1f} {1:>7.2f} {base_mb:>9.1f}")
        print(
            f"{'':8} {'our cycle':12} {own_s * 1e3:>9.1f} {own_s / base_s:>7.2f} "
            f"{own_peak / 1e6:>9.1f} {len(calls):>10}"
        )


if __name__ == "__main__":
    main()

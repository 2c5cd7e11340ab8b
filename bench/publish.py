"""Publishing of the book to view.db: the first time, and after a cycle that charged 1,000 servers.

The book has 1,000 startups and 100,000 transfers; with COHORTD_BENCH_LARGE=1 it has 10,000
startups and a million transfers, about a hundred times what the demo's six months leave.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.book import charge, filled
from quotas.book import Address
from quotas.book.transfers import post
from quotas.book.view_file import publish

BATCH = 1_000


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


def main() -> None:
    """Print the table."""
    large = os.environ.get("COHORTD_BENCH_LARGE") == "1"
    startups, transfers = (10_000, 1_000_000) if large else (1_000, 100_000)
    with TemporaryDirectory() as scratch, closing(filled(Path(scratch), startups)) as book:
        view = Address(Path(scratch)).view

        def charge_all(turn: int) -> None:
            batch = [charge(turn * BATCH + n, n % startups) for n in range(BATCH)]
            with book.writing() as connection:
                post(connection, batch, recorded_s=0, epoch=0, actor="bench")

        for turn in range(transfers // BATCH):
            charge_all(turn)
        first = seconds(lambda: publish(book, view, 0))
        charge_all(transfers // BATCH)
        after_cycle = seconds(lambda: publish(book, view, 0))
        nothing = seconds(lambda: publish(book, view, 0))
    print(f"{transfers:,} transfers: first {first:.1f} s, after a cycle {after_cycle:.3f} s, ")
    print(f"without a change {nothing:.3f} s")


if __name__ == "__main__":
    main()

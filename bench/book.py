"""Benchmark of the credit book: charges a second, and the balance of one startup.

Charges are posted in batches through `post`, against the same rows by `executemany`; then the
balance of one startup among many, at several numbers of transfers. COHORTD_BENCH_LARGE=1 measures
the full million.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from quotas.book import Book
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import read_startup_grants
from quotas.book.schema.tables import GRANT
from quotas.book.session import FILE_NAME
from quotas.book.transfers import post, rebuild_balances
from quotas.ledger.transfers import Entry, Transfer, grant_transfer
from quotas.model.program import Cohort, Program

BATCHES = (1, 100, 10_000)
TARGET = 0.40
ROUNDS = {1: 100, 100: 20, 10_000: 5}
SMALL, LARGE = (1_000, 10_000), (100_000, 1_000_000)
"""Startups and transfers of the table of balances."""
RATE = 25_330_800


def charge(number: int, startup: int) -> Transfer:
    """A charge of an hour as the cycle posts it, with the detail that it keeps."""
    name, server = f"startup-{startup:06d}", f"server-{startup:06d}"
    return Transfer(
        key=f"charge:{server}@0:{number * 3600}",
        kind="charge",
        cohort="bench",
        startup=name,
        at_s=(number + 1) * 3600,
        entries=(Entry(f"grant:{name}:g", -RATE), Entry(f"usage:{name}", RATE)),
        reason=f"{server} (H100-SXM-8-80G@fr-par-2) ran 3600 s",
        detail={
            "run": f"{server}@0",
            "server": server,
            "flavor": "H100-SXM-8-80G@fr-par-2",
            "gpus": 8,
            "start_s": number * 3600,
            "end_s": (number + 1) * 3600,
            "run_start_s": 0,
            "rate_ucr_per_h": RATE,
        },
    )


def filled(folder: Path, startups: int) -> Book:
    """A book in which each startup has a grant that is never used up."""
    book = Book.open(folder)
    program = Program("bench", 10**18, cohorts=(Cohort("bench", 0, 10**9),))
    apply_program(book, program, 0, "bench")
    names = [f"startup-{number:06d}" for number in range(startups)]
    terms = {"grant_id": "g", "cohort": "bench", "category": "sponsor", "priority": 0}
    terms |= {"amount_ucr": 10**12, "effective_s": 0, "expires_s": 10**9}
    with book.writing() as connection:
        connection.execute(GRANT.insert(), [{**terms, "startup": name} for name in names])
        made = [grant_transfer("bench", name, "g", 10**12, 0) for name in names]
        post(connection, made, recorded_s=0, epoch=0, actor="bench")
    return book


def ours_per_s(folder: Path, size: int) -> float:
    """Charges posted per second, each batch in a transaction of its own: the median."""
    book = filled(folder, 100)
    seconds = []
    for turn in range(ROUNDS[size]):
        batch = [charge(turn * size + n, n % 100) for n in range(size)]
        began = perf_counter()
        with book.writing() as connection:
            post(connection, batch, recorded_s=1, epoch=1, actor="cohortd")
        seconds.append(perf_counter() - began)
    book.close()
    return size / median(seconds)


def bare_per_s(folder: Path, copy: Path, size: int) -> float:
    """The same rows by executemany into the same tables, indexes and triggers."""
    filled(copy, 100).close()
    seconds = []
    with (
        closing(sqlite3.connect(folder / FILE_NAME)) as source,
        closing(sqlite3.connect(copy / FILE_NAME, isolation_level=None)) as target,
    ):
        target.execute("PRAGMA journal_mode=WAL")
        target.execute("PRAGMA synchronous=FULL")
        target.execute("PRAGMA foreign_keys=ON")
        for transfers, entries, balances in _batches(source, size):
            began = perf_counter()
            target.execute("BEGIN IMMEDIATE")
            target.executemany(_insert("transfer", len(transfers[0])), transfers)
            target.executemany(_insert("entry", len(entries[0])), entries)
            target.executemany(
                "INSERT INTO balance VALUES (?, ?) "
                "ON CONFLICT (account) DO UPDATE SET amount_ucr = amount_ucr + excluded.amount_ucr",
                balances,
            )
            target.execute("COMMIT")
            seconds.append(perf_counter() - began)
    return size / median(seconds)


def _insert(table: str, width: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"


def _batches(
    source: sqlite3.Connection, size: int
) -> Iterator[tuple[Sequence[tuple[object, ...]], ...]]:
    """The rows of each batch as in a book, and the amounts that they move."""
    ids = [row[0] for row in source.execute("SELECT id FROM transfer WHERE kind = 'charge'")]
    for start in range(0, len(ids), size):
        between = (ids[start], ids[start + size - 1])
        of = "transfer_id BETWEEN ? AND ?"
        yield (
            source.execute("SELECT * FROM transfer WHERE id BETWEEN ? AND ?", between).fetchall(),
            source.execute(f"SELECT * FROM entry WHERE {of}", between).fetchall(),
            source.execute(
                f"SELECT account, sum(amount_ucr) FROM entry WHERE {of} GROUP BY account", between
            ).fetchall(),
        )


def balance_s(folder: Path, startups: int, transfers: int) -> tuple[float, float, float]:
    """Seconds for one startup's balance before and after the transfers, and for a rebuild."""
    book = filled(folder, startups)
    before_s = _one_balance_s(book)
    for start in range(0, transfers, 10_000):
        batch = [charge(n, n % startups) for n in range(start, start + 10_000)]
        with book.writing() as connection:
            post(connection, batch, recorded_s=1, epoch=1, actor="cohortd")
    after_s = _one_balance_s(book)
    began = perf_counter()
    with book.writing() as connection:
        rebuild_balances(connection)
    rebuild_s = perf_counter() - began
    book.close()
    return before_s, after_s, rebuild_s


def _one_balance_s(book: Book) -> float:
    seconds = []
    for number in range(200):
        began = perf_counter()
        with book.reading() as connection:
            (own,) = read_startup_grants(connection, f"startup-{number:06d}")
        seconds.append(perf_counter() - began)
        assert own.granted_ucr == 10**12
    return median(seconds)


def main() -> None:
    """Print both tables; a ratio below its target is marked."""
    print(f"{'batch':>8} {'posted/s':>12} {'bare/s':>12} {'ratio':>7}")
    for size in BATCHES:
        with TemporaryDirectory() as ours, TemporaryDirectory() as bare:
            own = ours_per_s(Path(ours), size)
            base = bare_per_s(Path(ours), Path(bare), size)
        low = f"  below the target of {TARGET}" * (size == 10_000 and own / base < TARGET)
        print(f"{size:>8} {own:>12.0f} {base:>12.0f} {own / base:>7.2f}{low}")
    large = os.environ.get("COHORTD_BENCH_LARGE") == "1"
    startups, transfers = LARGE if large else SMALL
    with TemporaryDirectory() as folder:
        before_s, after_s, rebuild_s = balance_s(Path(folder), startups, transfers)
    print(
        f"balance of one of {startups} startups: {before_s * 1e6:.0f} us with no charge, "
        f"{after_s * 1e6:.0f} us after {transfers}: ratio {after_s / before_s:.2f}; "
        f"rebuilding every balance {rebuild_s:.2f} s"
    )


if __name__ == "__main__":
    main()

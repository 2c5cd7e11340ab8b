"""Benchmark of `verify`, against a bare loop that reads, hashes and sums the same rows.

Both run on the same book; then the memory of verify at two sizes. The target is half of the loop's
speed, and memory that does not grow with the transfers.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tracemalloc
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.book import charge, filled
from quotas.book import Book
from quotas.book.session import FILE_NAME
from quotas.book.transfers import post
from quotas.book.verify.verify import verify

SIZES = (20_000, 100_000)
STARTUPS, BATCH, ROUNDS, TARGET = 100, 10_000, 3, 0.5
ROWS = """
SELECT id, previous_hash, key, kind, cohort, startup, at_s, recorded_s, epoch, actor, reason,
       detail, hash, account, amount_ucr
FROM transfer JOIN entry ON transfer_id = id ORDER BY id, position
"""
NAMES = (
    *("key", "kind", "cohort", "startup", "at_s", "recorded_s", "epoch", "actor"),
    *("reason", "detail"),
)


def book_of_size(folder: Path, transfers: int) -> Book:
    """A book with so many charges, those of a startup one after the other."""
    book = filled(folder, STARTUPS)
    for start in range(0, transfers, BATCH):
        batch = [charge(n // STARTUPS, n % STARTUPS) for n in range(start, start + BATCH)]
        with book.writing() as connection:
            post(connection, batch, recorded_s=1, epoch=1, actor="cohortd")
    return book


def bare(folder: Path) -> int:
    """Read every row, hash it and sum it, and nothing else; returns how many are right."""
    sums: dict[str, int] = defaultdict(int)
    right, at, previous, hash = 0, 0, "", ""
    fields: dict[str, object] = {}
    sides: list[list[object]] = []
    encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
    with closing(sqlite3.connect(folder / FILE_NAME)) as rows:
        for row in (*rows.execute(ROWS), (0,) * 15):
            if row[0] != at:
                if at:
                    body = encode([previous, fields, sides])
                    right += hashlib.sha256(body.encode()).hexdigest() == hash
                at, previous, hash = row[0], row[1], row[12]
                fields, sides = dict(zip(NAMES, row[2:12], strict=True)), []
            sides.append([row[13], row[14]])
            sums[row[13]] += row[14]
    assert sum(sums.values()) == 0
    return right


def seconds_of(folder: Path, book: Book, transfers: int) -> tuple[float, float]:
    """Fewest seconds of verify and of the loop, taken in turns."""
    ours, base = [], []
    for _ in range(ROUNDS):
        began = perf_counter()
        assert bare(folder) == transfers
        base.append(perf_counter() - began)
        began = perf_counter()
        verdict = verify(book)
        ours.append(perf_counter() - began)
        assert (verdict.fault, verdict.transfers) == (None, transfers)
    return min(ours), min(base)


def peak_of(book: Book) -> int:
    """The peak of traced memory of one verify, in bytes."""
    tracemalloc.start()
    verify(book)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    """Print the table; a ratio below the target is marked."""
    print(f"{'transfers':>10} {'verify s':>9} {'bare s':>9} {'ratio':>7} {'peak MB':>9}")
    for size in SIZES:
        with TemporaryDirectory() as folder:
            book = book_of_size(Path(folder), size)
            own_s, base_s = seconds_of(Path(folder), book, size + STARTUPS)
            peak = peak_of(book)
            book.close()
        ratio = base_s / own_s
        low = f"  below the target of {TARGET}" * (ratio < TARGET)
        print(f"{size:>10} {own_s:>9.2f} {base_s:>9.2f} {ratio:>7.2f} {peak / 1e6:>9.1f}{low}")


if __name__ == "__main__":
    main()

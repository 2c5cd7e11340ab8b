"""Metrics of the book's size and of the free disk space, measured at each scrape."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class DiskCollector(Collector):
    """The book's file with its write-ahead log, and the free space of its file system."""

    def __init__(self, book: Path) -> None:
        self.book = book

    def collect(self) -> Iterable[Metric]:
        """Both figures; nothing while the file does not exist."""
        if not self.book.exists():
            return
        book_files = (self.book, self.book.with_name(self.book.name + "-wal"))
        size = sum(path.stat().st_size for path in book_files if path.exists())
        yield GaugeMetricFamily("cohortd_book_bytes", "Bytes of the book; SQLite only.", value=size)
        free = shutil.disk_usage(self.book.parent).free
        text = "Bytes free on the disk of the book; SQLite only."
        yield GaugeMetricFamily("cohortd_book_free_bytes", text, value=free)

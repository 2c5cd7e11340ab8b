"""Publishes the book to `view.db`, which the API and the portal read, soon after each commit."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from quotas.book.reads.changes import BookWatch, DataVersion, open_watch
from quotas.book.session import Address, Book, BookError
from quotas.book.view_file import mark_published, publish
from scheduler.clock import Clock
from scheduler.jobs.worker import Worker

EVERY_S = 1.0


class Publisher:
    """Copies what changed in the book, and otherwise notes that nothing did."""

    def __init__(self, book: Book, location: Path | Address, clock: Clock) -> None:
        self._book, self._location, self._clock = book, Address.from_path(location), clock
        self._watch: BookWatch | None = None
        self._published: DataVersion | None = None

    def __call__(self) -> None:
        """Publish the book if it changed. Raises what keeps it from being published."""
        now_s = self._clock.now_s()
        try:
            self._watch = self._watch or open_watch(self._location)
            version = self._watch.version()
            if version == self._published:
                mark_published(self._location.view, now_s)
                return
            publish(self._book, self._location.view, now_s)
            self._published = version
        except (BookError, SQLAlchemyError, OSError):
            self._published = None
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            raise


def publisher(book: Book, location: Path | Address, clock: Clock) -> Worker:
    """The thread that publishes a book."""
    return Worker("publisher", EVERY_S, Publisher(book, location, clock))

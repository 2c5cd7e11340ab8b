"""Ends a process in the middle of a transaction, at a point that a counter selects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event

from quotas.book import Book


class SimulatedCrash(Exception):
    """The process ends here."""


class CrashPoints:
    """Counts the points of a transaction, and ends the process at one of them."""

    def __init__(self) -> None:
        self.left = 0

    def point(self) -> None:
        """A point that is passed: a write, a commit that is due, a commit that is done."""
        self.left -= 1
        if self.left == 0:
            raise SimulatedCrash

    def instrument(self, book: Book) -> Book:
        """The book, with a fuse in each of its points."""
        engine, writing = book.engine, book.writing
        if not event.contains(engine, "before_cursor_execute", self._statement):
            event.listen(engine, "before_cursor_execute", self._statement)
            event.listen(engine, "commit", self._commit)

        @contextmanager
        def written() -> Iterator[Connection]:
            with writing() as connection:
                yield connection
            self.point()

        book.writing = written  # type: ignore[method-assign]  # a wrapped one
        return book

    def _statement(self, _c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            self.point()

    def _commit(self, _: object) -> None:
        self.point()

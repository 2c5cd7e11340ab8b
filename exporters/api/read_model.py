"""The read side of the API: a cached status of the view, the daemon's copy of the book.

The view is read whole once for each change, in a thread, and never for a request: a request asks
SQLite whether anything was published, which costs microseconds. Tokens are read again after every
publishing, so a revocation holds as soon as the daemon has published it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from exporters.api.problems import Problem
from quotas.book import Address, Book, BookError
from quotas.book.actions.tokens import find_token
from quotas.book.cycle.state import load_state
from quotas.book.reads.changes import BookWatch, DataVersion, open_watch
from quotas.book.reads.status import read_status
from quotas.book.view_file import published_s
from quotas.model.tokens import Token
from quotas.view import ProgramStatus

log = structlog.get_logger()
REOPEN_S = 1
STALE_S = 60
"""A status this old is built again without a commit, because grants begin and end."""
LATE_S = 120
"""A view this old is shown with a warning: the daemon publishes within seconds of a commit."""
WAIT_S = 0.25
"""How long a request waits for a newer status before it is served the cached one."""

TaggedBody = tuple[str, bytes]


@dataclass
class CachedStatus:
    """A program status, the version of the view that it shows, and the pages built from it."""

    program_status: ProgramStatus
    version: DataVersion
    built_s: int
    pages: dict[tuple[str, str], TaggedBody] = field(default_factory=dict)


class ReadModel:
    """The read side of one `serve` process."""

    def __init__(self, location: Path | Address, now_s: Callable[[], int], cycle_s: int) -> None:
        self._view, self.now_s, self._cycle_s = Address.from_path(location).view, now_s, cycle_s
        self._opened: tuple[Book, BookWatch] | None = None
        self._last_try_s = -REOPEN_S
        self.last_version: DataVersion | None = None
        """The version that was read last."""
        self._cached: CachedStatus | None = None
        self._building: asyncio.Task[None] | None = None
        self._tokens: tuple[DataVersion | None, dict[str, Token | None]] = (None, {})

    def age_s(self) -> int:
        """How long ago the view was last equal to the book. Raises Problem without a view."""
        try:
            return max(0, self.now_s() - published_s(self._view))
        except OSError:
            raise _no_book_problem() from None

    def version(self) -> DataVersion | None:
        """The version of the view: every publishing changes it. None if it is unreadable."""
        opened, self.last_version = self._opened or self._open(), None
        if opened is not None:
            try:
                self.last_version = opened[1].version()
            except BookError as error:
                self._disconnect(error)
        return self.last_version

    def book(self) -> Book:
        """The view, for reads of single rows. Raises Problem while it is unreadable."""
        if self.version() is None or self._opened is None:
            raise _no_book_problem()
        return self._opened[0]

    def cached_token(self, token_hash: str) -> Token | None:
        """The token of a hash, if it was read since the last publishing."""
        version = self.version()
        if version is None or self._tokens[0] != version:
            return None
        return self._tokens[1].get(token_hash)

    def token(self, token_hash: str) -> Token | None:
        """The token of a hash. Raises Problem while the view is unreadable."""
        book = self.book()
        if self._tokens[0] != self.last_version:
            self._tokens = (self.last_version, {})
        known = self._tokens[1]
        if token_hash not in known:
            try:
                found = find_token(book, token_hash)
            except SQLAlchemyError as error:
                self._disconnect(error)
                raise _no_book_problem() from None
            if found is None:
                return None  # not cached: unknown callers must not fill the memory
            known[token_hash] = found
        return known[token_hash]

    async def latest(self) -> CachedStatus:
        """The newest status. Raises Problem if there is no view, or no program in it."""
        return await self.cached(self.version())

    async def cached(self, version: DataVersion | None) -> CachedStatus:
        """The status of a version that was just read. Raises Problem as above."""
        if version is None:
            raise _no_book_problem()
        now_s = self.now_s()
        cached = self._cached
        if cached and cached.version == version and now_s - cached.built_s < STALE_S:
            return cached
        if self._building is None or self._building.done():
            self._building = asyncio.create_task(self._build(version, now_s))
        await asyncio.wait({self._building}, timeout=WAIT_S if cached else None)
        if self._cached is None:
            self._building.result()
            raise _no_book_problem()
        return self._cached

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened[1].close()
            self._opened = None

    async def _build(self, version: DataVersion, now_s: int) -> None:
        if self._opened is None:
            return
        try:
            state = await asyncio.to_thread(load_state, self._opened[0])
        except SQLAlchemyError as error:
            self._disconnect(error)
            return
        if state.program is None:
            self._cached = None
            return
        program_status = await asyncio.to_thread(read_status, state, now_s, self._cycle_s)
        self._cached = CachedStatus(program_status, version, now_s)

    def _open(self) -> tuple[Book, BookWatch] | None:
        now_s = self.now_s()
        if 0 <= now_s - self._last_try_s < REOPEN_S:
            return None
        self._last_try_s = now_s
        try:
            self._opened = (Book.open_read_only(self._view), open_watch(self._view))
        except BookError as error:
            log.warning("view.unavailable", error=str(error))
            return None
        return self._opened

    def _disconnect(self, error: Exception) -> None:
        log.warning("view.connection_lost", error=str(error))
        self.close()


def _no_book_problem() -> Problem:
    detail = (
        "The books cannot be read now: try again in a minute. If they never could, the operator "
        "runs 'cohortd apply' and 'cohortd run'."
    )
    return Problem(503, "no-book", detail, {"Retry-After": "60"})

"""The read side of the API: a cached status of the book, or the fallback snapshot.

The book is read whole once for each change, in a thread, and never for a request: a request asks
the database whether anything was committed, which costs microseconds. Tokens are read again after
every commit, so a revocation holds at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from exporters.api.fallback import Fallback, dump_fallback, load_fallback
from exporters.api.problems import Problem
from quotas.book import Address, Book, BookError
from quotas.book.actions.tokens import find_token, hashed_tokens
from quotas.book.cycle.state import BookState, load_state
from quotas.book.inbox import Inbox
from quotas.book.reads.changes import BookWatch, DataVersion, open_watch
from quotas.book.reads.status import read_status
from quotas.model.tokens import Token
from quotas.view import ProgramStatus

log = structlog.get_logger()
REOPEN_S = 1
REOPEN_DATABASE_S = 15
"""A database that does not answer delays every request while the connection is tried."""
STALE_S = 60
"""A status this old is built again without a commit, because grants begin and end."""
FALLBACK_EVERY_S = 60
WAIT_S = 0.25
"""How long a request waits for a newer status before it is served the cached one."""

TaggedBody = tuple[str, bytes]


@dataclass
class CachedStatus:
    """A program status, the version of the book that it shows, and the pages built from it."""

    program_status: ProgramStatus
    version: DataVersion | None
    built_s: int
    from_snapshot: bool = False
    pages: dict[tuple[str, str], TaggedBody] = field(default_factory=dict)


class ReadModel:
    """The read side of one `serve` process."""

    def __init__(
        self, location: Path | Address, inbox: Inbox, now_s: Callable[[], int], cycle_s: int
    ) -> None:
        self._location, self._inbox, self.now_s, self._cycle_s = location, inbox, now_s, cycle_s
        self._opened: tuple[Book, BookWatch] | None = None
        self._reopen_s = REOPEN_DATABASE_S if Address.from_path(location).database else REOPEN_S
        self._last_try_s = -self._reopen_s
        self.last_version: DataVersion | None = None
        """The version that was read last."""
        self._cached: CachedStatus | None = None
        self._building: asyncio.Task[None] | None = None
        self._tokens: tuple[DataVersion | None, dict[str, Token | None]] = (None, {})
        self._fallback: Fallback | None = None
        self._fallback_written_s = -FALLBACK_EVERY_S

    def version(self) -> DataVersion | None:
        """The version of the book: every commit changes it. None if the book is unreadable."""
        opened, self.last_version = self._opened or self._open(), None
        if opened is not None:
            try:
                self.last_version = opened[1].version()
            except BookError as error:
                self._disconnect(error)
        return self.last_version

    def book(self) -> Book:
        """The book, for reads of single rows. Raises Problem while the book is unreadable."""
        if self.version() is None or self._opened is None:
            detail = (
                "The book cannot be read now: me, credits, usage, servers and quota are answered "
                "from the last snapshot; try the rest again in a minute."
            )
            raise Problem(503, "book-unavailable", detail, {"Retry-After": "60"})
        return self._opened[0]

    def cached_token(self, token_hash: str) -> Token | None:
        """The token of a hash, if it was read since the last commit."""
        version = self.version()
        if version is None or self._tokens[0] != version:
            return None
        return self._tokens[1].get(token_hash)

    def token(self, token_hash: str) -> Token | None:
        """The token of a hash from the book, or from the fallback snapshot."""
        version = self.version()
        if version is None or self._opened is None:
            fallback = self._read_fallback()
            return fallback.tokens.get(token_hash) if fallback else None
        if self._tokens[0] != version:
            self._tokens = (version, {})
        known = self._tokens[1]
        if token_hash not in known:
            try:
                found = find_token(self._opened[0], token_hash)
            except SQLAlchemyError as error:
                self._disconnect(error)
                return self.token(token_hash)
            if found is None:
                return None  # not cached: unknown callers must not fill the memory
            known[token_hash] = found
        return known[token_hash]

    async def latest(self) -> CachedStatus:
        """The newest status. Raises Problem if there is neither a book nor a snapshot."""
        return await self.cached(self.version())

    async def cached(self, version: DataVersion | None) -> CachedStatus:
        """The status of a version that was just read. Raises Problem as above."""
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

    async def _build(self, version: DataVersion | None, now_s: int) -> None:
        if version is None or self._opened is None:
            self._cached = self._status_from_fallback(now_s)
            return
        book = self._opened[0]
        try:
            state = await asyncio.to_thread(load_state, book)
        except SQLAlchemyError as error:
            self._disconnect(error)
            self._cached = self._status_from_fallback(now_s)
            return
        if state.program is None:
            self._cached = None
            return
        program_status = await asyncio.to_thread(read_status, state, now_s, self._cycle_s)
        self._cached = CachedStatus(program_status, version, now_s)
        if now_s - self._fallback_written_s >= FALLBACK_EVERY_S:
            self._fallback_written_s = now_s
            await asyncio.to_thread(self._write_fallback, book, state, program_status.at_s)

    def _write_fallback(self, book: Book, state: BookState, at_s: int) -> None:
        self._inbox.save_snapshot(at_s, dump_fallback(state, hashed_tokens(book)))

    def _read_fallback(self) -> Fallback | None:
        if self._fallback is None:
            found = self._inbox.snapshot()
            self._fallback = None if found is None else load_fallback(*found)
        return self._fallback

    def _status_from_fallback(self, now_s: int) -> CachedStatus | None:
        fallback = self._read_fallback()
        if fallback is None or fallback.state.program is None:
            return None
        program_status = read_status(fallback.state, fallback.at_s, self._cycle_s)
        return CachedStatus(program_status, None, now_s, from_snapshot=True)

    def _open(self) -> tuple[Book, BookWatch] | None:
        now_s = self.now_s()
        if 0 <= now_s - self._last_try_s < self._reopen_s:
            return None
        self._last_try_s = now_s
        try:
            self._opened = (Book.open_read_only(self._location), open_watch(self._location))
        except BookError as error:
            log.warning("book.unavailable", error=str(error))
            return None
        self._fallback = None
        return self._opened

    def _disconnect(self, error: Exception) -> None:
        log.warning("book.connection_lost", error=str(error))
        self.close()


def _no_book_problem() -> Problem:
    detail = (
        "There is no book with a program yet: the operator runs 'cohortd apply' and 'cohortd run'."
    )
    return Problem(503, "no-book", detail, {"Retry-After": "60"})

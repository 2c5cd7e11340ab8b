"""Where does an answer come from? The book as it is now, or what was last read of it.

The book is read whole once for each change, in a thread, and never for a request:
a request asks the database whether anything was committed, which costs microseconds. Tokens
are looked up again after every commit, so that a revocation holds at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from exporters.api.fallback import Kept, read_kept, write_kept
from exporters.api.problems import Problem
from exporters.program_status import Board
from quotas.book import Address, Book, BookError
from quotas.book.actions.tokens import find_token, hashed_tokens
from quotas.book.cycle.state import load
from quotas.book.inbox import Inbox
from quotas.book.reads.changes import Version, Watch, watch_of
from quotas.model.tokens import Token

log = structlog.get_logger()
REOPEN_S = 1
REOPEN_DATABASE_S = 15
"""A server that does not answer at all holds up everybody for as long as it is tried."""
STALE_S = 60
"""A board this old is made anew though nothing was committed: grants begin and end."""
KEEP_S = 60
WAIT_S = 0.25
"""How long a request waits for a newer board before it is served the one that is there."""

Page = tuple[str, bytes]


@dataclass
class Shown:
    """A board, which version of the book it shows, and the pages made from it so far."""

    board: Board
    version: Version | None
    made_s: int
    from_snapshot: bool = False
    pages: dict[tuple[str, str], Page] = field(default_factory=dict)


class Source:
    """The read side of one `serve` process."""

    def __init__(
        self, place: Path | Address, inbox: Inbox, now_s: Callable[[], int], cycle_s: int
    ) -> None:
        self._place, self._inbox, self.now_s, self._cycle_s = place, inbox, now_s, cycle_s
        self._opened: tuple[Book, Watch] | None = None
        self._reopen_s = REOPEN_DATABASE_S if Address.of(place).database else REOPEN_S
        self._tried_s = -self._reopen_s
        self.seen: Version | None = None
        """The version that was asked for last."""
        self._shown: Shown | None = None
        self._making: asyncio.Task[None] | None = None
        self._tokens: tuple[Version | None, dict[str, Token | None]] = (None, {})
        self._kept: Kept | None = None
        self._kept_s = -KEEP_S

    def version(self) -> Version | None:
        """Changes whenever the book does; None while the book cannot be read."""
        opened, self.seen = self._opened or self._open(), None
        if opened is not None:
            try:
                self.seen = opened[1].version()
            except BookError as error:
                self._lose(error)
        return self.seen

    def book(self) -> Book:
        """The book, for what is read row by row. Raises Problem while it cannot be read."""
        if self.version() is None or self._opened is None:
            detail = (
                "The book cannot be read now: me, credits, usage, servers, quota and live notices "
                "are answered from the last snapshot; try the rest again in a minute."
            )
            raise Problem(503, "book-unavailable", detail, {"Retry-After": "60"})
        return self._opened[0]

    def remembered(self, token_hash: str) -> Token | None:
        """The token of a hash that was looked up since the last commit, if it was."""
        version = self.version()
        if version is None or self._tokens[0] != version:
            return None
        return self._tokens[1].get(token_hash)

    def token(self, token_hash: str) -> Token | None:
        """The token of a hash as the book has it now, or as the last snapshot had it."""
        version = self.version()
        if version is None or self._opened is None:
            kept = self._snapshot()
            return kept.tokens.get(token_hash) if kept else None
        if self._tokens[0] != version:
            self._tokens = (version, {})
        known = self._tokens[1]
        if token_hash not in known:
            try:
                found = find_token(self._opened[0], token_hash)
            except SQLAlchemyError as error:
                self._lose(error)
                return self.token(token_hash)
            if found is None:
                return None  # not kept: strangers must not fill our memory
            known[token_hash] = found
        return known[token_hash]

    async def newest(self) -> Shown:
        """The newest board. Raises Problem where there is neither a book nor a snapshot."""
        return await self.shown(self.version())

    async def shown(self, version: Version | None) -> Shown:
        """The board of a version that was asked for just now. Raises Problem as above."""
        now_s = self.now_s()
        shown = self._shown
        if shown and shown.version == version and now_s - shown.made_s < STALE_S:
            return shown
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(version, now_s))
        await asyncio.wait({self._making}, timeout=WAIT_S if shown else None)
        if self._shown is None:
            self._making.result()
            raise _nothing_yet()
        return self._shown

    def close(self) -> None:
        """Give the connections back."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened[1].close()
            self._opened = None

    async def _make(self, version: Version | None, now_s: int) -> None:
        if version is None or self._opened is None:
            self._shown = self._from_snapshot(now_s)
            return
        book = self._opened[0]
        try:
            state = await asyncio.to_thread(load, book)
        except SQLAlchemyError as error:
            self._lose(error)
            self._shown = self._from_snapshot(now_s)
            return
        if state.program is None:
            self._shown = None
            return
        board = await asyncio.to_thread(Board, state, now_s, self._cycle_s)
        self._shown = Shown(board, version, now_s)
        if now_s - self._kept_s >= KEEP_S:
            self._kept_s = now_s
            await asyncio.to_thread(self._keep, book, board)

    def _keep(self, book: Book, board: Board) -> None:
        self._inbox.keep_snapshot(board.at_s, write_kept(board.state, hashed_tokens(book)))

    def _snapshot(self) -> Kept | None:
        if self._kept is None:
            found = self._inbox.snapshot()
            self._kept = None if found is None else read_kept(*found)
        return self._kept

    def _from_snapshot(self, now_s: int) -> Shown | None:
        kept = self._snapshot()
        if kept is None or kept.state.program is None:
            return None
        board = Board(kept.state, kept.at_s, self._cycle_s)
        return Shown(board, None, now_s, from_snapshot=True)

    def _open(self) -> tuple[Book, Watch] | None:
        now_s = self.now_s()
        if 0 <= now_s - self._tried_s < self._reopen_s:
            return None
        self._tried_s = now_s
        try:
            self._opened = (Book.open_read_only(self._place), watch_of(self._place))
        except BookError as error:
            log.warning("book.unavailable", error=str(error))
            return None
        self._kept = None
        return self._opened

    def _lose(self, error: Exception) -> None:
        log.warning("book.lost", error=str(error))
        self.close()


def _nothing_yet() -> Problem:
    detail = (
        "There is no book with a program yet: the operator runs 'cohortd apply' and 'cohortd run'."
    )
    return Problem(503, "no-book", detail, {"Retry-After": "60"})

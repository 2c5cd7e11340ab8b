"""Has a person spoken since a cycle read the book? Then what it decided is not sent yet."""

from __future__ import annotations

from sqlalchemy import func, select

from quotas.book.cycle.notice_compensation import ACTOR as AMENDS
from quotas.book.cycle.state import State
from quotas.book.schema import PROGRAM, TRANSFER, WORD
from quotas.book.session import Book

_SAID = select(func.max(WORD.c.id))
_APPLIED = select(func.max(PROGRAM.c.id))
_BY_HAND = (TRANSFER.c.epoch == 0) & (TRANSFER.c.actor != AMENDS)
"""What people post is under no lease; so are the amends, which the cycle itself makes."""


def spoken_since(book: Book, state: State) -> bool:
    """Whether a word was said, a program applied or credits moved since the state was read."""
    said = max((word.id or 0 for word in state.enforcement.words), default=0)
    later = TRANSFER.c.id > state.newest_transfer
    moved = select(TRANSFER.c.id).where(later, _BY_HAND).limit(1)
    with book.reading() as connection:
        return (
            (connection.scalar(_SAID) or 0) > said
            or (connection.scalar(_APPLIED) or 0) > state.program_version
            or connection.scalar(moved) is not None
        )

"""Detection of actions by people since a cycle read the book; it sends nothing after one."""

from __future__ import annotations

from sqlalchemy import func, select

from quotas.book.cycle.notice_compensation import ACTOR as COMPENSATION_ACTOR
from quotas.book.cycle.state import BookState
from quotas.book.schema.tables import OVERRIDE, PROGRAM, TRANSFER
from quotas.book.session import Book

_NEWEST_OVERRIDE = select(func.max(OVERRIDE.c.id))
_NEWEST_PROGRAM = select(func.max(PROGRAM.c.id))
_BY_PERSON = (TRANSFER.c.epoch == 0) & (TRANSFER.c.actor != COMPENSATION_ACTOR)
"""What people post is under no lease; so are the amends, which the cycle itself makes."""


def changed_since(book: Book, state: BookState) -> bool:
    """Whether a word was said, a program applied or credits moved since the state was read."""
    newest_override = max((override.id or 0 for override in state.enforcement.overrides), default=0)
    later = TRANSFER.c.id > state.newest_transfer
    posted = select(TRANSFER.c.id).where(later, _BY_PERSON).limit(1)
    with book.reading() as connection:
        return (
            (connection.scalar(_NEWEST_OVERRIDE) or 0) > newest_override
            or (connection.scalar(_NEWEST_PROGRAM) or 0) > state.program_version
            or connection.scalar(posted) is not None
        )

"""What became of the writes that came through the inbox? One row each, written once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import select

from quotas.book.schema.records import InboxAnswerRow
from quotas.book.schema.tables import INBOX_ANSWER
from quotas.book.session import Book, rows_of


@dataclass(frozen=True, slots=True)
class InboxAnswer:
    """done or refused, with the sentence, and the number of what was made or changed."""

    id: str
    startup: str
    kind: str
    at_s: int
    state: str
    text: str
    reference: int | None = None


def read_answers(book: Book, ids: Collection[str]) -> dict[str, InboxAnswer]:
    """The answers there are to these writes."""
    if not ids:
        return {}
    query = select(INBOX_ANSWER).where(INBOX_ANSWER.c.id.in_(sorted(ids)))
    with book.reading() as connection:
        rows = connection.execute(query).mappings()
        return {row["id"]: InboxAnswer(**row) for row in rows}


def write_answer(book: Book, answer: InboxAnswer) -> None:
    """Write an answer down, once."""
    with book.writing() as connection, rows_of(connection) as rows:
        rows.add(InboxAnswerRow(**asdict(answer)))

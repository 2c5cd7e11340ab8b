"""Reads of decisions, and of what became of the actions that followed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import select

from quotas.book.rows import INTENT_FIELDS, read_values
from quotas.book.schema.tables import DECISION, INTENT, NOTICE
from quotas.book.session import Book
from quotas.iam.closing import ACTIONS
from quotas.iam.closing import RULE as CLOSING
from quotas.state.notices import Intent
from quotas.state.snapshot import Decision

MAX_INTENTS = 10
"""So many intents of one decision are read, to explain what became of it."""


def last_decisions(
    book: Book, limit: int, as_of_s: int | None = None, **where: int | str
) -> list[Mapping[str, Any]]:
    """The newest decisions, to an instant where one is given, newest first."""
    query = select(DECISION).order_by(DECISION.c.id.desc()).limit(limit)
    if as_of_s is not None:
        query = query.where(DECISION.c.at_s <= as_of_s)
    for column, value in where.items():
        query = query.where(DECISION.c[column] == value)
    with book.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def decision_from_row(row: Mapping[str, Any]) -> Decision:
    """A row of the decisions as the value that was decided."""
    return Decision(**{field.name: row[field.name] for field in fields(Decision)})


def intents_of(book: Book, decision: Decision) -> tuple[Intent, ...]:
    """The newest intents that followed from a decision's notice or closing, newest first."""
    of = ("startup", "server_id", "rule", "episode")
    own = select(NOTICE.c.id).where(*(NOTICE.c[name] == getattr(decision, name) for name in of))
    rows = select(*INTENT_FIELDS).order_by(INTENT.c.id.desc()).limit(MAX_INTENTS)
    if decision.rule == CLOSING:
        newest = rows.where(INTENT.c.startup == decision.startup, INTENT.c.action.in_(ACTIONS))
    else:
        newest = rows.where(INTENT.c.notice_id.in_(own))
    with book.reading() as connection:
        return read_values(connection, Intent, newest)

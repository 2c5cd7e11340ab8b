"""Records of closed startups: the rules that were revoked, and the intents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, select, update

from quotas.book.cycle.lease import Lease, fence
from quotas.book.rows import INTENT_FIELDS, read_values
from quotas.book.schema.tables import INTENT, REVOKED_RULES
from quotas.book.session import Book
from quotas.iam.closing import ACTIONS, ClosingHistory, closing_histories
from quotas.iam.narrowing import (
    RevokedRules,
    revoked_from_text,
    revoked_to_text,
    rules_from_text,
    rules_to_text,
)
from quotas.state.notices import Intent

REMEMBERED_INTENTS = 12
"""Closing intents of each startup that a cycle reads: enough to time the retries."""


def record_revocation(book: Book, revoked_rules: RevokedRules, lease: Lease) -> None:
    """Record once the rules that are about to be revoked from a policy. Raises StaleEpoch."""
    before, revoked = rules_to_text(revoked_rules.before), revoked_to_text(revoked_rules.revoked)
    row = {**asdict(revoked_rules), "before": before, "revoked": revoked}
    del row["id"]  # the database numbers the rows
    known = ("startup", "policy_id", "revoked", "state")
    same = [REVOKED_RULES.c[name] == row[name] for name in known]
    with book.writing() as connection:
        fence(connection, lease)
        # A crash before the call left the same row: its rules are not revoked yet.
        if connection.execute(select(REVOKED_RULES.c.id).where(*same)).first() is None:
            connection.execute(REVOKED_RULES.insert().values(**row))


def end_revocations(book: Book, ids: Iterable[int], outcome: str, now_s: int, lease: Lease) -> None:
    """Mark rules as given back, or as impossible to give back. Raises StaleEpoch."""
    ended = update(REVOKED_RULES).where(REVOKED_RULES.c.id.in_(list(ids)))
    with book.writing() as connection:
        fence(connection, lease)
        connection.execute(ended.values(state="ended", ended_s=now_s, outcome=outcome))


def read_revoked_rules(book: Book) -> tuple[RevokedRules, ...]:
    """The rules that are revoked now, in the order in which they were revoked."""
    with book.reading() as connection:
        return current_revoked_rules(connection)


_NOW = select(REVOKED_RULES).where(REVOKED_RULES.c.state == "revoked").order_by(REVOKED_RULES.c.id)


def current_revoked_rules(connection: Connection) -> tuple[RevokedRules, ...]:
    """The rules that are revoked now, as a transaction sees them."""
    return tuple(_from_row(row) for row in connection.execute(_NOW).mappings())


def _from_row(row: Mapping[Any, Any]) -> RevokedRules:
    before, revoked = rules_from_text(row["before"]), revoked_from_text(row["revoked"])
    return RevokedRules(**{**row, "before": before, "revoked": revoked})


_RANK = func.row_number().over(partition_by=INTENT.c.startup, order_by=INTENT.c.id.desc())
_RANKED = select(INTENT.c.id, _RANK.label("rank")).where(INTENT.c.action.in_(ACTIONS)).subquery()
_PAST = (
    select(*INTENT_FIELDS)
    .join(_RANKED, _RANKED.c.id == INTENT.c.id)
    .where(_RANKED.c.rank <= REMEMBERED_INTENTS)
    .order_by(INTENT.c.id)
)


def read_closing_history(connection: Connection) -> Mapping[str, ClosingHistory]:
    """The newest closing intents of every startup, and the projects of its revoked rules."""
    revoked_projects: dict[str, list[frozenset[str]]] = defaultdict(list)
    for each in current_revoked_rules(connection):
        revoked_projects[each.startup].append(each.project_ids)
    return closing_histories(read_values(connection, Intent, _PAST), revoked_projects)

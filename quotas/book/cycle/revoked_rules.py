"""What does the book know of closed startups? Rules that were withheld, and intents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update

from quotas.book.cycle.lease import Lease, fence
from quotas.book.rows import INTENT_FIELDS
from quotas.book.schema import INTENT, WITHHELD
from quotas.book.session import Book
from quotas.decisions.notices import Intent
from quotas.iam.closing import ACTIONS, Past, newest
from quotas.iam.narrowing import Withheld, rules_from, taken_from, taken_text, to_text

REMEMBERED = 12
"""Closing intents of each startup that a cycle reads: enough to time the retries."""


def withhold(book: Book, withheld: Withheld, lease: Lease) -> None:
    """Record what is about to be taken from a policy, once. Raises StaleEpoch."""
    row = {
        "startup": withheld.startup,
        "policy_id": withheld.policy_id,
        "policy_name": withheld.policy_name,
        "before": to_text(withheld.before),
        "taken": taken_text(withheld.taken),
        "recorded_s": withheld.recorded_s,
        "state": withheld.state,
        "detail": withheld.detail,
    }
    same = [WITHHELD.c[name] == row[name] for name in ("startup", "policy_id", "taken", "state")]
    with book.writing() as connection:
        fence(connection, lease)
        # A crash before the call left the same row: it is what was not taken yet.
        if connection.execute(select(WITHHELD.c.id).where(*same)).first() is None:
            connection.execute(WITHHELD.insert().values(**row))


def end_withheld(book: Book, ids: Iterable[int], detail: str, now_s: int, lease: Lease) -> None:
    """Mark what was given back, or can be given back no more. Raises StaleEpoch."""
    ended = update(WITHHELD).where(WITHHELD.c.id.in_(list(ids)))
    with book.writing() as connection:
        fence(connection, lease)
        connection.execute(ended.values(state="ended", ended_s=now_s, detail=detail))


def read_withheld(book: Book) -> tuple[Withheld, ...]:
    """What is withheld now, in the order in which it was taken."""
    with book.reading() as connection:
        return withheld_now(connection)


_NOW = select(WITHHELD).where(WITHHELD.c.state == "withheld").order_by(WITHHELD.c.id)


def withheld_now(connection: Connection) -> tuple[Withheld, ...]:
    """What is withheld now, as a transaction sees it."""
    return tuple(_withheld(row) for row in connection.execute(_NOW).mappings())


def _withheld(row: Mapping[Any, Any]) -> Withheld:
    values = dict(row)
    values |= {"before": rules_from(row["before"]), "taken": taken_from(row["taken"])}
    return Withheld(**values)


_PLACE = func.row_number().over(partition_by=INTENT.c.startup, order_by=INTENT.c.id.desc())
_RANKED = select(INTENT.c.id, _PLACE.label("place")).where(INTENT.c.action.in_(ACTIONS)).subquery()
_PAST = (
    select(*INTENT_FIELDS)
    .join(_RANKED, _RANKED.c.id == INTENT.c.id)
    .where(_RANKED.c.place <= REMEMBERED)
    .order_by(INTENT.c.id)
)


def read_past(connection: Connection) -> Mapping[str, Past]:
    """The newest closing intents of every startup, and whether rules are withheld from it."""
    held: dict[str, list[frozenset[str]]] = defaultdict(list)
    for each in withheld_now(connection):
        held[each.startup].append(each.places)
    return newest((Intent(*row) for row in connection.execute(_PAST)), held)

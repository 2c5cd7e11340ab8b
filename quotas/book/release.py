"""How does an operator's order to reopen everybody enter the book? Before it is carried out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update

from quotas.book.commit import decision_row, mark
from quotas.book.lease import Lease, fence
from quotas.book.session import Book
from quotas.closing import ACTIONS, RELEASE, REOPEN, RULE
from quotas.notices import LIVE_INTENTS, SEND_WITHIN_S, Intent
from quotas.snapshot import Decision
from quotas.tables import DECISION, INTENT


def begin_release(
    book: Book, startups: Iterable[str], reason: str, actor: str, now_s: int, lease: Lease
) -> tuple[Intent, ...]:
    """An operator's order to reopen startups: closing intents end, new ones are recorded."""
    names = sorted(startups)
    detail = f"release-all by {actor}: {reason}"
    with book.writing() as connection:
        fence(connection, lease)
        live = INTENT.c.action.in_(ACTIONS) & INTENT.c.state.in_(LIVE_INTENTS)
        ended = {"state": "abandoned", "ended_s": now_s, "detail": detail}
        connection.execute(update(INTENT).where(live).values(**ended))
        rows = [_decision(name, reason, actor, now_s) for name in names]
        if rows:
            connection.execute(DECISION.insert(), rows)
    mark(book, [_reopening(name, detail, now_s) for name in names], lease)
    with book.reading() as connection:
        pending = select(INTENT).where(INTENT.c.action == REOPEN, INTENT.c.state == "pending")
        rows_now = connection.execute(pending.order_by(INTENT.c.startup)).mappings()
        return tuple(Intent(**row) for row in rows_now)


def _reopening(startup: str, detail: str, now_s: int) -> Intent:
    intent = Intent(None, "", "", "closed", now_s, now_s + SEND_WITHIN_S)
    return replace(intent, action=REOPEN, startup=startup, detail=detail)


def _decision(startup: str, reason: str, actor: str, now_s: int) -> dict[str, Any]:
    inputs = {"startup": startup, "actor": actor, "said": reason}
    decision = Decision.made((startup, ""), RULE, RELEASE, f"release:{now_s}", inputs)
    return decision_row(decision, "enforce", now_s)

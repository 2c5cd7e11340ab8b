"""Release all: an operator's order to reopen every startup, recorded before it is carried out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import select, update

from quotas.book.cycle.commit import decision_row, save_intents
from quotas.book.cycle.lease import Lease, fence
from quotas.book.rows import INTENT_FIELDS, read_values
from quotas.book.schema.tables import DECISION, INTENT, NOTICE
from quotas.book.session import Book
from quotas.decisions.record import Closing, make_decision
from quotas.decisions.verbs import Release
from quotas.iam.closing import ACTIONS, RELEASE, REOPEN, RULE
from quotas.model.program import Mode
from quotas.rules.context import OPEN
from quotas.state.facts import to_json
from quotas.state.notices import (
    INTENTS,
    SEND_WITHIN_S,
    Intent,
    IntentCode,
    IntentResult,
    IntentState,
    Notice,
    NoticeState,
)


def begin_release(
    book: Book, startups: Iterable[str], reason: str, actor: str, now_s: int, lease: Lease
) -> tuple[Intent, ...]:
    """Record an operator's order to reopen startups: closing intents end, new ones begin."""
    names = sorted(startups)
    result = IntentResult(code=IntentCode.RELEASE, actor=actor, reason=reason)
    with book.writing() as connection:
        fence(connection, lease)
        may_end = INTENT.c.state.in_(INTENTS.before(IntentState.ABANDONED))
        live = INTENT.c.action.in_(ACTIONS) & may_end
        ended = {"state": IntentState.ABANDONED, "ended_s": now_s, "result": result}
        connection.execute(update(INTENT).where(live).values(**ended))
        if names:
            rows = [_decision(name, reason, actor, now_s) for name in names]
            connection.execute(DECISION.insert(), rows)
            # From here on no startup counts as closed, so its starts are not stopped.
            connection.execute(NOTICE.insert(), [_opened(name, now_s) for name in names])
    save_intents(book, [_reopening(name, result, now_s) for name in names], lease)
    with book.reading() as connection:
        pending = (INTENT.c.action == REOPEN, INTENT.c.state == IntentState.PENDING)
        query = select(*INTENT_FIELDS).where(*pending).order_by(INTENT.c.startup)
        return read_values(connection, Intent, query)


def _reopening(startup: str, result: IntentResult, now_s: int) -> Intent:
    intent = Intent(None, "", "", "closed", now_s, now_s + SEND_WITHIN_S)
    return replace(intent, action=REOPEN, startup=startup, result=result)


def _opened(startup: str, now_s: int) -> dict[str, Any]:
    facts = Closing(startup=startup, action=RELEASE, by=OPEN.rule, restriction=OPEN.facts)
    episode = f"{REOPEN}:{RELEASE}:{now_s}"
    of = (startup, "", "", "", RULE, episode, Mode.ENFORCE, now_s, now_s, to_json(facts))
    row = asdict(Notice(*of, NoticeState.ANNOUNCED))
    del row["id"]
    return row


def _decision(startup: str, reason: str, actor: str, now_s: int) -> dict[str, Any]:
    facts = Release(startup=startup, actor=actor, override_reason=reason)
    decision = make_decision((startup, ""), RULE, RELEASE, f"release:{now_s}", facts)
    return decision_row(decision, Mode.ENFORCE, now_s)

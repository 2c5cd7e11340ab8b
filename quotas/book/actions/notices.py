"""Answers to a notice: acknowledge it, snooze it; and a test notice to every channel.

Each answer is written once, as a decision with its actor. The command line and the inbox of
the API call the same functions.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import Session

from quotas.book.actions.action import program_in_force, startup_of
from quotas.book.cycle.commit import decision_row
from quotas.book.cycle.outbox import enqueue, list_deliveries
from quotas.book.rows import add_row, insert_value
from quotas.book.schema.records import DecisionRow, NoticeRow
from quotas.book.schema.tables import DECISION, NOTICE
from quotas.book.session import Book, rows_of
from quotas.decisions.record import make_decision
from quotas.decisions.verbs import Acknowledgement, ChannelTest, Snooze
from quotas.enforcement.reminders import snooze_notice
from quotas.ledger.corrections import Refused
from quotas.messages.routing import TEST, messages_for_notice
from quotas.model.program import Mode
from quotas.state.facts import to_json
from quotas.state.notices import LIVE_NOTICES, Notice, NoticeState

MAX_LISTED = 1000


def acknowledge(
    book: Book, notice_id: int, actor: str, now_s: int, *, owner: str | None = None
) -> Notice:
    """Acknowledge a notice; the first acknowledgement stays. Raises Refused.

    `owner` is the startup that the notice must belong to.
    """
    with book.writing() as connection, rows_of(connection) as rows:
        row = _row(rows, notice_id, owner)
        if row.acknowledged_s is None:
            row.acknowledged_s, row.acknowledged_by = now_s, actor
            facts = Acknowledgement(actor=actor, notice=notice_id)
            _record_decision(connection, _notice(row), "acknowledge", facts, now_s)
        return _notice(row)


def snooze(
    book: Book,
    notice_id: int,
    for_s: int,
    reason: str,
    actor: str,
    now_s: int,
    *,
    owner: str | None = None,
    key: str | None = None,
) -> Notice:
    """Move a notice's deadline later, within the policy's bounds. Raises Refused.

    `owner` is the startup that the notice must belong to. With a key, the same snooze moves the
    deadline once.
    """
    with book.writing() as connection, rows_of(connection) as rows:
        program, row = program_in_force(connection), _row(rows, notice_id, owner)
        notice = _notice(row)
        if key is not None and _was_snoozed(connection, notice, key):
            return notice
        moved = snooze_notice(notice, program.policy, for_s, now_s)
        row.sqlmodel_update(asdict(moved))
        facts = Snooze(
            actor=actor, from_s=notice.deadline_s, to_s=moved.deadline_s, reason=reason, key=key
        )
        _record_decision(connection, moved, "snooze", facts, now_s)
        told = messages_for_notice(program, moved, "snoozed", now_s, to_json(facts))
        enqueue(connection, told, now_s)
        return moved


def send_test_notice(book: Book, startup: str, actor: str, now_s: int) -> Notice:
    """Send a test notice to every channel of a startup and of the operators. Raises Refused.

    Every mode except off sends it, because people need the test before anything is enforced.
    """
    with book.writing() as connection:
        program = program_in_force(connection)
        if not startup_of(program, startup).contacts:
            raise Refused(f"{startup} has no contacts; add some to the program file and apply it")
        if program.mode is Mode.OFF:
            raise Refused("program.mode is off, in which nothing is sent; apply shadow first")
        facts = ChannelTest(startup=startup, actor=actor)
        of = (startup, "", "", "", TEST, f"test:{now_s}", Mode.ENFORCE, now_s, now_s)
        notice = Notice(*of, to_json(facts), NoticeState.ANNOUNCED)
        given = insert_value(connection, NoticeRow, notice)
        _record_decision(connection, given, "test", facts, now_s)
        enqueue(connection, messages_for_notice(program, given, TEST, now_s), now_s)
        return given


def last_tested_s(book: Book, startup: str) -> int | None:
    """When the startup last acknowledged a test notice; None if it never did."""
    newest = select(func.max(NOTICE.c.acknowledged_s))
    with book.reading() as connection:
        at_s = connection.scalar(newest.where(NOTICE.c.startup == startup, NOTICE.c.rule == TEST))
        return None if at_s is None else int(at_s)


def list_notices(
    book: Book, limit: int, startup: str | None = None
) -> list[tuple[Notice, list[dict[str, Any]]]]:
    """The newest notices, live ones first, each with the delivery of its messages."""
    is_live = NOTICE.c.state.in_(LIVE_NOTICES)
    rows = select(NOTICE).order_by(is_live.desc(), NOTICE.c.id.desc())
    if startup is not None:
        rows = rows.where(NOTICE.c.startup == startup)
    with book.reading() as connection:
        return [
            (Notice(**row), list_deliveries(connection, row["id"]))
            for row in connection.execute(rows.limit(min(limit, MAX_LISTED))).mappings()
        ]


def _was_snoozed(connection: Connection, notice: Notice, key: str) -> bool:
    rows = select(DECISION.c.inputs).where(DECISION.c.verb == "snooze")
    mine = rows.where(DECISION.c.startup == notice.startup, DECISION.c.episode == notice.episode)
    return any(inputs.get("key") == key for inputs in connection.scalars(mine))


def _row(rows: Session, notice_id: int, owner: str | None) -> NoticeRow:
    row = rows.get(NoticeRow, notice_id)
    if owner is not None and (row is None or row.startup != owner):
        raise Refused(f"{owner} has no notice {notice_id}; its notices are listed beside this")
    if row is None:
        raise Refused(f"no notice {notice_id} is in the book; 'cohortd notice list' shows them")
    return row


def _notice(row: NoticeRow) -> Notice:
    return Notice(**row.model_dump())


def _record_decision(
    connection: Connection, notice: Notice, verb: str, facts: object, now_s: int
) -> None:
    """Record a person's answer as a decision."""
    owner = (notice.startup, notice.server_id)
    decision = make_decision(owner, notice.rule, verb, notice.episode, facts)
    add_row(connection, DecisionRow(**decision_row(decision, notice.mode, now_s)))

"""Overrides: an operator's standing orders (level, exempt, freeze, maintenance, shortage, …).

An override is an append-only row. It writes no intent: the next cycle reads it and acts.
An undo is an override that offers a stopped server again, with the refund of its notice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection
from sqlmodel import col, select

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_in_transaction
from quotas.book.actions.refunds import RefundCommand
from quotas.book.cycle.state import read_program, read_unposted_runs
from quotas.book.reads.overrides import read_enforcement
from quotas.book.rows import insert_value
from quotas.book.schema.records import DecisionRow, NoticeRow, OverrideRow
from quotas.book.session import Book, rows_of
from quotas.ledger.corrections import Refused
from quotas.model.program import Mode
from quotas.state.notices import Notice, NoticeState
from quotas.state.overrides import EVERYONE, Override, Overrides

FOR_EVERYONE = frozenset({"freeze", "maintenance", "mode"})
"""The families that may apply to everyone."""


def set_override(book: Book, override: Override) -> Override:
    """Keep an override and name the one it replaces. The same override twice is kept once."""
    with book.writing() as connection:
        return save_override(connection, override)


def order_override(book: Book, override: Override) -> Override:
    """Keep an override whose subject exists. Raises Refused, and then writes nothing."""
    with book.writing() as connection:
        _check_subject(connection, override)
        if override.value == "off":
            standing = Overrides(read_enforcement(connection).overrides, override.at_s)
            if standing.on(override.family, override.subject) is None:
                raise Refused(f"there is no {override.family} of {override.subject} to end")
        return save_override(connection, override)


def approve_stops(
    book: Book, decision: int | None, actor: str, reason: str, now_s: int
) -> list[tuple[Notice, Override]]:
    """Approve the deferred stop of a decision, or every deferred stop. Raises Refused."""
    approved = ("approved", now_s, None, actor, reason)
    query = select(NoticeRow).filter_by(state=NoticeState.DEFERRED).order_by(col(NoticeRow.id))
    with book.writing() as connection, rows_of(connection) as rows:
        deferred = [Notice(**row.model_dump()) for row in rows.exec(query)]
        if decision is not None:
            row = rows.get(DecisionRow, decision)
            subject = (row.startup, row.server_id, row.rule) if row else None
            deferred = [notice for notice in deferred if notice.subject == subject]
        if not deferred:
            raise Refused("no such stop is deferred; 'cohortd status' lists the deferred stops")
        return [
            (each, save_override(connection, Override("approve", str(each.id), *approved)))
            for each in deferred
        ]


def _check_subject(connection: Connection, override: Override) -> None:
    """Raises Refused if the family cannot have the subject."""
    _, program = read_program(connection)
    family, subject = override.family, override.subject
    if family == "shortage":
        pools = [pool.name for pool in program.pools] if program else []
        if subject not in pools:
            raise Refused(f"{subject!r} is no pool of the program; it has {', '.join(pools)}")
        return
    known = [startup.name for startup in program.startups()] if program else []
    if subject in known or (subject == EVERYONE and family in FOR_EVERYONE):
        return
    is_run = family == "exempt" and subject in {r.server_id for r in read_unposted_runs(connection)}
    if not is_run:
        raise Refused(f"{subject!r} is no startup of the program; it has {', '.join(known)}")


def save_override(connection: Connection, override: Override) -> Override:
    """The same within a transaction that writes more."""
    old = _newest(connection, family=override.family, subject=override.subject)
    if old and old.is_active_at(override.at_s) and _same(old, override):
        return old
    before = f"{old.value} by {old.actor}: {old.reason}" if old else ""
    return insert_value(connection, OverrideRow, replace(override, before=before))


def _newest(connection: Connection, **of: str) -> Override | None:
    """The newest override with these values of columns."""
    query = select(OverrideRow).filter_by(**of).order_by(col(OverrideRow.id).desc()).limit(1)
    with rows_of(connection) as rows:
        row = rows.exec(query).first()
        return Override(**row.model_dump()) if row else None


def _same(old: Override, new: Override) -> bool:
    same_end = (old.until_s is None) == (new.until_s is None)
    if old.until_s is not None and new.until_s is not None:
        same_end = old.until_s >= new.until_s
    return old.value == new.value and old.reason == new.reason and same_end


@dataclass(frozen=True, slots=True)
class UndoResult:
    """A stop that was undone: its notice, the override that did it, and the refund's outcome."""

    notice: Notice
    override: Override
    refund: str


def undo(book: Book, decision: int, actor: str, reason: str, now_s: int) -> UndoResult:
    """Undo the stop that a decision ordered. Raises Refused, and then writes nothing.

    Override and refund are one transaction, so neither is ever there without the other. Undoing
    a stop again repeats the first answer; only a refund that had to wait is tried again.
    """
    with book.writing() as connection:
        notice = notice_of_stop(connection, decision)
        _, program = read_program(connection)
        if notice is None or program is None:
            raise Refused(f"decision {decision} stopped no server; 'cohortd explain' lists them")
        server_id, number = notice.server_id, str(notice.id)
        override = _newest(connection, family="undo", subject=server_id, value=number)
        if override is None:
            order = Override("undo", server_id, number, now_s, None, actor, reason)
            override = save_override(connection, order)
        refund = _refunded(connection, notice, override, program.policy.minimum_notice_s)
        return UndoResult(notice, override, refund)


def notice_of_stop(connection: Connection, decision: int) -> Notice | None:
    """The notice of a decision to stop a server; None if it is no such decision."""
    with rows_of(connection) as rows:
        row = rows.get(DecisionRow, decision)
        if row is None or row.verb != "stop" or row.mode != Mode.ENFORCE:
            return None
        of = {"startup": row.startup, "server_id": row.server_id, "rule": row.rule}
        due = select(NoticeRow).filter_by(**of).where(NoticeRow.deadline_s <= row.at_s)
        found = rows.exec(due.order_by(col(NoticeRow.id).desc()).limit(1)).first()
        return Notice(**found.model_dump()) if found else None


def _refunded(connection: Connection, notice: Notice, override: Override, notice_s: int) -> str:
    """The seconds of the minimum notice before the deadline, refunded once."""
    window = (notice.deadline_s - notice_s, notice.deadline_s)
    command = RefundCommand(*window, server=notice.server_id)
    by = (override.reason, override.actor, override.at_s, f"undo-{notice.id}")
    try:
        return str(perform_in_transaction(connection, OperatorAction(command, *by))["sentence"])
    except Refused as refused:
        return f"no refund yet, undo it again later: {refused}"

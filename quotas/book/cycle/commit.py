"""The commit of a cycle's result, in one transaction that the lease fences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, Update, bindparam, func, or_, select, update

from quotas.book.actions.grant_terms import check_program_grants, grant_rows
from quotas.book.cycle.chain_heads import record_chain_heads
from quotas.book.cycle.lease import Lease, fence
from quotas.book.cycle.notice_compensation import ACTOR as COMPENSATION_ACTOR
from quotas.book.cycle.notice_compensation import compensate_breaches
from quotas.book.cycle.outbox import enqueue, enqueue_chain_heads
from quotas.book.cycle.state import BookState, read_program
from quotas.book.reads.holds import close_holds
from quotas.book.reads.statements import close_months
from quotas.book.reads.transfers import newest_transfer_id
from quotas.book.rows import add_row, execute_rows, insert_rows
from quotas.book.schema.records import ProgramVersionRow
from quotas.book.schema.tables import (
    DECISION,
    GRANT,
    INTENT,
    NOTICE,
    OVERRIDE,
    OVERUSE,
    PRICE,
    PROGRAM,
    REQUEST,
    RUN,
    TRANSFER,
    UNCONFIRMED,
    ZONE,
)
from quotas.book.session import Book
from quotas.book.transfers import StaleBalance, post
from quotas.ledger.chain_heads import ChainHead
from quotas.ledger.tranches import parts
from quotas.ledger.transfers import Transfer, grant_transfer
from quotas.messages.routing import ChainHeadRecipients, PendingMessage
from quotas.metering.runs import Run, UnconfirmedPeriod
from quotas.model.former_members import with_former_members
from quotas.model.observation import Complete, Sweep, Unknown
from quotas.model.program import Program
from quotas.state.notices import Intent, Notice, NoticeState
from quotas.state.requests import Request
from quotas.state.snapshot import Decision, Overuse

UPDATED_COLUMNS = (
    "state",
    "sent_s",
    "met_s",
    "ended_s",
    "off_s",
    "detail",
    "result",
    "reminded_s",
    "is_breached",
)
"""The columns of notices, intents and requests that a cycle changes. People write the rest."""


@dataclass(frozen=True, slots=True)
class CycleResult:
    """The result of one cycle: sweeps, runs, transfers, decisions, notices and messages."""

    sweeps: Sequence[Sweep]
    confirmed: dict[str, int]
    runs: Sequence[Run]
    unconfirmed_periods: Sequence[UnconfirmedPeriod]
    transfers: Sequence[Transfer]
    decisions: Sequence[Decision]
    notices: Sequence[Notice]
    intents: Sequence[Intent]
    mode: str
    requests: Sequence[Request] = ()
    overuses: Sequence[Overuse] = ()
    price_version: int | None = None
    """The newest price version that was known when the charges were computed."""
    newest_transfer: int | None = None
    """The newest transfer that was known when the charges were computed."""
    pending_messages: Sequence[PendingMessage] = ()
    chain_head_recipients: ChainHeadRecipients | None = None


_NEWEST_PRICE = select(func.max(PRICE.c.id))
EXACT_KINDS = frozenset({"expiry", "rollover"})
"""Kinds of transfers that move all of what is left."""


class StaleNotice(Exception):
    """A person moved a deadline while this cycle decided. The next cycle decides again."""


def commit(book: Book, result: CycleResult, lease: Lease, now_s: int) -> tuple[ChainHead, ...]:
    """Write a cycle's result, all or nothing.

    Raises StaleEpoch if we no longer lead, StaleNotice if a notice was snoozed meanwhile, and
    StaleBalance if a person moved credits. Returns the chain heads in a UTC day's first cycle.
    """
    with book.writing() as connection:
        fence(connection, lease)
        newest = connection.scalar(_NEWEST_PRICE) or 0
        if result.price_version is not None and newest != result.price_version:
            # A person corrected a price meanwhile, and did not see these charges.
            raise StaleBalance("a price was accepted while this cycle ran")
        _refuse_stale_balances(connection, result)
        _refuse_stale_notices(connection, result.notices)
        post(connection, result.transfers, recorded_s=now_s, epoch=lease.epoch, actor="cohortd")
        close_holds(connection, result.transfers)
        insert_rows(connection, RUN, map(asdict, result.runs), "replace")
        unconfirmed = map(_unconfirmed_row, result.unconfirmed_periods)
        insert_rows(connection, UNCONFIRMED, unconfirmed, "replace")
        zones = [_zone(sweep, result.confirmed) for sweep in result.sweeps]
        insert_rows(connection, ZONE, zones, "replace")
        decisions = [decision_row(each, result.mode, now_s) for each in result.decisions]
        execute_rows(connection, DECISION.insert(), decisions)
        _save(connection, NOTICE, result.notices)
        _postpone(connection, result.notices)
        compensate_breaches(connection, result.notices, now_s)
        _save(connection, INTENT, result.intents)
        _save(connection, REQUEST, result.requests)
        insert_rows(connection, OVERUSE, map(asdict, result.overuses), "replace")
        enqueue(connection, result.pending_messages, now_s)
        known_s = min((result.confirmed.get(s.zone, 0) for s in result.sweeps), default=0)
        close_months(connection, known_s, now_s)
        chain_heads = record_chain_heads(connection, now_s)
        if result.chain_head_recipients is not None:
            enqueue_chain_heads(connection, chain_heads, result.chain_head_recipients, now_s)
        return chain_heads


def _refuse_stale_balances(connection: Connection, result: CycleResult) -> None:
    """Refuse an expiry if a person moved credits meanwhile: it moves all that is left, once.

    Credits that came back to a grant after its rest was read would stay there for ever.
    """
    known = result.newest_transfer
    if known is None or not any(each.kind in EXACT_KINDS for each in result.transfers):
        return
    if newest_transfer_id(connection) != known:
        raise StaleBalance("credits moved while this cycle computed the rest of a grant")


def _refuse_stale_notices(connection: Connection, notices: Iterable[Notice]) -> None:
    due = [n for n in notices if n.id is not None and n.state is NoticeState.EXECUTING]
    decided = {notice.id: notice.deadline_s for notice in due}
    if not decided:
        return
    rows = select(NOTICE.c.id, NOTICE.c.deadline_s).where(NOTICE.c.id.in_(decided))
    for row in connection.execute(rows):
        if row.deadline_s > decided[row.id]:
            raise StaleNotice(f"notice {row.id} was snoozed while this cycle decided")


_NEWEST_OVERRIDE = select(func.max(OVERRIDE.c.id))
_NEWEST_PROGRAM = select(func.max(PROGRAM.c.id))
_BY_PERSON = (TRANSFER.c.epoch == 0) & (TRANSFER.c.actor != COMPENSATION_ACTOR)
"""People post under no lease. So does the compensation that the cycle itself posts."""


def changed_since(book: Book, state: BookState) -> bool:
    """Whether people overrode, applied a program or moved credits since the state was read.

    The cycle sends nothing after such a change, because its decisions did not know of it.
    """
    newest_override = max((override.id or 0 for override in state.enforcement.overrides), default=0)
    later = TRANSFER.c.id > state.newest_transfer
    posted = select(TRANSFER.c.id).where(later, _BY_PERSON).limit(1)
    with book.reading() as connection:
        return (
            (connection.scalar(_NEWEST_OVERRIDE) or 0) > newest_override
            or (connection.scalar(_NEWEST_PROGRAM) or 0) > state.program_version
            or connection.scalar(posted) is not None
        )


def save_intents(book: Book, intents: Iterable[Intent], lease: Lease) -> None:
    """Write intents after the cycle acted on them. Raises StaleEpoch."""
    with book.writing() as connection:
        fence(connection, lease)
        _save(connection, INTENT, intents)


def apply_program(book: Book, program: Program, now_s: int, actor: str) -> int:
    """Put a program in force: a new version if it changed, and each grant id posted once.

    Returns the number of the version in force. Raises ProgramError if the id of a grant is
    taken or was posted with other terms, or if all grants exceed the budget.
    """
    with book.writing() as connection:
        bodies = connection.scalars(select(PROGRAM.c.body).order_by(PROGRAM.c.id))
        file, program = program, with_former_members(program, map(Program.from_json, bodies))
        version, current = read_program(connection)
        if current is None or current.digest != program.digest:
            check_program_grants(connection, file, now_s)
            body, digest = program.to_json(), program.digest
            row = ProgramVersionRow(digest=digest, body=body, applied_s=now_s, actor=actor)
            add_row(connection, row)
            version += 1
        insert_rows(connection, GRANT, grant_rows(program.startups()), "keep")
        transfers = [
            grant_transfer(s.cohort, s.name, part.id, part.amount_ucr, part.effective_s)
            for s in program.startups()
            for g in s.grants
            for part in parts(g)
        ]
        post(connection, transfers, recorded_s=now_s, epoch=0, actor=actor)
        return version


def _save(connection: Connection, table: Table, items: Iterable[Notice | Intent | Request]) -> None:
    """Insert what has no id yet; move the state of what has one, along its machine's table.

    A row that a person moved meanwhile to where no way leads on keeps its state.
    """
    new: list[dict[str, Any]] = []
    moved: dict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        row = asdict(item)
        row_id = row.pop("id")
        if row_id is None:
            new.append(row)
        else:
            values = {f"new_{name}": row[name] for name in _updated_columns(table)}
            moved[item.stored_states].append({"row_id": row_id, **values})
    execute_rows(connection, table.insert(), new)
    for allowed, rows in moved.items():
        connection.execute(_update_statement(table, allowed), rows)


def _updated_columns(table: Table) -> list[str]:
    return [name for name in UPDATED_COLUMNS if name in table.columns]


@cache
def _update_statement(table: Table, allowed: frozenset[str]) -> Update:
    # A list for IN cannot be expanded in a statement that is executed for many rows.
    is_allowed = or_(*(table.c.state == state for state in sorted(allowed)))
    statement = update(table).where(table.c.id == bindparam("row_id"), is_allowed)
    return statement.values({name: bindparam(f"new_{name}") for name in _updated_columns(table)})


_POSTPONE_DEADLINE = (
    update(NOTICE)
    .where(NOTICE.c.id == bindparam("row_id"), NOTICE.c.deadline_s < bindparam("new_s"))
    .values(deadline_s=bindparam("new_s"), facts=bindparam("new_facts"))
)


def _postpone(connection: Connection, notices: Iterable[Notice]) -> None:
    """Move the deadlines of notices that have a later one; none ever moves earlier."""
    rows = [
        {"row_id": n.id, "new_s": n.deadline_s, "new_facts": n.facts}
        for n in notices
        if n.id is not None
    ]
    execute_rows(connection, _POSTPONE_DEADLINE, rows)


def _unconfirmed_row(unconfirmed: UnconfirmedPeriod) -> dict[str, Any]:
    row = asdict(unconfirmed)
    period: dict[str, int] = row.pop("period")
    return row | period


def _zone(sweep: Sweep, confirmed: dict[str, int]) -> dict[str, Any]:
    detail = "" if isinstance(sweep, Complete) else f"{sweep.cause}: {sweep.detail}"
    outcome = "unknown" if isinstance(sweep, Unknown) else type(sweep).__name__.lower()
    return {
        "name": sweep.zone,
        "confirmed_until_s": confirmed.get(sweep.zone),
        "swept_s": sweep.at_s,
        "outcome": outcome,
        "detail": detail,
    }


def decision_row(decision: Decision, mode: str, now_s: int) -> dict[str, Any]:
    """A decision as the row that keeps it."""
    return {**asdict(decision), "mode": mode, "at_s": now_s}

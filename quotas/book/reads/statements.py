"""Monthly statements: the closing of months, closed and open statements, and their audit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select

from quotas.book.cycle.state import read_startups
from quotas.book.reads.transfers import moves_startup_accounts, newest_transfer_id, stream_transfers
from quotas.book.schema.tables import GRANT, STATEMENT, TRANSFER
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.statements import (
    FIRST,
    Effects,
    Statement,
    Tally,
    digest,
    month_name,
    month_s,
    months,
    statement_of,
)
from quotas.model.units import format_credits, month_start_s, parse_credits
from quotas.state.facts import canonical_json


@dataclass(frozen=True, slots=True)
class CarryForward:
    """The closing balance, hash and end of a startup's last statement, for the next one."""

    closing_ucr: int = 0
    hash: str = FIRST
    end_s: int = 0
    through_id: int = 0


_OLDEST_MONTH = select(func.min(STATEMENT.c.month))
_FIRST_GRANT = select(func.min(GRANT.c.effective_s))


def close_months(connection: Connection, known_s: int, now_s: int) -> int:
    """Close every month that is over once every zone is known to its end; returns how many.

    Each month is closed once, with a row for each startup that the book knows.
    """
    until_s = month_start_s(min(known_s, now_s))
    first_s = _first_open_month_s(connection, None)
    if first_s is None or first_s >= until_s:
        return 0
    through_id = newest_transfer_id(connection)
    closed = 0
    for startup in read_startups(connection):
        carried = _carried(connection, startup, None)
        for start_s in months(first_s, until_s):
            tally = _tally(connection, startup, start_s, carried, through_id)
            found = statement_of(tally, carried.closing_ucr, through_id, carried.hash, now_s)
            if carried.hash == FIRST and not found.lines:
                continue  # the startup had no account yet
            body = canonical_json(found.as_json())
            row = {"startup": startup, "month": found.month, "closed_s": now_s}
            row |= {"through_id": through_id, "body": body, "hash": digest(body)}
            connection.execute(STATEMENT.insert().values(**row))
            carried = _carry_forward(found, digest(body))
            closed += 1
    return closed


def read_statements(
    connection: Connection, startup: str, until_s: int, as_of: tuple[int, int] | None
) -> Iterator[dict[str, Any]]:
    """A startup's statements to the month of an instant, each as JSON with its hash.

    Closed statements are read; open ones are computed. `as_of` is an instant and the last
    transfer that the book had then.
    """
    as_of_s = None if as_of is None else as_of[0]
    query = _closed(startup, as_of_s).where(STATEMENT.c.month <= month_name(until_s))
    for row in connection.execute(query.order_by(STATEMENT.c.month)):
        yield {**json.loads(row.body), "hash": row.hash}
    through_id = newest_transfer_id(connection) if as_of is None else as_of[1]
    carried = _carried(connection, startup, as_of_s)
    first_s = _first_open_month_s(connection, as_of_s)
    if first_s is None:
        return
    for start_s in months(first_s, until_s + 1):
        tally = _tally(connection, startup, start_s, carried, through_id)
        found = statement_of(tally, carried.closing_ucr, through_id, carried.hash, None)
        yield {**found.as_json(), "hash": None}
        carried = _carry_forward(found, carried.hash)


def read_statement(
    connection: Connection, startup: str, start_s: int, as_of: tuple[int, int] | None = None
) -> dict[str, Any] | None:
    """A startup's statement of the month that begins then; None before its first."""
    found = list(read_statements(connection, startup, start_s, as_of))
    return found[-1] if found and found[-1]["month"] == month_name(start_s) else None


def read_closed_statements(
    connection: Connection, startup: str | None, as_of_s: int | None
) -> Iterator[dict[str, Any]]:
    """Every closed statement, or those of one startup, without their lines."""
    query = _closed(startup, as_of_s).order_by(STATEMENT.c.startup, STATEMENT.c.month)
    for row in connection.execute(query):
        body = json.loads(row.body)
        yield {**{k: v for k, v in body.items() if k != "lines"}, "hash": row.hash}


def _first_open_month_s(connection: Connection, as_of_s: int | None) -> int | None:
    """The month after the newest closed one of any startup; None in an empty book.

    Before the first closing, it is the month of the first grant, or else of the first transfer.
    """
    newest = _closed(None, as_of_s).order_by(STATEMENT.c.month.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    if last is not None:
        return month_start_s(month_s(last.month), 1)
    granted_s = connection.scalar(_FIRST_GRANT)
    if granted_s is None:
        granted_s = connection.scalar(select(func.min(TRANSFER.c.at_s)))
    return None if granted_s is None else month_start_s(granted_s)


def _closed(startup: str | None, as_of_s: int | None) -> Select[Any]:
    """The closed statements, or only those of a startup, or only those closed by an instant."""
    query = select(STATEMENT)
    if startup is not None:
        query = query.where(STATEMENT.c.startup == startup)
    return query if as_of_s is None else query.where(STATEMENT.c.closed_s <= as_of_s)


def _carried(connection: Connection, startup: str, as_of_s: int | None) -> CarryForward:
    query = _closed(startup, as_of_s).order_by(STATEMENT.c.month.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return CarryForward()
    closing_ucr = parse_credits(json.loads(row.body)["closing"])
    return CarryForward(closing_ucr, row.hash, month_start_s(month_s(row.month), 1), row.through_id)


def _carry_forward(found: Statement, hash: str) -> CarryForward:
    end_s = month_start_s(month_s(found.month), 1)
    return CarryForward(found.closing_ucr, hash, end_s, found.through_id)


def _tally(
    connection: Connection, startup: str, start_s: int, carried: CarryForward, through_id: int
) -> Tally:
    """Everything that takes effect before the month's end and is in no statement before it."""
    end_s = month_start_s(start_s, 1)
    tally, effects = Tally(startup, start_s), Effects()
    # Every charge of an earlier statement ended before the end of that statement's month.
    new = or_(
        TRANSFER.c.id > carried.through_id,
        TRANSFER.c.kind != "charge",
        TRANSFER.c.at_s > carried.end_s,
    )
    own = moves_startup_accounts(startup)
    for posted in stream_transfers(connection, own, new, until_id=through_id):
        detail = posted.details
        for at_s, part in effects.of(posted, detail):
            stated = posted.id <= carried.through_id and at_s < carried.end_s
            if at_s < end_s and not stated and startup in part.holders:
                tally.add(part, detail, at_s)
    return tally


class StatementAudit:
    """Recomputes closed statements while transfers are read; holds those of open months only."""

    def __init__(self, connection: Connection) -> None:
        order = (STATEMENT.c.through_id, STATEMENT.c.startup, STATEMENT.c.month)
        rows = select(STATEMENT).order_by(*order).execution_options(yield_per=100)
        self._rows = iter(connection.execute(rows))
        self._next: Row[Any] | None = next(self._rows, None)
        self._last_id: int = connection.scalar(select(func.max(STATEMENT.c.through_id))) or 0
        self._oldest: str = connection.scalar(_OLDEST_MONTH) or ""
        self._open_s = 0
        self._effects = Effects()
        self._tallies: dict[tuple[str, int], Tally] = {}
        self._carried: dict[str, CarryForward] = {}

    def fault(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> str | None:
        """Count a transfer; the first statement, closed before it, that is wrong, or None."""
        if posted.id > self._last_id:
            return None if self._next is None else self._close_before(posted.id)
        # Read here, not above: a month that is none is a fault, and no traceback.
        self._open_s = self._open_s or month_s(self._oldest)
        found = self._close_before(posted.id)
        for at_s, part in self._effects.of(posted, detail):
            # Late for everybody: who joins later has no statement of the months before.
            start_s = max(month_start_s(at_s), self._open_s)
            for startup in sorted(part.holders):
                tally = self._tallies.setdefault((startup, start_s), Tally(startup, start_s))
                tally.add(part, detail, at_s)
        return found

    def missing(self, newest_transfer_id: int) -> str | None:
        """What is wrong with the statements that are left, once every transfer was read."""
        found = self._close_before(newest_transfer_id + 1)
        if found is None and self._next is not None:
            return f"the {_named(self._next)} names transfer {self._next.through_id}, not there"
        return found

    def _close_before(self, id: int) -> str | None:
        while self._next is not None and self._next.through_id < id:
            row, self._next = self._next, next(self._rows, None)
            found = self._close(row)
            if found is not None:
                return found
        return None

    def _close(self, row: Row[Any]) -> str | None:
        start_s = month_s(row.month)
        tally = self._tallies.pop((row.startup, start_s), Tally(row.startup, start_s))
        before = self._carried.get(row.startup, CarryForward())
        due = statement_of(tally, before.closing_ucr, row.through_id, before.hash, row.closed_s)
        body = canonical_json(due.as_json())
        if row.hash != digest(row.body):
            return f"the {_named(row)} does not match its hash"
        if row.body != body:
            return (
                f"the {_named(row)} closes with {json.loads(row.body)['closing']}, or another of "
                f"its lines differs; its transfers come to {format_credits(due.closing_ucr)}"
            )
        self._carried[row.startup] = after = _carry_forward(due, row.hash)
        self._open_s = max(self._open_s, after.end_s)
        return None


def _named(row: Row[Any]) -> str:
    return f"statement of {row.startup} for {row.month}"

"""The file `view.db`: a copy of the book's rows that the API and the portal read.

`cohortd serve` faces the network, so it may not touch the book: a lock on the book's files would
stop a cycle. The daemon copies the rows that readers need into a second SQLite file with the same
tables. `serve` opens only that file, and reads it with the same functions as the book.

Each publishing compares, for each table, the rows that may differ (`_COPIED`), and writes those
that do. A row that is final, and older than what the view has, is not read again. So the cost
grows with what lives and what is new, not with the history. The rows of one publishing are
those of one instant, because the book is read in one transaction.

- A reader can only delay a publishing. The view is locked first, and the book is read after it,
  so a publishing that waits for a reader holds nothing of the book.
- The view is in rollback mode, not in WAL. In WAL, a reader that never ends its transaction makes
  the log grow until the disk is full, and a reader needs a right to write.
- A view that does not fit the book (another schema, a restored book, a damaged file) is built
  again beside the old one and replaces it in one step. The triggers of the append-only tables
  find a book that was replaced: they refuse to change a row that differs.
- The file's modification time is the instant at which it was last equal to the book.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Table,
    TypeDecorator,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.exc import DatabaseError, OperationalError

from quotas.book.address import Address, BookError
from quotas.book.cycle.state import IS_UNPOSTED
from quotas.book.reads.overrides import LAST_POWEROFFS
from quotas.book.rows import insert_statement
from quotas.book.schema.tables import (
    BALANCE,
    DECISION,
    ENTRY,
    GRANT,
    HOLD,
    INBOX_ANSWER,
    INTENT,
    LISTING,
    NOTICE,
    OFFER,
    OPERATOR_ACTION,
    OUTBOX,
    OVERRIDE,
    OVERUSE,
    PRICE,
    PROGRAM,
    REQUEST,
    REVOKED_RULES,
    RUN,
    STATEMENT,
    TOKEN,
    TRANSFER,
    UNCONFIRMED,
    ZONE,
)
from quotas.book.session import Book
from quotas.ledger.forecast import WINDOWS_S
from quotas.model.units import DAY_S
from quotas.state.notices import LIVE_INTENTS, NOTICES_WITH_INTENTS
from quotas.state.requests import LIVE_REQUESTS

BATCH_ROWS = 2_000
OVERLAP_S = max(WINDOWS_S) + DAY_S
"""Rows are found by their instants this far back: the longest window of a burn rate, and a day."""
BEFORE_ALL_S = -(2**62)

Item = TypeVar("Item")
MayDiffer = Callable[[Connection], ColumnElement[bool]]
"""From the view as it is: the rows that may differ from the book's."""


@dataclass(frozen=True, slots=True)
class _Copied:
    """A table of the view. Readers need no `secrets`, so these columns are empty there."""

    table: Table
    may_differ: MayDiffer
    secrets: frozenset[str] = frozenset()

    def rows(self) -> Select[Any]:
        """Its rows, as the view has them."""
        return select(*map(self._stored, self.table.columns))

    def _stored(self, column: Column[Any]) -> ColumnElement[Any]:
        """The value as the database stores it: facts stay text."""
        if column.name in self.secrets:
            return literal("").label(column.name)
        is_ours = isinstance(column.type, TypeDecorator)
        return type_coerce(column, String).label(column.name) if is_ours else column


def _any(_view: Connection) -> ColumnElement[bool]:
    return true()


def _newest(column: Column[Any], overlap: int = 0) -> MayDiffer:
    """The newest row of the view, and those after it."""
    newest = select(func.max(column))
    return lambda view: column >= (view.scalar(newest) or 0) - overlap


def _newest_or(table: Table, other: ColumnElement[bool]) -> MayDiffer:
    newest = _newest(table.c.id)
    return lambda view: or_(newest(view), other)


def _since(view: Connection) -> int:
    known_s = view.scalar(select(func.max(ZONE.c.confirmed_until_s)))
    return BEFORE_ALL_S if known_s is None else known_s - OVERLAP_S


def _notices(view: Connection) -> ColumnElement[bool]:
    """New ones, those that a cycle reads and so may change, and those acknowledged late."""
    known = or_(NOTICE.c.state.in_(NOTICES_WITH_INTENTS), NOTICE.c.id.in_(LAST_POWEROFFS))
    return or_(_newest(NOTICE.c.id)(view), known, NOTICE.c.acknowledged_s > _since(view))


def _runs(view: Connection) -> ColumnElement[bool]:
    return or_(IS_UNPOSTED, RUN.c.end_s > _since(view))


_COPIED = (
    _Copied(PROGRAM, _newest(PROGRAM.c.id)),
    _Copied(TRANSFER, _newest(TRANSFER.c.id)),
    _Copied(ENTRY, _newest(ENTRY.c.transfer_id)),
    _Copied(OPERATOR_ACTION, _newest(OPERATOR_ACTION.c.transfer_id)),
    _Copied(DECISION, _newest(DECISION.c.id)),
    _Copied(PRICE, _newest(PRICE.c.id)),
    _Copied(OVERRIDE, _newest(OVERRIDE.c.id)),
    _Copied(STATEMENT, _newest(STATEMENT.c.through_id)),
    _Copied(INBOX_ANSWER, _newest(INBOX_ANSWER.c.at_s, DAY_S)),
    _Copied(NOTICE, _notices),
    _Copied(INTENT, _newest_or(INTENT, INTENT.c.state.in_(LIVE_INTENTS))),
    _Copied(REQUEST, _newest_or(REQUEST, REQUEST.c.state.in_(LIVE_REQUESTS))),
    _Copied(
        OUTBOX,
        _newest_or(OUTBOX, OUTBOX.c.state.in_(("waiting", "claimed"))),
        frozenset({"recipient", "facts", "detail"}),
    ),
    _Copied(REVOKED_RULES, _newest_or(REVOKED_RULES, REVOKED_RULES.c.state == "revoked")),
    _Copied(RUN, _runs),
    _Copied(OVERUSE, lambda _view: OVERUSE.c.ended_s.is_(None)),
    *(
        _Copied(table, _any)
        for table in (BALANCE, GRANT, HOLD, TOKEN, ZONE, OFFER, LISTING, UNCONFIRMED)
    ),
)
COPIED_TABLES = frozenset(each.table.name for each in _COPIED)


def publish(book: Book, view: Address, now_s: int) -> None:
    """Make the view equal to the book. Raises SQLAlchemyError, BookError or OSError.

    While a reader holds the view, it raises an error, and the next publishing tries again.
    """
    if not _fits(view):
        _rebuild(book, view)
    else:
        try:
            _copy(book, view)
        except OperationalError:
            raise
        except DatabaseError:
            _rebuild(book, view)
    mark_published(view, now_s)


def _fits(view: Address) -> bool:
    """Whether there is a readable view of this version's schema."""
    try:
        Book.open_read_only(view).close()
    except BookError:
        return False
    return True


def mark_published(view: Address, now_s: int) -> None:
    """Note that the view is equal to the book at an instant. Raises OSError."""
    assert view.file is not None, "a view is a file"
    os.utime(view.file, (now_s, now_s))


def published_s(view: Address) -> int:
    """When the view was last equal to the book. Raises OSError if there is none."""
    assert view.file is not None, "a view is a file"
    return int(view.file.stat().st_mtime)


def _rebuild(book: Book, view: Address) -> None:
    """Build the view beside the old one, and put it in its place in one step."""
    assert view.file is not None, "a view is a file"
    fresh = Address(view.folder, name=f"{view.name}.new")
    assert fresh.file is not None, "a view is a file"
    _remove(fresh.file)
    _copy(book, fresh)
    journal_of(view.file).unlink(missing_ok=True)  # it would be played into the new file
    fresh.file.replace(view.file)


def journal_of(path: Path) -> Path:
    """SQLite's rollback journal of a database."""
    return path.with_name(f"{path.name}-journal")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    journal_of(path).unlink(missing_ok=True)


def _copy(book: Book, view: Address) -> None:
    # The view's lock first, the book's transaction second: it ends before the commit waits.
    with (
        closing(Book.open_view(view)) as written,
        written.writing() as target,
        book.reading() as source,
    ):
        for each in _COPIED:
            _copy_table(each, source, target)


def _copy_table(copied: _Copied, source: Connection, target: Connection) -> None:
    """Write the rows of a table that differ, and delete those that the book no longer has."""
    columns = list(copied.table.columns)
    key = tuple(copied.table.primary_key.columns)
    places = [columns.index(column) for column in key]

    def key_of(row: Row[Any]) -> tuple[Any, ...]:
        return tuple(row[place] for place in places)

    query = copied.rows()
    may_differ = copied.may_differ(target)
    old = {key_of(row): row for row in target.execute(query.where(may_differ))}
    seen = set()

    def changed(rows: Iterable[Row[Any]]) -> Iterator[Row[Any]]:
        for row in rows:
            known = old.get(key_of(row))
            if known is not None:
                seen.add(key_of(row))
            if known is None or tuple(known) != tuple(row):
                yield row

    streamed = query.where(may_differ).execution_options(yield_per=BATCH_ROWS)
    _write(copied.table, target, changed(source.execute(streamed)))
    # What may differ no longer in the book has become final there, or is gone.
    for keys in _batches(sorted(old.keys() - seen)):
        of = tuple_(*key).in_(keys)
        _write(copied.table, target, changed(source.execute(query.where(of))))
        gone = [each for each in keys if each not in seen]
        if gone:
            target.execute(copied.table.delete().where(tuple_(*key).in_(gone)))


def _write(table: Table, target: Connection, rows: Iterable[Row[Any]]) -> None:
    statement = str(insert_statement("sqlite", table, "replace").compile(dialect=target.dialect))
    for batch in _batches(rows):
        target.exec_driver_sql(statement, [tuple(row) for row in batch])


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH_ROWS)):
        yield batch

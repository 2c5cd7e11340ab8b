"""Transfers in the book, read in the order of writing, in batches, with their entries.

At an instant the book knew the transfers before the first that was recorded later: a prefix
of the chain. That prefix never changes once the instant is past.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, func, or_, select

from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.ledger.recorded import CREDITS_IN, USAGE, PostedTransfer

BATCH_ROWS = 2_000
BEFORE_ALL = -(2**63)
_ROW = tuple(TRANSFER.c[name] for name in PostedTransfer._fields if name != "entries")
_ENTRY = (ENTRY.c.transfer_id, ENTRY.c.account, ENTRY.c.amount_ucr)


def stream_transfers(
    connection: Connection,
    *where: ColumnElement[bool],
    until_id: int,
    after_id: int = BEFORE_ALL,
    at_once: int = BATCH_ROWS,
) -> Iterator[PostedTransfer]:
    """Every transfer to `until_id` of which `where` holds, by id; memory holds one batch."""
    query = select(*_ROW).where(*where, TRANSFER.c.id <= until_id)
    query = query.order_by(TRANSFER.c.id).limit(at_once)
    while True:
        rows = connection.execute(query.where(TRANSFER.c.id > after_id)).all()
        if not rows:
            return
        entries: dict[int, list[tuple[str, int]]] = defaultdict(list)
        ids = [row[0] for row in rows]
        of = ENTRY.c.transfer_id.in_(ids) if where else ENTRY.c.transfer_id.between(ids[0], ids[-1])
        sides = select(*_ENTRY).where(of).order_by(ENTRY.c.transfer_id, ENTRY.c.position)
        for number, account, amount_ucr in connection.execute(sides):
            entries[number].append((account, amount_ucr))
        for row in rows:
            yield PostedTransfer._make((*row, tuple(entries[row[0]])))
        after_id = rows[-1][0]


_NEWEST_ID = select(func.max(TRANSFER.c.id))


def newest_transfer_id(connection: Connection) -> int:
    """The id of the newest transfer; 0 where there is none."""
    return connection.scalar(_NEWEST_ID) or 0


def transfer_id_as_of(connection: Connection, as_of_s: int) -> int:
    """The id of the last transfer that the book had at an instant."""
    later = select(func.min(TRANSFER.c.id)).where(TRANSFER.c.recorded_s > as_of_s)
    first_later = connection.scalar(later)
    return newest_transfer_id(connection) if first_later is None else first_later - 1


def sums_of_entries(connection: Connection, through_id: int) -> dict[str, int]:
    """Sum of the entries of every account to a transfer, by account; not from the projection."""
    query = select(ENTRY.c.account, func.sum(ENTRY.c.amount_ucr))
    query = query.where(ENTRY.c.transfer_id <= through_id).group_by(ENTRY.c.account)
    rows = connection.execute(query.order_by(ENTRY.c.account))
    return {account: int(total) for account, total in rows}


def moves_startup_accounts(startup: str) -> ColumnElement[bool]:
    """Transfers that move an account of a startup."""
    prefixes = [f"{kind}:{startup}:" for kind in CREDITS_IN]
    usage = ENTRY.c.account == f"{USAGE}:{startup}"
    mine = or_(usage, *(ENTRY.c.account.between(p, f"{p[:-1]};") for p in prefixes))
    return TRANSFER.c.id.in_(select(ENTRY.c.transfer_id).where(mine))

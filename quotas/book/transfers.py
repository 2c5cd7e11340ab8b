"""Transfers in the book: written once each, and chained by hash so that no change goes unseen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from sqlalchemy import Connection, Dialect, Table, bindparam, func, select

from quotas.book.rows import insert_rows
from quotas.book.schema.tables import BALANCE, ENTRY, TRANSFER
from quotas.ledger.corrections import Refused
from quotas.ledger.recorded import HASHED
from quotas.ledger.transfers import Transfer
from quotas.state.facts import canonical_json

GENESIS = "0" * 64
BATCH_KEYS = 500
LARGEST_INT64 = 2**63 - 1
OVERDRAWABLE = ("sponsor:", "overdraft:", "price-difference:", "provider:")
"""Accounts that may fall below zero. Every other account is checked when it is written."""


class StaleBalance(Exception):
    """A transfer was computed from a balance that has changed since. Read again and repeat."""


def chain_hash(previous: str, fields: dict[str, object], entries: Iterable[tuple[str, int]]) -> str:
    """Hash of a transfer: over its predecessor's hash, its own fields and its entries."""
    body = canonical_json([previous, fields, [*entries]])
    return hashlib.sha256(body.encode()).hexdigest()


_NEWEST_ID = select(func.max(TRANSFER.c.id))


def post(
    connection: Connection,
    transfers: Sequence[Transfer],
    *,
    recorded_s: int,
    epoch: int,
    actor: str,
) -> int:
    """Append the transfers whose keys are not in the book yet; returns how many were.

    A transfer whose key the book has stays as it is: replaying a commit adds nothing (I6).
    The caller passes transfers that differ in key. Raises StaleBalance if an account would
    fall below zero, so that the transaction is rolled back: a person may have voided a grant
    after a cycle read it.
    """
    known = _known_keys(connection, [transfer.key for transfer in transfers])
    fresh = [transfer for transfer in transfers if transfer.key not in known]
    if not fresh:
        return 0
    next_id = (connection.scalar(_NEWEST_ID) or 0) + 1
    newest_hashes = {cohort: _head(connection, cohort) for cohort in {t.cohort for t in fresh}}
    rows: list[tuple[object, ...]] = []
    entries: list[tuple[object, ...]] = []
    moved: dict[str, int] = defaultdict(int)
    for number, transfer in enumerate(fresh, next_id):
        fields = _fields(transfer, recorded_s, epoch, actor)
        sides = [(entry.account, entry.amount_ucr) for entry in transfer.entries]
        previous = newest_hashes[transfer.cohort]
        newest_hashes[transfer.cohort] = head = chain_hash(previous, fields, sides)
        rows.append((number, *fields.values(), previous, head))
        for position, (account, amount_ucr) in enumerate(sides):
            entries.append((number, position, account, amount_ucr))
            moved[account] += amount_ucr
    _append(connection, TRANSFER, ("id", *HASHED, "previous_hash", "hash"), rows)
    _append(connection, ENTRY, ("transfer_id", "position", "account", "amount_ucr"), entries)
    _update_balances(connection, moved)
    return len(fresh)


def _append(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: list[tuple[object, ...]]
) -> None:
    """Insert rows through the driver, because naming parameters took half of a large batch."""
    statement = _insert_text(table, columns, connection.dialect)
    if statement is None:
        connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])
        return
    connection.exec_driver_sql(statement, rows)


@cache
def _insert_text(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str | None:
    """The INSERT as the driver reads it, built once. None if it takes no values by place."""
    statement = table.insert().compile(dialect=dialect, column_keys=list(columns))
    if statement.positiontup is None:
        return None
    assert tuple(statement.positiontup) == columns, "rows are in the order of the statement"
    return str(statement)


def _fields(transfer: Transfer, recorded_s: int, epoch: int, actor: str) -> dict[str, object]:
    """The fields that the hash of a transfer covers, beside its entries."""
    of = (transfer.key, transfer.kind, transfer.cohort, transfer.startup, transfer.at_s)
    detail = canonical_json(dict(transfer.detail))
    values = (*of, recorded_s, epoch, actor, transfer.reason, detail)
    return dict(zip(HASHED, values, strict=True))


_KNOWN = select(TRANSFER.c.key).where(TRANSFER.c.key.in_(bindparam("keys", expanding=True)))


def _known_keys(connection: Connection, keys: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for batch in _batches(keys):
        known |= set(connection.scalars(_KNOWN, {"keys": batch}))
    return known


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[at : at + BATCH_KEYS] for at in range(0, len(values), BATCH_KEYS))


_HEAD = select(TRANSFER.c.hash).where(TRANSFER.c.cohort == bindparam("of"))
_HEAD = _HEAD.order_by(TRANSFER.c.id.desc()).limit(1)


def _head(connection: Connection, cohort: str) -> str:
    return connection.scalar(_HEAD, {"of": cohort}) or GENESIS


def _update_balances(connection: Connection, moved: Mapping[str, int]) -> None:
    stood = _balances(connection, sorted(moved))
    after = {account: stood.get(account, 0) + ucr for account, ucr in sorted(moved.items())}
    for account, amount_ucr in after.items():
        # SQLite would silently turn such a sum into a float.
        if abs(amount_ucr) > LARGEST_INT64:
            raise Refused(f"{account} would pass 2^63 micro-credits; move a smaller amount")
    _refuse_overdrawn({a: ucr for a, ucr in after.items() if moved[a] < 0})
    added = [{"account": account, "amount_ucr": ucr} for account, ucr in sorted(moved.items())]
    insert_rows(connection, BALANCE, added, "add")


_BALANCES_OF = select(BALANCE.c.account, BALANCE.c.amount_ucr).where(
    BALANCE.c.account.in_(bindparam("accounts", expanding=True))
)


def _balances(connection: Connection, accounts: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for batch in _batches(accounts):
        found |= connection.execute(_BALANCES_OF, {"accounts": batch}).all()
    return found


def _refuse_overdrawn(lowered: Mapping[str, int]) -> None:
    for account, amount_ucr in lowered.items():
        if amount_ucr < 0 and not account.startswith(OVERDRAWABLE):
            raise StaleBalance(f"{account} would fall below zero")


def rebuild_balances(connection: Connection) -> None:
    """Drop the projection and build it again from the entries. No answer changes."""
    connection.execute(BALANCE.delete())
    sums = select(ENTRY.c.account, func.sum(ENTRY.c.amount_ucr)).group_by(ENTRY.c.account)
    connection.execute(BALANCE.insert().from_select(["account", "amount_ucr"], sums))

"""Reads of holds, and the row of a hold that ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from quotas.book.schema.tables import ENTRY, HOLD, TRANSFER
from quotas.ledger.holds import ENDED_BY, HOLDS, Hold, HoldEnding, HoldState
from quotas.ledger.transfers import Entry, Transfer

_PLACED = TRANSFER.c.key == "hold:" + HOLD.c.startup + ":" + HOLD.c.id
_HOLDS = (
    select(HOLD, ENTRY.c.account, ENTRY.c.amount_ucr.label("moved_ucr"))
    .join(TRANSFER, _PLACED)
    .join(ENTRY, ENTRY.c.transfer_id == TRANSFER.c.id)
    .where(ENTRY.c.amount_ucr < 0)
    .order_by(HOLD.c.id, ENTRY.c.position)
)
_OPEN_HOLDS = _HOLDS.where(HOLD.c.state == HoldState.OPEN)


def read_holds(connection: Connection, hold_id: str | None = None) -> tuple[Hold, ...]:
    """The open holds, or one hold in any state, with the accounts that they were drawn from."""
    query = _OPEN_HOLDS if hold_id is None else _HOLDS.where(HOLD.c.id == hold_id)
    rows, draws = {}, defaultdict(list)
    for row in connection.execute(query):
        rows[row.id] = row
        draws[row.id].append(Entry(row.account, -row.moved_ucr))
    return tuple(
        Hold(id, row.startup, row.cohort, row.placed_s, row.expires_s, tuple(draws[id]))
        for id, row in rows.items()
    )


def list_holds(connection: Connection, startup: str | None = None) -> list[Mapping[str, Any]]:
    """Every hold ever placed, or those of one startup, the oldest first."""
    query = select(HOLD).order_by(HOLD.c.placed_s, HOLD.c.id)
    if startup is not None:
        query = query.where(HOLD.c.startup == startup)
    return [dict(row) for row in connection.execute(query).mappings()]


def close_holds(connection: Connection, transfers: Iterable[Transfer]) -> None:
    """End the rows of the holds that these transfers end, if they are still open."""
    for transfer in transfers:
        if transfer.kind not in set(HoldEnding):
            continue
        settled = [e.amount_ucr for e in transfer.entries if e.account.startswith("settled:")]
        state = ENDED_BY[HoldEnding(transfer.kind)]
        may_end = HOLD.c.state.in_(HOLDS.before(state))
        ended = update(HOLD).where(HOLD.c.id == transfer.detail["hold"], may_end)
        values = {"state": state, "ended_s": transfer.at_s}
        connection.execute(ended.values(**values, settled_ucr=sum(settled)))

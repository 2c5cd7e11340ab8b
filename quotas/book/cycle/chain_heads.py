"""Chain heads: each chain at the first cycle of a UTC day, kept once and never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, func, select

from quotas.book.rows import columns_of, execute_rows, read_values
from quotas.book.schema.tables import CHAIN_HEAD, ENTRY, TRANSFER
from quotas.ledger.chain_heads import ChainHead
from quotas.ledger.recorded import PostedTransfer
from quotas.model.units import format_instant

_HEADS = select(*columns_of(CHAIN_HEAD, ChainHead))
_NEWEST_DAY = select(func.max(CHAIN_HEAD.c.day))


def record_chain_heads(connection: Connection, now_s: int) -> tuple[ChainHead, ...]:
    """Keep every cohort's head, unless the day has them already; returns those kept."""
    day = format_instant(now_s)[:10]
    newest = connection.scalar(_NEWEST_DAY)
    if newest is not None and day <= newest:
        return ()
    cohorts = connection.scalars(select(TRANSFER.c.cohort).distinct()).all()
    chain_heads = tuple(_head(connection, day, cohort) for cohort in sorted(cohorts))
    execute_rows(connection, CHAIN_HEAD.insert(), map(asdict, chain_heads))
    return chain_heads


def read_chain_heads(connection: Connection) -> tuple[ChainHead, ...]:
    """Every head that was kept, in the order of the transfers that they name."""
    order = _HEADS.order_by(CHAIN_HEAD.c.transfer_id, CHAIN_HEAD.c.day)
    return read_values(connection, ChainHead, order)


def _head(connection: Connection, day: str, cohort: str) -> ChainHead:
    """The head now: the counts of the last one, and the transfers posted since."""
    mine = TRANSFER.c.cohort == cohort
    last = _HEADS.where(CHAIN_HEAD.c.cohort == cohort).order_by(CHAIN_HEAD.c.day.desc()).limit(1)
    (before,) = read_values(connection, ChainHead, last) or (ChainHead("", cohort, 0, 0, 0, ""),)
    since = (mine, TRANSFER.c.id > before.transfer_id)
    count = connection.scalar(select(func.count()).select_from(TRANSFER).where(*since)) or 0
    sides = select(func.sum(ENTRY.c.amount_ucr)).join(TRANSFER).where(*since)
    moved = connection.scalar(sides.where(ENTRY.c.amount_ucr > 0)) or 0
    newest = select(TRANSFER.c.id, TRANSFER.c.hash).where(mine).order_by(TRANSFER.c.id.desc())
    row = connection.execute(newest.limit(1)).one()
    total_ucr = before.moved_ucr + int(moved)
    return ChainHead(day, cohort, row.id, before.transfers + count, total_ucr, row.hash)


class ChainHeadAudit:
    """Checks that the chains pass through every head that was kept or is expected."""

    def __init__(self, chain_heads: Iterable[ChainHead], expected: Iterable[str]) -> None:
        self._recorded = list(chain_heads)[::-1]
        self._expected = set(expected)
        self._transfers: dict[str, int] = defaultdict(int)
        self._moved_ucr: dict[str, int] = defaultdict(int)

    def fault(self, posted: PostedTransfer) -> str | None:
        """The kept head that a transfer contradicts, or None."""
        cohort = posted.cohort
        self._transfers[cohort] += 1
        for _, amount_ucr in posted.entries:
            if amount_ucr > 0:
                self._moved_ucr[cohort] += amount_ucr
        self._expected.discard(posted.hash)
        while self._recorded and self._recorded[-1].transfer_id == posted.id:
            head = self._recorded.pop()
            found = (cohort, posted.hash, self._transfers[cohort], self._moved_ucr[cohort])
            if found != (head.cohort, head.hash, head.transfers, head.moved_ucr):
                return f"is not what the head of {head.cohort} of {head.day} says"
        return None

    def missing(self) -> str | None:
        """A head that no transfer has, once all were read."""
        if self._recorded:
            head = self._recorded[-1]
            return (
                f"the head of {head.cohort} of {head.day} names transfer {head.transfer_id}, "
                "which is not there: the newest transfers were taken away"
            )
        if self._expected:
            return f"the head {min(self._expected)} is in no chain of this book"
        return None

"""Chain heads: each chain at the first cycle of a UTC day, kept once and never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, func, select

from quotas.book.schema.tables import CHAIN_HEAD, ENTRY, TRANSFER
from quotas.ledger.chain_heads import ChainHead
from quotas.ledger.recorded import PostedTransfer
from quotas.model.units import format_instant

_NEWEST_DAY = select(func.max(CHAIN_HEAD.c.day))


def record_chain_heads(connection: Connection, now_s: int) -> tuple[ChainHead, ...]:
    """Keep every cohort's head, unless the day has them already; returns those kept."""
    day = format_instant(now_s)[:10]
    newest = connection.scalar(_NEWEST_DAY)
    if newest is not None and day <= newest:
        return ()
    cohorts = connection.scalars(select(TRANSFER.c.cohort).distinct()).all()
    chain_heads = tuple(_head(connection, day, cohort) for cohort in sorted(cohorts))
    if chain_heads:
        connection.execute(CHAIN_HEAD.insert(), [asdict(head) for head in chain_heads])
    return chain_heads


def read_chain_heads(connection: Connection) -> list[ChainHead]:
    """Every head that was kept, in the order of the transfers that they name."""
    rows = connection.execute(
        select(CHAIN_HEAD).order_by(CHAIN_HEAD.c.transfer_id, CHAIN_HEAD.c.day)
    )
    return [ChainHead(**row) for row in rows.mappings()]


def _head(connection: Connection, day: str, cohort: str) -> ChainHead:
    """The head now: what the last one counted, and what was posted since."""
    mine = TRANSFER.c.cohort == cohort
    last = (
        select(CHAIN_HEAD)
        .where(CHAIN_HEAD.c.cohort == cohort)
        .order_by(CHAIN_HEAD.c.day.desc())
        .limit(1)
    )
    before = connection.execute(last).one_or_none()
    after_id, counted, moved_ucr = (
        (before.transfer_id, before.transfers, before.moved_ucr) if before else (0, 0, 0)
    )
    since = (mine, TRANSFER.c.id > after_id)
    count = connection.scalar(select(func.count()).select_from(TRANSFER).where(*since)) or 0
    sides = select(func.sum(ENTRY.c.amount_ucr)).join(TRANSFER).where(*since)
    moved = connection.scalar(sides.where(ENTRY.c.amount_ucr > 0)) or 0
    newest = select(TRANSFER.c.id, TRANSFER.c.hash).where(mine).order_by(TRANSFER.c.id.desc())
    row = connection.execute(newest.limit(1)).one()
    return ChainHead(day, cohort, row.id, counted + count, moved_ucr + int(moved), row.hash)


class ChainHeadAudit:
    """Whether the chains, as they are read, pass through every head that was kept or given."""

    def __init__(self, chain_heads: Iterable[ChainHead], expected: Iterable[str]) -> None:
        self._recorded = list(chain_heads)[::-1]
        self._expected = set(expected)
        self._transfers: dict[str, int] = defaultdict(int)
        self._moved_ucr: dict[str, int] = defaultdict(int)

    def fault(self, posted: PostedTransfer) -> str | None:
        """The kept head that a transfer belies, or None."""
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

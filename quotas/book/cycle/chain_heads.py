"""Where did each chain stand at the first cycle of each UTC day? Kept once, never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, func, select

from quotas.book.schema import ENTRY, HEAD, TRANSFER
from quotas.ledger.chain_heads import Head
from quotas.ledger.recorded import Posted
from quotas.model.units import format_instant

_NEWEST_DAY = select(func.max(HEAD.c.day))


def keep_heads(connection: Connection, now_s: int) -> tuple[Head, ...]:
    """Keep every cohort's head, unless the day has them already; returns those kept."""
    day = format_instant(now_s)[:10]
    newest = connection.scalar(_NEWEST_DAY)
    if newest is not None and day <= newest:
        return ()
    cohorts = connection.scalars(select(TRANSFER.c.cohort).distinct()).all()
    heads = tuple(_head(connection, day, cohort) for cohort in sorted(cohorts))
    if heads:
        connection.execute(HEAD.insert(), [asdict(head) for head in heads])
    return heads


def read_heads(connection: Connection) -> list[Head]:
    """Every head that was kept, in the order of the transfers that they name."""
    rows = connection.execute(select(HEAD).order_by(HEAD.c.transfer_id, HEAD.c.day))
    return [Head(**row) for row in rows.mappings()]


def _head(connection: Connection, day: str, cohort: str) -> Head:
    """The head now: what the last one counted, and what was posted since."""
    mine = TRANSFER.c.cohort == cohort
    last = select(HEAD).where(HEAD.c.cohort == cohort).order_by(HEAD.c.day.desc()).limit(1)
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
    return Head(day, cohort, row.id, counted + count, moved_ucr + int(moved), row.hash)


class HeadAudit:
    """Whether the chains, as they are read, pass through every head that was kept or given."""

    def __init__(self, heads: Iterable[Head], given: Iterable[str]) -> None:
        self._kept = list(heads)[::-1]
        self._given = set(given)
        self._transfers: dict[str, int] = defaultdict(int)
        self._moved_ucr: dict[str, int] = defaultdict(int)

    def fault(self, posted: Posted) -> str | None:
        """The kept head that a transfer belies, or None."""
        cohort = posted.cohort
        self._transfers[cohort] += 1
        for _, amount_ucr in posted.entries:
            if amount_ucr > 0:
                self._moved_ucr[cohort] += amount_ucr
        self._given.discard(posted.hash)
        while self._kept and self._kept[-1].transfer_id == posted.id:
            head = self._kept.pop()
            found = (cohort, posted.hash, self._transfers[cohort], self._moved_ucr[cohort])
            if found != (head.cohort, head.hash, head.transfers, head.moved_ucr):
                return f"is not what the head of {head.cohort} of {head.day} says"
        return None

    def missing(self) -> str | None:
        """A head that no transfer has, once all were read."""
        if self._kept:
            head = self._kept[-1]
            return (
                f"the head of {head.cohort} of {head.day} names transfer {head.transfer_id}, "
                "which is not there: the newest transfers were taken away"
            )
        if self._given:
            return f"the head {min(self._given)} is in no chain of this book"
        return None

"""The lease: one row with a holder, an epoch and an end. Every write of a cycle checks it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, select
from sqlmodel import Session

from quotas.book.schema.records import LeaseRow
from quotas.book.schema.tables import LEASE
from quotas.book.session import Book, rows_of

NAME = "cycle"
MAX_LEASE_S = 300
"""The longest lease. A lease that stays unchanged for longer has no living holder."""


class StaleEpoch(Exception):
    """Another daemon leads now: nothing of this cycle may be written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership of `holder` under `epoch` until `expires_s`.

    `ends_s` is that end by the holder's monotonic clock, or None if the holder did not note it.
    """

    holder: str
    epoch: int
    expires_s: int
    ends_s: int | None = field(default=None, compare=False)

    def left_s(self, now_s: int, monotonic_s: int) -> int:
        """Seconds that are left by both clocks of its holder; negative once it has ended."""
        left_s = self.expires_s - now_s
        return left_s if self.ends_s is None else min(left_s, self.ends_s - monotonic_s)


_EPOCH = select(LEASE.c.epoch).where(LEASE.c.name == NAME)


def acquire(
    book: Book, holder: str, now_s: int, length_s: int, expired_lease: Lease | None = None
) -> Lease | None:
    """Take or renew the lease; None while another holder's has not run out.

    `expired_lease` was unchanged for longer than MAX_LEASE_S: if the book still has it, it
    counts as run out, whatever its end. The epoch rises by one whenever the holder changes, or
    its own lease had run out.
    """
    assert length_s <= MAX_LEASE_S, f"no lease of {length_s} s: others wait {MAX_LEASE_S} s"
    with book.writing() as connection, rows_of(connection) as rows:
        row = rows.get(LeaseRow, NAME)
        if row is None:
            return _take(rows, Lease(holder, 1, now_s + length_s))
        has_ended = row.expires_s <= now_s
        if row.holder != holder and not has_ended and _lease(row) != expired_lease:
            return None
        renewed = row.holder == holder and not has_ended
        # After a step back of the clock the end is earlier; others still see the lease renewed.
        epoch = row.epoch if renewed else row.epoch + 1
        return _take(rows, Lease(holder, epoch, now_s + length_s))


def current_lease(book: Book) -> Lease | None:
    """The lease in the book, whether it has run out or not; None before the first."""
    with book.reading() as connection, rows_of(connection) as rows:
        row = rows.get(LeaseRow, NAME)
        return None if row is None else _lease(row)


def seize(book: Book, holder: str, now_s: int, length_s: int) -> Lease:
    """Take the lease whoever holds it: an operator's command when the daemon may be dead.

    The book then refuses everything that a living daemon would write under its older epoch.
    """
    with book.writing() as connection, rows_of(connection) as rows:
        row = rows.get(LeaseRow, NAME)
        return _take(rows, Lease(holder, row.epoch + 1 if row else 1, now_s + length_s))


def fence(connection: Connection, lease: Lease) -> None:
    """Refuse to write under an epoch that is no longer the newest. Raises StaleEpoch."""
    epoch = connection.scalar(_EPOCH)
    if epoch != lease.epoch:
        raise StaleEpoch(f"epoch {lease.epoch} was superseded by {epoch}")


def release(book: Book, lease: Lease) -> None:
    """Let another take over at once, if we still lead."""
    with book.writing() as connection, rows_of(connection) as rows:
        row = rows.get(LeaseRow, NAME)
        if row is not None and row.epoch == lease.epoch:
            row.expires_s = 0


def _lease(row: LeaseRow) -> Lease:
    return Lease(row.holder, row.epoch, row.expires_s)


def _take(rows: Session, lease: Lease) -> Lease:
    epoch, expires_s = lease.epoch, lease.expires_s
    rows.merge(LeaseRow(name=NAME, holder=lease.holder, epoch=epoch, expires_s=expires_s))
    return lease

"""Who leads? One row with a holder, an epoch and an end; every write of a cycle checks it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from quotas.book.session import Book
from quotas.tables import LEASE

NAME = "cycle"


class StaleEpoch(Exception):
    """Another daemon leads now: nothing of this cycle may be written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership of `holder` under `epoch` until `expires_s`."""

    holder: str
    epoch: int
    expires_s: int


_ROW = select(LEASE.c.holder, LEASE.c.epoch, LEASE.c.expires_s).where(LEASE.c.name == NAME)
_EPOCH = select(LEASE.c.epoch).where(LEASE.c.name == NAME)
_RENEW = (
    update(LEASE)
    .where(LEASE.c.name == NAME)
    .values(holder=bindparam("by"), epoch=bindparam("under_epoch"), expires_s=bindparam("until_s"))
)


def acquire(book: Book, holder: str, now_s: int, length_s: int) -> Lease | None:
    """Take or renew the lease; None while another holder's has not run out.

    The epoch rises by one whenever the holder changes, or its own lease had run out.
    """
    with book.writing() as connection:
        row = connection.execute(_ROW).one_or_none()
        if row is None:
            lease = Lease(holder, 1, now_s + length_s)
            values = {"holder": holder, "epoch": 1, "expires_s": lease.expires_s}
            connection.execute(LEASE.insert().values(name=NAME, **values))
            return lease
        if row.holder != holder and row.expires_s > now_s:
            return None
        renewed = row.holder == holder and row.expires_s > now_s
        epoch = row.epoch if renewed else row.epoch + 1
        # A clock that stepped back must not shorten what was promised to us.
        lease = Lease(holder, epoch, max(row.expires_s if renewed else 0, now_s + length_s))
        taken = {"by": holder, "under_epoch": epoch, "until_s": lease.expires_s}
        connection.execute(_RENEW, taken)
        return lease


def seize(book: Book, holder: str, now_s: int, length_s: int) -> Lease:
    """Take the lease whoever holds it: an operator's command when the daemon may be dead.

    Whatever a living daemon still meant to write under its epoch is refused.
    """
    with book.writing() as connection:
        epoch = connection.scalar(_EPOCH) or 0
        lease = Lease(holder, epoch + 1, now_s + length_s)
        values = {"holder": holder, "epoch": lease.epoch, "expires_s": lease.expires_s}
        if epoch:
            connection.execute(update(LEASE).where(LEASE.c.name == NAME).values(**values))
        else:
            connection.execute(LEASE.insert().values(name=NAME, **values))
        return lease


def fence(connection: Connection, lease: Lease) -> None:
    """Refuse to write under an epoch that is no longer the newest. Raises StaleEpoch."""
    epoch = connection.scalar(_EPOCH)
    if epoch != lease.epoch:
        raise StaleEpoch(f"epoch {lease.epoch} was superseded by {epoch}")


def release(book: Book, lease: Lease) -> None:
    """Let another take over at once, if we still lead."""
    with book.writing() as connection:
        connection.execute(
            update(LEASE)
            .where(LEASE.c.name == NAME, LEASE.c.epoch == lease.epoch)
            .values(expires_s=0)
        )

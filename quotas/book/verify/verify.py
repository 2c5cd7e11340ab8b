"""Verify the book: check every invariant that its rows alone can show.

Theory of operation. One pass reads the transfers in the order of writing. It recomputes the
hash chain, the balances and the content of every transfer, and returns the first fault as one
sentence. Charges and holds are recomputed here. Refunds, corrections and price differences
are recomputed by the functions of `quotas.ledger`, from charges as the book has them; the
auditors of the simulation do not use those. After the pass the whole book is compared with
its tables of holds, balances, statements and chain heads, and every stop with its notice.
Memory grows with the number of accounts, servers, grants and refunds, not of transfers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.exc import DatabaseError

from quotas.book.cycle.chain_heads import ChainHeadAudit, read_chain_heads
from quotas.book.reads.statements import StatementAudit
from quotas.book.reads.transfers import newest_transfer_id, stream_transfers
from quotas.book.schema.tables import BALANCE, ENTRY, TRANSFER
from quotas.book.session import Book
from quotas.book.transfers import GENESIS, OVERDRAWABLE, chain_hash
from quotas.book.verify.charges import ChargeAudit
from quotas.book.verify.expiries import EXPIRY_KINDS, ExpiryAudit
from quotas.book.verify.holds import HOLD_KINDS, HoldAudit
from quotas.book.verify.notices import notice_fault
from quotas.book.verify.price_differences import DifferenceAudit
from quotas.book.verify.refunds import RefundAudit
from quotas.ledger.recorded import PostedTransfer

PROGRESS_EVERY = 2_000
LARGEST_UCR = 2**63 - 1
NO_DETAIL: Mapping[str, Any] = {}
AMENDING_KINDS = frozenset({"refund", "correction"})
KINDS_WITH_DETAIL = (
    AMENDING_KINDS | HOLD_KINDS | {"charge", "difference", "void", "transfer", "advance"}
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much was checked, the newest hash of each cohort, and the first fault or None."""

    transfers: int
    chain_heads: dict[str, str]
    fault: str | None


def verify(
    book: Book,
    progress: Callable[[int], None] = lambda _: None,
    expected_heads: Collection[str] = (),
) -> Verdict:
    """Check everything. The chains must pass through the hashes in `expected_heads`.

    `progress` is called with the number of transfers checked so far.
    """
    with book.reading() as connection:
        audit: _Audit | None = None
        try:
            audit = _Audit(connection, expected_heads)
            fault = _first_fault(connection, audit, progress)
        except DatabaseError as error:
            if error.connection_invalidated:
                raise  # the server went away, which is no fault of the book
            connection.rollback()
            fault = _unreadable(connection, audit.count if audit else 0, error)
        return Verdict(audit.count, audit.chain_heads, fault) if audit else Verdict(0, {}, fault)


def _first_fault(
    connection: Connection, audit: _Audit, progress: Callable[[int], None]
) -> str | None:
    """The first fault of a transfer, else of the whole book. Raises if a row cannot be read."""
    for posted in stream_transfers(connection, until_id=newest_transfer_id(connection)):
        fault = audit.transfer(posted)
        if fault:
            return f"transfer {posted.id} ({posted.key}): {fault}"
        if audit.count % PROGRESS_EVERY == 0:
            progress(audit.count)
    fault = audit.whole_book(connection) or notice_fault(connection)
    progress(audit.count)
    return fault


class _Audit:
    """The audits of all kinds of transfers, with the sums of the accounts so far."""

    def __init__(self, connection: Connection, expected_heads: Collection[str]) -> None:
        self._charges = ChargeAudit(connection)
        self._refunds = RefundAudit(connection)
        self._differences = DifferenceAudit(connection, self._refunds)
        self._holds = HoldAudit(self._charges.terms)
        self._statements = StatementAudit(connection)
        self._chain_heads = ChainHeadAudit(read_chain_heads(connection), expected_heads)
        self.chain_heads: dict[str, str] = {}
        self._sums: dict[str, int] = defaultdict(int)
        self._ends = ExpiryAudit(connection, self._sums)
        self._entries = 0
        self._epoch = 0
        self.count = 0

    def transfer(self, posted: PostedTransfer) -> str | None:
        """The first thing that is wrong with a transfer, or None."""
        try:
            fault = self._chain(posted) or self._moves(posted) or self._content(posted)
        except (KeyError, TypeError, ValueError):
            return "holds values that no transfer has"
        if fault is None:
            self.count += 1
        return fault

    def _chain(self, posted: PostedTransfer) -> str | None:
        if posted.id != self.count + 1:
            return f"breaks the chain: it follows transfer {self.count}, and some are missing"
        if posted.previous_hash != self.chain_heads.get(posted.cohort, GENESIS):
            return "does not follow its predecessor in the chain"
        if posted.hash != chain_hash(posted.previous_hash, posted.fields, posted.entries):
            return "its content does not match its hash"
        if posted.epoch and posted.epoch < self._epoch:
            return f"was written under epoch {posted.epoch}, after epoch {self._epoch}"
        self._epoch = max(self._epoch, posted.epoch)
        self.chain_heads[posted.cohort] = posted.hash
        return self._chain_heads.fault(posted)

    def _moves(self, posted: PostedTransfer) -> str | None:
        total = 0
        for account, amount_ucr in posted.entries:
            total += amount_ucr
            self._sums[account] = stands = self._sums[account] + amount_ucr
            if stands < 0 and not account.startswith(OVERDRAWABLE):
                return f"overdraws {account}"
            if not -LARGEST_UCR <= stands <= LARGEST_UCR:
                return f"brings {account} past 2^63 micro-credits"
        self._entries += len(posted.entries)
        return "its entries do not sum to zero" if total or not posted.entries else None

    def _content(self, posted: PostedTransfer) -> str | None:
        detail = posted.details if posted.kind in KINDS_WITH_DETAIL else NO_DETAIL
        found: str | None = None
        if posted.kind == "charge":
            found = self._charges.fault(posted, detail)
            self._differences.remember(posted, detail)
        elif posted.kind == "difference":
            found = self._differences.fault(posted, detail)
        elif posted.kind in AMENDING_KINDS:
            found = self._refunds.fault(posted)
        elif posted.kind in HOLD_KINDS:
            found = self._holds.fault(posted, detail)
        elif posted.kind in EXPIRY_KINDS:
            found = self._ends.fault(posted)
        return found or self._statements.fault(posted, detail)

    def whole_book(self, connection: Connection) -> str | None:
        """The first fault of the whole book, if every transfer is right."""
        return (
            self._chain_heads.missing()
            or self._statements.missing(self.count)
            or self._holds.missing(connection)
            or self._balances(connection)
            or _duplicate_key(connection)
            or self._entries_fault(connection)
        )

    def _balances(self, connection: Connection) -> str | None:
        projected = {r.account: r.amount_ucr for r in connection.execute(select(BALANCE))}
        for account in sorted(projected.keys() | self._sums.keys()):
            if projected.get(account, 0) != self._sums.get(account, 0):
                return (
                    f"balance of {account} is {projected.get(account, 0)} ucr, its entries "
                    f"sum to {self._sums.get(account, 0)}"
                )
        return None if sum(self._sums.values()) == 0 else "all accounts do not sum to zero"

    def _entries_fault(self, connection: Connection) -> str | None:
        """The first entry without a transfer, or with a wrong position."""
        places = select(ENTRY.c.transfer_id).group_by(ENTRY.c.transfer_id)
        last, count = func.max(ENTRY.c.position), func.count()
        wrong = or_(func.min(ENTRY.c.position) != 0, last != count - 1)
        misplaced = connection.scalar(places.having(wrong).limit(1))
        if misplaced is not None:
            return f"transfer {misplaced}: its entries are not numbered from 0 on"
        found = connection.scalar(select(func.count()).select_from(ENTRY))
        return None if found == self._entries else "there are entries of no transfer"


def _duplicate_key(connection: Connection) -> str | None:
    twice = select(TRANSFER.c.key).group_by(TRANSFER.c.key).having(func.count() > 1)
    key = connection.scalar(twice.limit(1))
    return None if key is None else f"the key {key} is used twice"


def _unreadable(connection: Connection, after_id: int, found: DatabaseError) -> str:
    """The transfer that the database cannot read, or else its error about the rest."""
    last_id = after_id
    try:
        for posted in stream_transfers(
            connection, until_id=newest_transfer_id(connection), after_id=after_id, at_once=1
        ):
            last_id = posted.id
    except DatabaseError as error:
        connection.rollback()
        return f"transfer {last_id + 1} cannot be read: {error.orig}"
    return f"what belongs to the transfers cannot be read: {found.orig}"

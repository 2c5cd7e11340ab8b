"""Is the book true to itself? Every invariant that can be checked from its rows alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from quotas.book.returns import RefundAudit
from quotas.book.session import Book
from quotas.book.transfers import GENESIS, OVERDRAWABLE, link
from quotas.tables import BALANCE, ENTRY, INTENT, NOTICE, TRANSFER
from quotas.units import Period, cost_ucr

FIELDS = (
    "key",
    "kind",
    "cohort",
    "startup",
    "at_s",
    "recorded_s",
    "epoch",
    "actor",
    "reason",
    "detail",
)
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much was checked, the newest hash of each cohort, and the first fault or None."""

    transfers: int
    heads: dict[str, str]
    fault: str | None


def verify(book: Book, progress: Callable[[int], None] = lambda _: None) -> Verdict:
    """Check the chain, the sums, each charge's price and place, each refund, each stop's notice.

    `progress` hears the number of transfers checked so far. Memory grows with the
    number of accounts, servers and refunds, not with that of transfers.
    """
    with book.reading() as connection:
        audit = _Audit(connection)
        fault = None
        for number, (row, entries) in enumerate(_transfers(connection), 1):
            fault = audit.transfer(row, entries)
            if fault:
                return Verdict(number, audit.heads, f"transfer {row.id} ({row.key}): {fault}")
            if number % ROWS_AT_ONCE == 0:
                progress(number)
        fault = audit.balances(connection) or _stops(connection)
        progress(audit.count)
        return Verdict(audit.count, audit.heads, fault)


class _Audit:
    """Sums as they grow, transfer by transfer."""

    def __init__(self, connection: Connection) -> None:
        self.refunds = RefundAudit(connection)
        self.heads: dict[str, str] = {}
        self.sums: dict[str, int] = defaultdict(int)
        self.charged_until: dict[str, int] = {}
        self.busy_until: dict[str, int] = {}
        self.epoch = 0
        self.count = 0

    def transfer(self, row: Row[Any], entries: list[tuple[str, int]]) -> str | None:
        """The first thing that is wrong with a transfer, or None."""
        fields = {name: getattr(row, name) for name in FIELDS}
        if row.previous_hash != self.heads.get(row.cohort, GENESIS):
            return "does not follow its predecessor in the chain"
        if row.hash != link(row.previous_hash, fields, entries):
            return "its content does not match its hash"
        if sum(amount for _, amount in entries) != 0 or not entries:
            return "its entries do not sum to zero"
        if row.epoch and row.epoch < self.epoch:
            return f"was written under epoch {row.epoch}, after epoch {self.epoch}"
        self.heads[row.cohort] = row.hash
        self.epoch = max(self.epoch, row.epoch)
        self.count += 1
        for account, amount_ucr in entries:
            self.sums[account] += amount_ucr
            if self.sums[account] < 0 and not account.startswith(OVERDRAWABLE):
                return f"overdraws {account}"
        if row.kind == "refund":
            return self.refunds.fault(row, entries)
        return self._charge(row, entries) if row.kind == "charge" else None

    def _charge(self, row: Row[Any], entries: list[tuple[str, int]]) -> str | None:
        detail = json.loads(row.detail)
        period = Period(detail["start_s"], detail["end_s"])
        server, run = detail["server"], detail["run"]
        cost = cost_ucr(detail["rate_ucr_per_h"], detail["run_start_s"], period)
        if cost != entries[-1][1]:
            return f"charges {entries[-1][1]} ucr where {cost} were due"
        if period.start_s < self.busy_until.get(server, period.start_s):
            return f"charges seconds of server {server} that are charged already"
        expected_s = self.charged_until.get(run, detail["run_start_s"])
        # A period that costs less than a micro-credit posts nothing: a short gap is right.
        if period.start_s != expected_s and cost_ucr(
            detail["rate_ucr_per_h"], detail["run_start_s"], Period(expected_s, period.start_s)
        ):
            return f"leaves a gap in run {run} from {expected_s} to {period.start_s}"
        self.busy_until[server] = self.charged_until[run] = period.end_s
        return None

    def balances(self, connection: Connection) -> str | None:
        """Whether the projection equals the sums, and all accounts together are zero."""
        projected = {r.account: r.amount_ucr for r in connection.execute(select(BALANCE))}
        for account in sorted(projected.keys() | self.sums.keys()):
            if projected.get(account, 0) != self.sums.get(account, 0):
                return (
                    f"balance of {account} is {projected.get(account, 0)} ucr, its entries "
                    f"sum to {self.sums.get(account, 0)}"
                )
        return None if sum(self.sums.values()) == 0 else "all accounts do not sum to zero"


def _transfers(connection: Connection) -> Iterator[tuple[Row[Any], list[tuple[str, int]]]]:
    """Every transfer with its entries in order, read in batches."""
    last_id = -1
    while True:
        query = select(TRANSFER).where(TRANSFER.c.id > last_id).order_by(TRANSFER.c.id)
        rows = connection.execute(query.limit(ROWS_AT_ONCE)).all()
        if not rows:
            return
        entries: dict[int, list[tuple[str, int]]] = defaultdict(list)
        between = ENTRY.c.transfer_id.between(rows[0].id, rows[-1].id)
        order = select(ENTRY).where(between).order_by(ENTRY.c.transfer_id, ENTRY.c.position)
        for entry in connection.execute(order):
            entries[entry.transfer_id].append((entry.account, entry.amount_ucr))
        for row in rows:
            yield row, entries[row.id]
        last_id = rows[-1].id


def _stops(connection: Connection) -> str | None:
    """Every intent was preceded by a notice whose deadline had passed."""
    joined = select(INTENT, NOTICE.c.deadline_s, NOTICE.c.mode, NOTICE.c.server_id.label("of"))
    joined = joined.join(NOTICE, NOTICE.c.id == INTENT.c.notice_id).order_by(INTENT.c.id)
    for row in connection.execute(joined):
        if row.mode != "enforce" or row.of != row.server_id:
            return f"intent {row.id} stops a server that its notice did not name in enforce mode"
        if row.decided_s < row.deadline_s:
            return f"intent {row.id} was decided before its notice's deadline"
    return None

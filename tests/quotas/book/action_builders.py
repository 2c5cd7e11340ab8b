"""A book with charges, operator actions, and a check that credits are conserved."""

from __future__ import annotations

from typing import Any

from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.actions.refunds import RefundCommand, TransferCommand
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.book.reads.audit import account_sums
from quotas.book.schema.tables import RUN
from quotas.book.session import Book
from quotas.book.transfers import post
from quotas.ledger.transfers import charge_transfer
from quotas.metering.runs import Run
from quotas.model.program import Program
from quotas.model.units import Period
from tests.builders import Z, a_grant, a_program, a_run, a_startup

NOW_S = 50_000


def an_action(command: Command, key: str | None = None, **changes: Any) -> OperatorAction:
    """A deed of an operator at NOW_S."""
    values: dict[str, Any] = {"reason": "because", "actor": "olga", "now_s": NOW_S, **changes}
    return OperatorAction(command, key=key, **values)


def the_program() -> Program:
    """Acme with two grants, the first of which ends early, and birch with none."""
    grants = (
        a_grant("g1", 10_000, expires_s=20_000),
        a_grant("g2", 5_000, effective_s=0),
    )
    return a_program(a_startup("acme", grants=grants), a_startup("birch"), starts_s=0)


def charge(book: Book, run: Run, period: Period) -> None:
    """Post a charge of a run as a cycle would."""
    grants = [grant for grant in load_state(book).grants if grant.startup == run.startup]
    transfer = charge_transfer("spring", run, period, grants)
    with book.writing() as connection:
        if transfer:
            post(connection, [transfer], recorded_s=period.end_s, epoch=1, actor="cohortd")


def a_book(book: Book | None = None, **changes: Any) -> Book:
    """10,800 s of s1 charged: all of g1, and 800 of g2; s1 ended then, unless changed."""
    book = book or Book.in_memory()
    apply_program(book, the_program(), 0, "tests")
    with book.writing() as connection:
        values = {f: getattr(a_run(), f) for f in a_run().__slots__}
        ended = {"posted_until_s": 10_800, "end_s": 10_800, **changes}
        connection.execute(RUN.insert().values(**{**values, **ended}))
    for hour in range(3):
        charge(book, a_run(), Period(hour * 3600, (hour + 1) * 3600))
    return book


def conserves(book: Book) -> bool:
    """granted + overdraft = charged + left + expired, from the entries themselves."""
    total: dict[str, int] = {}
    for account, ucr in account_sums(book).items():
        kind = account.partition(":")[0]
        total[kind] = total.get(kind, 0) + ucr
    given = -total.get("sponsor", 0) - total.get("overdraft", 0)
    return given == sum(total.get(kind, 0) for kind in ("usage", "grant", "expired"))


GRANT = GrantCommand("birch", "b1", 7_000)
VOID = VoidCommand("acme", "g2")
REFUND = RefundCommand(9_000, 10_800, server="s1")
OUTAGE = RefundCommand(9_000, 10_800, zone=Z)
TRANSFER = TransferCommand("acme", "birch", 4_000)
ORDERS: list[Command] = [GRANT, VOID, REFUND, OUTAGE, TRANSFER]

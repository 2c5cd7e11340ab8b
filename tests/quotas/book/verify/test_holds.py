"""I8: verify follows each hold from its placing to its one end, and to the table."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from quotas.book import Book
from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.holds import HoldCommand, SettleCommand, VoidHoldCommand
from quotas.book.transfers import post
from quotas.book.verify.verify import verify
from quotas.ledger.transfers import Entry, Transfer
from tests.builders import YEAR_S

from ..book_builders import filled, thaw

GRANT, HELD, SETTLED = "grant:acme:g1", "held:acme:h3", "settled:acme"
HOLD_ID = "h3"


def held(*orders: VoidHoldCommand | SettleCommand) -> Book:
    """A book in which acme set 50 ucr aside for 1000 s, and did something with it."""
    book = filled(Book.in_memory(), 1)
    for number, command in enumerate((HoldCommand("acme", 50, 1000), *orders)):
        answer = perform_action(book, OperatorAction(command, "r", "ann", 4000 + number))
        assert answer["hold"] == HOLD_ID
    return book


def moves(kind: str, at_s: int, *sides: tuple[str, int], hold: str = HOLD_ID) -> Transfer:
    """A transfer of a hold, as a forger would write it."""
    entries = tuple(Entry(*side) for side in sides)
    detail = {"hold": hold, "expires_s": YEAR_S}
    return Transfer(f"forged:{kind}:{at_s}", kind, "spring", "acme", at_s, entries, "", detail)


def fault_of(book: Book, *forged: Transfer) -> str:
    """What verify finds once these are in the book."""
    assert verify(book).fault is None
    with book.writing() as connection:
        post(connection, forged, recorded_s=5000, epoch=0, actor="forger")
    return verify(book).fault or ""


def test_every_way_to_end_is_right() -> None:
    """Settled in part, settled whole and voided: the audit agrees with the book."""
    for command in (SettleCommand(HOLD_ID, 20), SettleCommand(HOLD_ID), VoidHoldCommand(HOLD_ID)):
        assert verify(held(command)).fault is None


@pytest.mark.parametrize(
    ("forged", "fault"),
    [
        (moves("hold-void", 4001, (HELD, -50), (GRANT, 49), (SETTLED, 1)), "settles 1 ucr"),
        (moves("settle", 4001, (HELD, -20), (SETTLED, 20)), "does not return what hold h3 drew"),
        (moves("settle", 4001, (HELD, -50), (SETTLED, 20), ("sponsor:spring", 30)), "not return"),
        (moves("settle", 3999, (HELD, -50), (SETTLED, 50)), "at an instant at which"),
        (moves("hold-expiry", 4999, (HELD, -50), (GRANT, 50)), "at an instant at which"),
        (moves("settle", 4001, (HELD, -50), (SETTLED, 50), hold="h9"), "which was never placed"),
        (moves("hold", 4001, (GRANT, -9), (HELD, 9)), "placed before"),
        (moves("hold", 4001, (GRANT, -9), ("held:acme:h9", 9), hold="h8"), "is another's"),
        (moves("hold", -1, (GRANT, -9), ("held:acme:h9", 9), hold="h9"), "would outlive"),
        (
            moves("hold", 4001, ("sponsor:spring", -9), ("held:acme:h9", 9), hold="h9"),
            "which is no grant",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_forged_end_or_placing_is_found(forged: Transfer, fault: str) -> None:
    """However well its hashes fit: it is not what a hold may do."""
    assert fault in fault_of(held(), forged)


def test_a_second_end_is_found() -> None:
    """What ended once cannot end again, even with credits slipped into its account."""
    slipped = moves("manual", 4001, (GRANT, -50), (HELD, 50))
    again = moves("hold-void", 4002, (HELD, -50), (GRANT, 50))
    assert "which was settled already" in fault_of(held(SettleCommand(HOLD_ID)), slipped, again)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE hold SET state = 'voided'", "the hold h3 is not as its transfers say"),
        ("UPDATE hold SET settled_ucr = 21", "the hold h3 is not as its transfers say"),
        ("UPDATE hold SET amount_ucr = 51", "the hold h3 is not as its transfers say"),
        ("DELETE FROM hold", "the hold h3 is not in the table"),
    ],
)
def test_a_table_that_tells_otherwise_is_found(change: str, fault: str) -> None:
    """The transfers are the truth."""
    book = held(SettleCommand(HOLD_ID, 20))
    thaw(book)
    with book.writing() as connection:
        connection.execute(text(change))
    assert verify(book).fault == fault

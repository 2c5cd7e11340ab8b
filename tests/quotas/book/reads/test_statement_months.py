"""The month of each transfer: late joiners, back-dated transfers and tranches."""

from __future__ import annotations

from typing import Any

import pytest

from quotas.book.actions.advances import AdvanceCommand
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.cycle.commit import apply_program
from quotas.book.reads.statements import close_months, read_statement, read_statements
from quotas.book.session import Book
from quotas.book.verify.verify import verify
from quotas.model.program import Program, Tranche
from quotas.model.units import DAY_S, Period, month_start_s
from tests.builders import a_grant, a_program, a_run, a_startup

from ..action_builders import an_action, charge

JAN_S, FEB_S, MAR_S, APR_S = (month_start_s(0, n) for n in range(4))
CREDIT = 1_000_000
SOON_S = DAY_S
"""When most is done here: the second of January."""


def close(book: Book, until_s: int) -> int:
    """Close every month that is over; how many statements that is."""
    with book.writing() as connection:
        return close_months(connection, until_s, until_s)


def months(book: Book, startup: str, until_s: int = APR_S) -> list[dict[str, Any]]:
    """The statements of a startup, to the month of an instant."""
    with book.reading() as connection:
        return list(read_statements(connection, startup, until_s, None))


def closings(book: Book, startup: str = "acme") -> list[str]:
    """The closing balances from January on, to March."""
    return [month["closing"] for month in months(book, startup, MAR_S)]


def lines(book: Book, number: int, startup: str = "acme") -> list[tuple[str, str]]:
    """Kind and amount of each line of the n-th statement."""
    return [(x["kind"], x["amount"]) for x in months(book, startup)[number]["lines"]]


def acme_and(**birch: Any) -> Program:
    """A program of acme, with a credit, and of birch."""
    return a_program(a_startup("acme", grants=(a_grant(),)), a_startup("birch", **birch))


@pytest.mark.parametrize("how", ["by file", "by command"])
def test_what_a_late_startup_is_granted_from_the_start_is_a_late_line(how: str) -> None:
    """January and February are closed without it: its first statement is March's, and is right."""
    book = Book.in_memory()
    apply_program(book, acme_and(), 0, "tests")
    assert close(book, MAR_S) == 2
    if how == "by file":
        grant = a_grant("b1", 5 * CREDIT)
        apply_program(book, acme_and(grants=(grant,)), MAR_S + 2 * DAY_S, "tests")
    else:
        order = GrantCommand("birch", "b1", 5 * CREDIT, effective_s=JAN_S + 1)
        perform_action(book, an_action(order, now_s=MAR_S + 2 * DAY_S))
    (march,) = months(book, "birch", MAR_S)
    assert (march["month"], march["closed"], march["closing"]) == ("1970-03", None, "5.00")
    assert [line["late"] for line in march["lines"]] == [True]
    assert close(book, APR_S) == 2
    assert [month["month"] for month in months(book, "birch", MAR_S)] == ["1970-03"]
    assert closings(book, "birch") == ["5.00"]
    assert verify(book).fault is None


def test_what_ran_before_the_first_grant_is_a_late_line() -> None:
    """The first statement of all is that of the first grant's month, and has it."""
    book = Book.in_memory()
    later = a_grant(effective_s=FEB_S)
    apply_program(book, a_program(a_startup("acme", grants=(later,))), 0, "tests")
    charge(book, a_run(), Period(0, 3600))
    assert close(book, MAR_S) == 1
    (february,) = months(book, "acme", FEB_S)
    assert [line["late"] for line in february["lines"]] == [False, True]
    assert verify(book).fault is None


def test_each_closed_month_can_be_read() -> None:
    """The oldest, one in between and the open one are each found by name; none before or after."""
    book = Book.in_memory()
    apply_program(book, acme_and(), 0, "tests")
    close(book, MAR_S)
    with book.reading() as connection:
        for start_s, name in ((JAN_S, "1970-01"), (FEB_S, "1970-02"), (MAR_S, "1970-03")):
            found = read_statement(connection, "acme", start_s)
            assert found is not None and found["month"] == name
        assert read_statement(connection, "acme", month_start_s(0, -1)) is None
    assert [month["month"] for month in months(book, "acme", FEB_S)] == ["1970-01", "1970-02"]


def in_tranches(*starts_s: int) -> Book:
    """Acme has 100 credits from each of the instants on, and nothing was done yet."""
    tranches = tuple(Tranche(100 * CREDIT, start_s) for start_s in starts_s)
    grant = a_grant("t", len(starts_s) * 100 * CREDIT, tranches=tranches)
    book = Book.in_memory()
    apply_program(book, a_program(a_startup("acme", grants=(grant,))), 0, "tests")
    return book


def test_a_void_takes_from_each_tranche_when_it_would_begin() -> None:
    """Voided in January, the grant is worth nothing in any month, open or closed."""
    book = in_tranches(JAN_S, FEB_S, MAR_S)
    perform_action(book, an_action(VoidCommand("acme", "t"), now_s=SOON_S))
    assert closings(book) == ["0.00", "0.00", "0.00"]
    assert lines(book, 1) == [("grant", "100.00"), ("void", "-100.00")]
    close(book, APR_S)
    assert closings(book) == ["0.00", "0.00", "0.00"]
    assert verify(book).fault is None


def test_a_void_after_a_month_closed_leaves_that_month() -> None:
    """What is left of January's tranche counts when it was voided, in February."""
    book = in_tranches(JAN_S, FEB_S, MAR_S)
    close(book, FEB_S)
    perform_action(book, an_action(VoidCommand("acme", "t"), now_s=FEB_S + DAY_S))
    close(book, APR_S)
    assert closings(book) == ["100.00", "0.00", "0.00"]
    assert verify(book).fault is None


def test_an_advance_counts_at_once() -> None:
    """Half of February's tranche is January's credit, and February's tranche is the rest."""
    book = in_tranches(JAN_S, FEB_S)
    perform_action(book, an_action(AdvanceCommand("acme", "t", 50 * CREDIT), now_s=SOON_S))
    run = a_run(start_s=2 * DAY_S, rate_ucr_per_h=120 * CREDIT)
    charge(book, run, Period(2 * DAY_S, 2 * DAY_S + 3600))
    assert lines(book, 0) == [("grant", "100.00"), ("advance", "50.00"), ("charge", "-120.00")]
    assert closings(book) == ["30.00", "80.00", "80.00"]
    close(book, MAR_S)
    assert closings(book) == ["30.00", "80.00", "80.00"]
    assert verify(book).fault is None

"""The balances are a projection: rebuilt from transfers, they are the same (I20)."""

from __future__ import annotations

import pytest

from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import read_grants, read_startup_grants
from quotas.book.schema.tables import BALANCE
from quotas.book.session import Book
from quotas.book.transfers import post, rebuild_balances
from quotas.book.verify.verify import verify
from tests.builders import a_grant, a_program, a_startup

from ..book_builders import amounts, charges, filled


def test_a_rebuilt_projection_answers_the_same() -> None:
    """After a deletion, and after a false balance, the entries make every balance again."""
    book = filled(Book.in_memory(), 5)
    before = amounts(book)
    for spoil in (BALANCE.delete(), BALANCE.update().values(amount_ucr=1)):
        with book.writing() as connection:
            connection.execute(spoil)
        assert amounts(book) != before and verify(book).fault is not None
        with book.writing() as connection:
            rebuild_balances(connection)
        assert amounts(book) == before and verify(book).fault is None


def test_the_book_goes_on_after_a_rebuild() -> None:
    """The next charge adds to the rebuilt balance."""
    book = filled(Book.in_memory(), 2)
    with book.writing() as connection:
        rebuild_balances(connection)
        post(connection, charges(1, first=2), recorded_s=3 * 3_600, epoch=1, actor="cohortd")
    assert verify(book).fault is None


@pytest.mark.parametrize("name", ["acme", "birch", "nobody"])
def test_one_startup_is_read_as_among_all(name: str) -> None:
    """Reading one startup's grants by index answers what reading everybody's does."""
    book = Book.in_memory()
    startups = [
        a_startup(each, grants=(a_grant(f"{each}-1"), a_grant(f"{each}-2", 500)))
        for each in ("acme", "birch")
    ]
    apply_program(book, a_program(*startups), 0, "tests")
    with book.reading() as connection:
        everyone = read_grants(connection)
        own = read_startup_grants(connection, name)
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM credit_grant WHERE startup = ? ORDER BY id", (name,)
        ).all()
    assert own == tuple(grant for grant in everyone if grant.startup == name)
    assert not any("SCAN" in row.detail for row in plan)

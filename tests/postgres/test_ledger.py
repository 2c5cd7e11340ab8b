"""I25: a seed leaves the same book on PostgreSQL as on SQLite, with equal rows and hashes."""

from __future__ import annotations

import pytest

from quotas.book import Address, Book
from quotas.book.verify.verify import verify
from tests.quotas.book.book_builders import digest
from tests.sim.audit.evidence import evidence_of
from tests.sim.play.play import Play
from tests.sim.scenario.script import draw

SEEDS = [(3, 10), (9, 6), (19, 6), (26, 6)]
"""Seeds and days with crashes and errors in cycles, clock steps and two daemons."""


pytestmark = pytest.mark.usefixtures("deterministic")


def played(seed: int, days: int, book: Book) -> Play:
    """Play a seed on a book."""
    play = Play(draw(seed, days), book=book)
    play.run()
    return play


@pytest.mark.parametrize(("seed", "days"), SEEDS)
def test_a_seed_gives_the_same_book(address: Address, seed: int, days: int) -> None:
    """Every row of every table is equal, with hashes and numbers."""
    file, database = Book.in_memory(), Book.open(address)
    one, two = played(seed, days, file), played(seed, days, database)
    left, right = evidence_of(one), evidence_of(two)
    assert len(left.transfers) > 5
    for name in ("transfers", "decisions", "notices", "intents", "balances"):
        assert getattr(left, name) == getattr(right, name), name
    assert (one.count, one.injected) == (two.count, two.injected)
    assert digest(file) == digest(database)
    assert verify(file) == verify(database)
    assert verify(database).fault is None
    database.close()


def test_the_seeds_are_hard_enough() -> None:
    """The seeds have two daemons, and daemons that die or get errors inside their cycles."""
    scripts = [draw(*key) for key in SEEDS]
    assert any(script.daemons == 2 for script in scripts)
    assert {"crash", "error"} <= {kind for s in scripts for kind, odds in s.dice.items() if odds}

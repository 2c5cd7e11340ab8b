"""I25: a seed plays to the same book on PostgreSQL as on SQLite, row by row and hash by hash."""

from __future__ import annotations

import pytest

from quotas.book import Address, Book
from quotas.book.verify.verify import verify
from tests.quotas.book.book_builders import digest
from tests.sim.audit.evidence import evidence_of
from tests.sim.play.play import Play
from tests.sim.scenario.script import draw

SEEDS = [(3, 10), (9, 6), (19, 6), (26, 6)]
"""Seeds and days: with crashes and errors inside the cycle, steps of the clock, two daemons."""


pytestmark = pytest.mark.usefixtures("deterministic")


def played(seed: int, days: int, book: Book) -> Play:
    """The play of a seed on a book."""
    play = Play(draw(seed, days), book=book)
    play.run()
    return play


@pytest.mark.parametrize(("seed", "days"), SEEDS)
def test_a_seed_gives_the_same_book(address: Address, seed: int, days: int) -> None:
    """Transfers with their hashes, decisions, notices, numbers: every row of every table."""
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
    """Among them are two daemons, and daemons that die or hear errors inside their cycles."""
    scripts = [draw(*key) for key in SEEDS]
    assert any(script.daemons == 2 for script in scripts)
    assert {"crash", "error"} <= {kind for s in scripts for kind, odds in s.dice.items() if odds}

"""A chain head that was kept, logged or mailed shows a change of the chain before it."""

from __future__ import annotations

import json

from sqlalchemy import text
from structlog.testing import capture_logs

from quotas.book.cycle.chain_heads import read_chain_heads
from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.book.session import Book
from quotas.book.transfers import GENESIS, chain_hash
from quotas.book.verify.verify import verify
from quotas.ledger.chain_heads import ChainHead, hashes_in
from quotas.messages.catalogue.operators import chain_head_text
from tests.quotas.book.book_builders import thaw
from tests.scheduler.harness import DAY_S, T0, Harness, server


def three_days() -> Harness:
    """A server runs for more than two days."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    harness.run_until(T0 + 2 * DAY_S + 7200, 3600)
    return harness


def kept(book: Book) -> list[ChainHead]:
    """Every head in the book."""
    with book.reading() as connection:
        return read_chain_heads(connection)


def test_each_day_has_one_head_and_logs_it() -> None:
    """The first cycle of each UTC day keeps and logs count, sum and hash; the others do not."""
    with capture_logs() as logs:
        harness = three_days()
    chain_heads = kept(harness.book)
    assert [head.day for head in chain_heads] == ["2027-01-15", "2027-01-16", "2027-01-17"]
    logged = [line for line in logs if line["event"] == "book.chain_head"]
    assert [line["hash"] for line in logged] == [head.hash for head in chain_heads]
    with harness.book.reading() as connection:
        query = "SELECT count(*), sum(moved) FROM (SELECT sum(max(amount_ucr, 0)) AS moved "
        query += (
            f"FROM entry WHERE transfer_id <= {chain_heads[-1].transfer_id} GROUP BY transfer_id)"
        )
        assert tuple(connection.execute(text(query)).one()) == (
            chain_heads[-1].transfers,
            chain_heads[-1].moved_ucr,
        )
    assert verify(harness.book).fault is None


def cut_after(harness: Harness, transfer_id: int) -> None:
    """Take the newest transfers away, and let the projection agree."""
    thaw(harness.book)
    with harness.book.writing() as connection:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        connection.execute(text(f"DELETE FROM entry WHERE transfer_id > {transfer_id}"))
        connection.execute(text(f"DELETE FROM transfer WHERE id > {transfer_id}"))
        connection.execute(text("DELETE FROM balance"))
        connection.execute(
            text("INSERT INTO balance SELECT account, sum(amount_ucr) FROM entry GROUP BY account")
        )


def test_a_cut_tail_is_found() -> None:
    """Taking away transfers that a kept head names is found; newer ones only by a later head."""
    harness = three_days()
    newest, last = verify(harness.book).chain_heads["c"], kept(harness.book)[-1]
    cut_after(harness, last.transfer_id)
    assert verify(harness.book).fault is None
    assert "is in no chain" in (verify(harness.book, expected_heads={newest}).fault or "")
    cut_after(harness, last.transfer_id - 1)
    assert "the newest transfers were taken away" in (verify(harness.book).fault or "")


def test_a_rewritten_chain_is_found() -> None:
    """Who rewrites a transfer and every hash after it still contradicts the kept head."""
    harness = three_days()
    thaw(harness.book)
    with harness.book.writing() as connection:
        hash = GENESIS
        for row in connection.execute(TRANSFER.select().order_by(TRANSFER.c.id)).all():
            mine = ENTRY.select().where(ENTRY.c.transfer_id == row.id)
            sides = [(e.account, e.amount_ucr) for e in connection.execute(mine)]
            fields = {
                name: value
                for name, value in row._mapping.items()
                if name not in ("id", "previous_hash", "hash")
            }
            fields["actor"] = "forger" if row.id == 2 else row.actor
            previous, hash = hash, chain_hash(hash, fields, sides)
            values = {"actor": fields["actor"], "previous_hash": previous, "hash": hash}
            connection.execute(TRANSFER.update().where(TRANSFER.c.id == row.id).values(values))
    assert "is not what the head of c of 2027-01-16 says" in (verify(harness.book).fault or "")


def test_a_message_is_read_back() -> None:
    """The hashes in a mailed head, a log line or JSON are found, and are in the chain."""
    harness = three_days()
    chain_heads = kept(harness.book)
    subject, message = chain_head_text("p", chain_heads)
    assert subject.startswith("p: heads of the books, 2027-01-15")
    assert hashes_in(message) == {head.hash for head in chain_heads}
    assert hashes_in(json.dumps({"hash": chain_heads[0].hash})) == {chain_heads[0].hash}
    assert hashes_in("no" + "a" * 65) == set()
    assert verify(harness.book, expected_heads=hashes_in(message)).fault is None

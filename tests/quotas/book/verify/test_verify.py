"""Verification finds every change made outside cohortd."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from quotas.book import transfers
from quotas.book.cycle.commit import apply_program, commit
from quotas.book.schema.tables import ENTRY, TRANSFER
from quotas.book.session import Book
from quotas.book.transfers import chain_hash, post
from quotas.book.verify.verify import verify
from quotas.ledger.transfers import Entry, Transfer, charge_transfer, expiry_transfer
from quotas.metering.runs import Run
from quotas.model.units import Period
from tests.builders import (
    YEAR_S,
    a_balance_of,
    a_grant,
    a_notice,
    a_program,
    a_run,
    a_startup,
    an_intent,
)

from ..book_builders import charges, filled, lease_of, result_of, thaw

GRANTS = [a_balance_of(left_ucr=10**9)]


def fault_after(*statements: str) -> str:
    """What verify finds in a filled book after a forger's statements."""
    book = filled(Book.in_memory())
    assert verify(book).fault is None
    thaw(book)
    with book.writing() as connection:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        for statement in statements:
            connection.execute(text(statement))
    return verify(book).fault or ""


def test_a_true_book_is_true() -> None:
    """Every transfer is counted, and the newest hash of each cohort is told."""
    book = filled(Book.in_memory(), 5)
    heard: list[int] = []
    verdict = verify(book, heard.append)
    assert (verdict.transfers, verdict.fault, heard) == (6, None, [6])
    with book.reading() as connection:
        newest = connection.scalar(text("SELECT hash FROM transfer ORDER BY id DESC"))
    assert verdict.chain_heads == {"spring": newest}


@pytest.mark.parametrize("row", [1, 2, 4])
@pytest.mark.parametrize("column", [c.name for c in TRANSFER.columns if c.name != "id"])
def test_any_flipped_field_of_a_transfer_is_found(column: str, row: int) -> None:
    """I7: whichever column of the first, a middle or the last transfer is changed."""
    number = TRANSFER.c[column].type.python_type is int
    value = f"{column} + 1" if number else f"{column} || 'x'"
    assert "transfer" in fault_after(f"UPDATE transfer SET {column} = {value} WHERE id = {row}")


@pytest.mark.parametrize("row", [1, 2, 4])
@pytest.mark.parametrize(
    "change", ["amount_ucr = amount_ucr + 1", "account = account || 'x'", "position = 7"]
)
def test_any_flipped_field_of_an_entry_is_found(change: str, row: int) -> None:
    """I7: whichever amount, account or place is changed, in any transfer."""
    statement = f"UPDATE entry SET {change} WHERE transfer_id = {row} AND position = 0"
    assert f"transfer {row} " in fault_after(statement)


def test_every_column_of_an_entry_is_tried() -> None:
    """The tests above would miss a new column: this one asks for it."""
    assert {c.name for c in ENTRY.columns} == {"transfer_id", "position", "account", "amount_ucr"}


@pytest.mark.parametrize("row", [1, 2, 3])
def test_a_missing_transfer_is_found(row: int) -> None:
    """A transfer cut out with its entries breaks the chain behind it."""
    assert "chain" in fault_after(
        f"DELETE FROM entry WHERE transfer_id = {row}", f"DELETE FROM transfer WHERE id = {row}"
    )


def test_a_missing_last_transfer_is_found() -> None:
    """Nothing follows it, but the balances remember it."""
    found = fault_after(
        "DELETE FROM entry WHERE transfer_id = 4", "DELETE FROM transfer WHERE id = 4"
    )
    assert "balance of grant:acme:g1" in found


def test_a_missing_or_added_or_moved_entry_is_found() -> None:
    """Entries belong to their transfer's hash, as many as they were."""
    assert "hash" in fault_after("DELETE FROM entry WHERE transfer_id = 2 AND position = 1")
    assert "hash" in fault_after("INSERT INTO entry VALUES (2, 9, 'usage:acme', 0)")
    assert "hash" in fault_after(
        "UPDATE entry SET transfer_id = 4, position = 9 WHERE transfer_id = 3 AND position = 1"
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE balance SET amount_ucr = amount_ucr + 1 WHERE account = 'usage:acme'",
        "DELETE FROM balance WHERE account = 'usage:acme'",
        "INSERT INTO balance VALUES ('usage:birch', 1)",
    ],
)
def test_a_broken_projection_is_found(change: str) -> None:
    """I2: every balance equals the sum of its entries, and there are no others."""
    assert "balance of usage:" in fault_after(change)


def test_a_rehashed_forgery_still_breaks_the_chain() -> None:
    """A forger who computes a row's hash anew must compute every later one, too."""
    book = filled(Book.in_memory())
    thaw(book)
    with book.writing() as connection:
        row = connection.execute(TRANSFER.select().where(TRANSFER.c.id == 2)).one()
        names = [
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
        ]
        fields = {name: getattr(row, name) for name in names} | {"reason": "forged"}
        sides = [("grant:acme:g1", -3600), ("usage:acme", 3600)]
        forged = chain_hash(row.previous_hash, fields, sides)
        connection.execute(
            TRANSFER.update().where(TRANSFER.c.id == 2).values(reason="forged", hash=forged)
        )
    assert "transfer 3 " in (verify(book).fault or "")


def posted(*wrong: Transfer, epoch: int = 1) -> str:
    """What verify finds after well-formed transfers that are wrong in substance."""
    book = filled(Book.in_memory(), 1)
    with book.writing() as connection:
        post(connection, wrong, recorded_s=0, epoch=epoch, actor="tests")
    return verify(book).fault or ""


def charged(start_s: int, end_s: int, run: Run | None = None) -> Transfer:
    """A charge of a period of s1."""
    transfer = charge_transfer("spring", run or a_run(), Period(start_s, end_s), GRANTS)
    assert transfer is not None
    return transfer


def test_a_second_charged_twice_is_found() -> None:
    """I3: the same server's seconds, under another run, are charged already."""
    assert "charged already" in posted(charged(3000, 4000, a_run(start_s=3000)))


def ran(*stretches: tuple[int, int]) -> list[Transfer]:
    """Charges of s2, each under a run of its own, in the order in which they are posted."""
    return [charged(start_s, end_s, a_run("s2", start_s)) for start_s, end_s in stretches]


@pytest.mark.parametrize(
    "before",
    [[(0, 1000)], [(0, 1020)], [(2000, 2100), (0, 1020)], [(3000, 3100), (2000, 2900), (10, 1020)]],
)
def test_a_run_may_be_charged_after_what_ran_later(before: list[tuple[int, int]]) -> None:
    """I3: one without a price, before the server was resized, is charged once there is one."""
    assert posted(*ran((1020, 2000), *before)) == ""


@pytest.mark.parametrize(
    "again",
    [(0, 1021), (0, 2100), (1019, 2000), (1021, 2000), (1500, 1600), (1999, 2050), (2900, 3001)],
)
def test_a_second_charged_twice_is_found_in_any_order(again: tuple[int, int]) -> None:
    """I3: with what was charged before or after it, in part or whole."""
    found = posted(*ran((3000, 3100), (1020, 2000), (2000, 2100), again))
    assert "charges seconds of server s2 that are charged already" in found


def test_a_gap_in_a_run_is_found() -> None:
    """I3: a run's charges follow one another without a hole."""
    assert "leaves a gap" in posted(charged(3700, 4000))
    assert posted(charged(3600, 4000)) == ""


def test_a_wrong_price_is_found() -> None:
    """I5: a charge costs what its own rate and period say."""
    entries = (Entry("grant:acme:g1", -7), Entry("usage:acme", 7))
    detail = dict(charges(1, 1)[0].detail)
    wrong = Transfer("w", "charge", "spring", "acme", 0, entries, "", detail)
    assert "charges 7 ucr where 3600 were due" in posted(wrong)


def test_a_charge_to_a_grant_out_of_force_is_found() -> None:
    """I18: after its end a grant pays for nothing."""
    book = Book.in_memory()
    apply_program(book, a_program(a_startup(grants=(a_grant(expires_s=5000),))), 0, "tests")

    def fault(*wrong: Transfer) -> str:
        with book.writing() as connection:
            post(connection, wrong, recorded_s=0, epoch=1, actor="tests")
        return verify(book).fault or ""

    assert fault(charged(0, 5000)) == ""
    assert "at which it could not be spent" in fault(charged(5000, 5001))


def test_a_charge_to_no_grant_is_found() -> None:
    """An account that looks like a grant, and that nobody granted."""
    given = (Entry("grant:acme:other", 10**6), Entry("sponsor:spring", -(10**6)))
    other = Transfer("g", "manual", "spring", "acme", 0, given, "")
    drawn = charge_transfer("spring", a_run(), Period(3600, 4000), [replace(GRANTS[0], id="other")])
    assert drawn is not None
    assert "draws on grant:acme:other, which is no grant" in posted(other, drawn)


def test_an_early_expiry_is_found() -> None:
    """I18: nothing is forfeited before its grant's end."""
    early = expiry_transfer(a_balance_of(left_ucr=7, expires_s=YEAR_S - 1))
    assert "expires grant:acme:g1 before its end at 1971-01-01T00:00:00Z" in posted(early)


def test_a_charge_over_a_months_end_is_found() -> None:
    """Each second is in the statement of its own UTC month."""
    turn_s = 31 * 86_400
    over = charged(turn_s - 100, turn_s + 100, a_run(start_s=turn_s - 100))
    assert "charges seconds before and after 1970-02-01T00:00:00Z" in posted(over)


def test_an_overdrawn_grant_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the sponsor's accounts may fall below zero, even were posting to let them."""
    monkeypatch.setattr(transfers, "_refuse_overdrawn", lambda *_: None, raising=False)
    entries = (Entry("grant:acme:g1", -(10**7)), Entry("usage:acme", 10**7))
    assert "overdraws grant:acme:g1" in posted(
        Transfer("w", "manual", "spring", "acme", 0, entries, "")
    )


def test_a_write_under_an_older_epoch_is_found() -> None:
    """I14: after an epoch, no transfer of an earlier one; operators write under none."""
    book = filled(Book.in_memory(), 0)
    with book.writing() as connection:
        post(connection, charges(1), recorded_s=0, epoch=5, actor="b")
        post(connection, charges(1, 1), recorded_s=0, epoch=0, actor="operator")
    assert verify(book).fault is None
    with book.writing() as connection:
        post(connection, charges(1, 2), recorded_s=0, epoch=4, actor="a")
    assert "under epoch 4, after epoch 5" in (verify(book).fault or "")


@pytest.mark.parametrize(
    ("notice", "intent", "fault"),
    [
        ({}, {}, None),
        ({}, {"decided_s": 1799}, "before its notice's deadline"),
        ({"mode": "shadow"}, {}, "enforce mode"),
        ({}, {"server_id": "s2"}, "did not name"),
        (
            {"deadline_s": 1799},
            {},
            "00:29:59 before its deadline; the policy's minimum was 00:30:00",
        ),
    ],
)
def test_a_stop_without_its_notice_is_found(
    notice: dict[str, str], intent: dict[str, object], fault: str | None
) -> None:
    """Every stop was promised, to that server, in enforce mode, and waited for its deadline."""
    book = filled(Book.in_memory(), 0)
    lease = lease_of(book)
    commit(book, result_of(notices=[a_notice(id=None, **notice)]), lease, 1)
    commit(book, result_of(intents=[an_intent(id=None, **intent)]), lease, 2)
    found = verify(book).fault
    assert found is None if fault is None else fault in (found or "")

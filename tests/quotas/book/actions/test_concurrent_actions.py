"""Actions beside cycles and beside each other: the book stays whole."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quotas.book.actions.action import Command
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.actions.refunds import RefundCommand, TransferCommand
from quotas.book.cycle.commit import apply_program, commit
from quotas.book.cycle.state import load_state
from quotas.book.session import Book
from quotas.book.transfers import StaleBalance, post
from quotas.book.verify.verify import verify
from quotas.ledger.corrections import Refused
from quotas.ledger.transfers import Entry, Transfer, expiry_transfer
from quotas.model.units import Period, format_credits
from tests.builders import a_grant, a_program, a_run, a_startup
from tests.scheduler.harness import T0, Harness, program, server

from ..action_builders import GRANT, NOW_S, REFUND, a_book, an_action, charge, conserves
from ..book_builders import amounts, charges, digest, filled, lease_of, result_of


def test_no_program_no_deed() -> None:
    """A book without a program refuses every deed."""
    with pytest.raises(Refused, match="cohortd apply"):
        perform_action(Book.in_memory(), an_action(GRANT))


def test_a_cycle_that_read_a_grant_before_its_void_is_rolled_back() -> None:
    """Its charge would overdraw the grant: nothing of the cycle is written, the next reads anew."""
    book = filled(Book.in_memory(), 1)
    stale = charges(1, first=1)
    perform_action(book, an_action(VoidCommand("acme", "g1")))
    before = digest(book)
    with pytest.raises(StaleBalance, match="grant:acme:g1"):
        commit(book, result_of(transfers=stale), lease_of(book), 7_200)
    assert digest(book) == before


def test_cycles_go_on_after_each_deed() -> None:
    """Charges after a void go to overdraft, after a grant to it; all of it verifies."""
    harness = Harness(program(mode="shadow"))
    harness.cloud.add(server())
    harness.run()
    harness.run_until(T0 + 7_200, 600)
    perform_action(harness.book, an_action(VoidCommand("acme", "g1"), now_s=harness.clock.now_s()))
    harness.run_until(T0 + 14_400, 600)
    assert harness.rows("balance")["overdraft:c"] < 0
    perform_action(
        harness.book, an_action(GrantCommand("acme", "g2", 90_000_000), now_s=harness.clock.now_s())
    )
    perform_action(
        harness.book,
        an_action(RefundCommand(T0, T0 + 60, server="s1"), now_s=harness.clock.now_s()),
    )
    harness.run_until(T0 + 21_600, 600)
    assert harness.rows("balance")["grant:acme:g2"] < 90_000_000
    assert verify(harness.book).fault is None and conserves(harness.book)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, "gave back already"),
        ({"start_s": 10_700, "end_s": 10_801}, "does not have"),
        ({"charge": "charge:s9@0:0"}, "no earlier charge"),
    ],
)
def test_verify_finds_a_refund_that_is_not_due(change: dict[str, int | str], fault: str) -> None:
    """A well-chained refund that no rule allows is named: the sums alone would not show it."""
    book = a_book()
    perform_action(book, an_action(REFUND))
    of: dict[str, int | str] = {"charge": "charge:s1@0:7200", "start_s": 9_000, "end_s": 9_100}
    forged = Transfer(
        "refund:forged",
        "refund",
        "spring",
        "acme",
        NOW_S,
        (Entry("usage:acme", -100), Entry("grant:acme:g2", 100)),
        "",
        {**of, **change},
    )
    with book.writing() as connection:
        post(connection, [forged], recorded_s=NOW_S, epoch=0, actor="mallory")
    assert fault in (verify(book).fault or "")


def test_verify_finds_a_refund_to_the_wrong_account() -> None:
    """The last 100 s were drawn from g2: returning them to birch is a fault."""
    book = a_book()
    entries = (Entry("usage:acme", -100), Entry("grant:birch:x", 100))
    detail: dict[str, int | str] = {"charge": "charge:s1@0:7200", "start_s": 9_000, "end_s": 9_100}
    forged = Transfer("f", "refund", "spring", "acme", NOW_S, entries, "", detail)
    with book.writing() as connection:
        post(connection, [forged], recorded_s=NOW_S, epoch=0, actor="mallory")
    assert "does not return what" in (verify(book).fault or "")


def test_two_operators_granting_one_id_at_once(tmp_path: Path) -> None:
    """One of them is first; the other is refused, and the credit is given once."""
    a_book(Book.open(tmp_path)).close()
    gate, refused = threading.Barrier(2), []

    def grant(amount_ucr: int) -> None:
        book = Book.open_existing(tmp_path)
        gate.wait()
        try:
            perform_action(book, an_action(GrantCommand("birch", "b1", amount_ucr)))
        except Refused as error:
            refused.append((amount_ucr, str(error)))
        finally:
            book.close()

    threads = [threading.Thread(target=grant, args=(amount,)) for amount in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((loser, why),) = refused
    book = Book.open_existing(tmp_path)
    assert amounts(book)["grant:birch:b1"] == 3 - loser and "already" in why
    assert verify(book).fault is None


def test_the_worked_example_of_the_page() -> None:
    """Every amount that docs/credits.md gives is what the book says."""
    start_s, end_s = 20 * 3600, 24 * 3600
    grants = (
        a_grant("acme-bonus", 110_000_000, expires_s=end_s),
        a_grant("acme-1", 1_000_000_000),
    )
    book = Book.in_memory()
    apply_program(book, a_program(a_startup("acme", grants=grants)), 0, "tests")
    run = a_run(start_s=start_s, rate_ucr_per_h=25_330_800)
    for hour in range(20, 26):
        charge(book, run, Period(hour * 3600, (hour + 1) * 3600))
        if hour == 23:
            (bonus,) = [grant for grant in load_state(book).grants if grant.id == "acme-bonus"]
            with book.writing() as connection:
                ended = [expiry_transfer(bonus)]
                post(connection, ended, recorded_s=end_s, epoch=1, actor="cohortd")
    before = amounts(book)
    perform_action(
        book, an_action(RefundCommand(end_s - 1800, end_s + 1800, startup="acme"), now_s=200_000)
    )
    after = amounts(book)
    page = (Path(__file__).parents[4] / "docs" / "credits.md").read_text()
    for told, ucr in {
        "8.6768 expire": before["expired:spring"],
        "949.3384 |": before["grant:acme:acme-1"],
        "12.6654 return to `acme-1`": after["grant:acme:acme-1"] - before["grant:acme:acme-1"],
        "12.6654 return to `acme-bonus`": after["expired:spring"] - before["expired:spring"],
        "1110.00 granted": -after["sponsor:spring"],
        "126.654 charged": after["usage:acme"],
        "962.0038 left": after["grant:acme:acme-1"],
        "21.3422 expired": after["expired:spring"],
    }.items():
        assert told in " ".join(page.split()) and told.split()[0] == format_credits(ucr)
    assert conserves(book) and verify(book).fault is None


steps = st.one_of(
    st.tuples(st.just("charge"), st.integers(1, 4_000)),
    st.tuples(st.just("grant"), st.integers(1, 3_000)),
    st.tuples(st.just("void"), st.integers(0, 9)),
    st.tuples(st.just("refund"), st.integers(0, 30_000)),
    st.tuples(st.just("transfer"), st.integers(1, 5_000)),
    st.tuples(st.just("expire"), st.integers(0, 9)),
)


def order_of(step: str, value: int, number: int, book: Book) -> Command:
    """The order that a random step stands for."""
    if step == "grant":
        ends_s = NOW_S + 1 + value * 10
        return GrantCommand(("acme", "birch")[value % 2], f"n{number}", value, expires_s=ends_s)
    if step == "refund":
        return RefundCommand(value, value + 1 + value % 2_500, startup="acme")
    if step == "transfer":
        pair = ("acme", "birch") if value % 3 else ("birch", "acme")
        return TransferCommand(*pair, value)
    grants = load_state(book).grants
    grant = grants[value % len(grants)]
    return VoidCommand(grant.startup, grant.id)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=14))
def test_whatever_is_done_the_book_conserves(history: list[tuple[str, int]]) -> None:
    """Random charges, grants, voids, refunds, transfers and ends: sums, signs and verify."""
    book = a_book()
    until_s = charged_ucr = 10_800
    for number, (step, value) in enumerate(history):
        if step == "charge":
            charge(book, a_run(), Period(until_s, until_s + value))
            until_s, charged_ucr = until_s + value, charged_ucr + value
        elif step == "expire":
            ended = [g for g in load_state(book).grants if g.left_ucr and g.expires_s <= NOW_S]
            with book.writing() as connection:
                made = [expiry_transfer(grant) for grant in ended]
                post(connection, made, recorded_s=NOW_S, epoch=1, actor="cohortd")
        else:
            try:
                perform_action(book, an_action(order_of(step, value, number, book)))
            except Refused:
                continue
        assert conserves(book)
    held = amounts(book)
    assert 0 <= held["usage:acme"] <= charged_ucr
    assert all(ucr >= 0 for account, ucr in held.items() if account.startswith("grant:"))
    assert verify(book).fault is None
    perform_all = RefundCommand(0, until_s, startup="acme")
    if held["usage:acme"]:
        perform_action(book, an_action(perform_all))
    assert amounts(book)["usage:acme"] == 0
    assert amounts(book).get("overdraft:spring", 0) == 0
    assert conserves(book) and verify(book).fault is None

"""Verification recomputes rollovers, expiries and price differences.

Each test posts what the rules say, which passes, or the same with one error in it,
well-formed and hashed like any other transfer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.advances import AdvanceCommand
from quotas.book.actions.execute import perform_action
from quotas.book.actions.prices import PriceCommand
from quotas.book.cycle.commit import apply_program, commit
from quotas.book.cycle.state import load_state
from quotas.book.schema.tables import LISTING, PRICE, RUN, TRANSFER
from quotas.book.session import Book
from quotas.book.transfers import StaleBalance, post
from quotas.book.verify.verify import verify
from quotas.ledger.repricing import with_differences
from quotas.ledger.transfers import (
    Entry,
    Transfer,
    charge_transfer,
    end_transfers,
    expiry_transfer,
    grant_account,
)
from quotas.model.program import Rollover, Tranche
from quotas.model.units import Period
from tests.builders import FLAVOR, RATE, a_grant, a_program, a_run, a_startup

from ..book_builders import lease_of, result_of

END_S = 10_000
HALF = Rollover(500_000)
FIRST, SECOND, THIRD = (grant_account("acme", f"g1/{n}") for n in (1, 2, 3))

GIVEN = (Entry("sponsor:spring", -1), Entry("grant:acme:g2", 1))

Forged = Callable[[Transfer], Transfer]


def a_book(rollover: Rollover | None = HALF) -> Book:
    """Acme's grant in three tranches, from 0, END_S and 2 END_S on; half of a rest rolls over."""
    tranches = tuple(Tranche(1_000, n * END_S) for n in range(3))
    grant = replace(a_grant("g1", 3_000), tranches=tranches, rollover=rollover)
    book = Book.in_memory()
    apply_program(book, a_program(a_startup(grants=(grant, a_grant("g2", 5)))), 0, "tests")
    return book


def add(book: Book, *transfers: Transfer) -> None:
    """Write transfers as a cycle would."""
    with book.writing() as connection:
        post(connection, transfers, recorded_s=END_S, epoch=1, actor="cohortd")


def fault(book: Book) -> str:
    """What verify finds; nothing where all is right."""
    return verify(book).fault or ""


def by(more_ucr: int) -> Forged:
    """The same transfer, moving so much more."""
    return lambda transfer: replace(
        transfer,
        entries=(
            replace(transfer.entries[0], amount_ucr=transfer.entries[0].amount_ucr - more_ucr),
            replace(transfer.entries[1], amount_ucr=transfer.entries[1].amount_ucr + more_ucr),
        ),
    )


def to(account: str) -> Forged:
    """The same transfer to another account."""
    return lambda t: replace(t, entries=(t.entries[0], replace(t.entries[1], account=account)))


def at(instant_s: int) -> Forged:
    """The same transfer at another instant."""
    return lambda transfer: replace(transfer, at_s=instant_s)


def out_of(account: str) -> Forged:
    """The same transfer from another account."""
    return lambda t: replace(t, entries=(replace(t.entries[0], account=account), t.entries[1]))


def saying(**detail: int | str) -> Forged:
    """The same transfer with something else in its detail."""
    return lambda transfer: replace(transfer, detail={**transfer.detail, **detail})


def ending(book: Book) -> list[Transfer]:
    """The end of the first tranche: 500 roll over, 500 are forfeited."""
    first = next(grant for grant in load_state(book).grants if grant.account == FIRST)
    return end_transfers([first])


def test_what_rolls_over_and_what_is_forfeited_is_right() -> None:
    """Half and half, at the end, to the next tranche, and nothing is left."""
    book = a_book()
    add(book, *ending(book))
    assert fault(book) == ""


@pytest.mark.parametrize(
    ("forged", "found"),
    [
        (by(1), "rolls over 501 ucr of grant:acme:g1/1 where 500 may"),
        (by(-1), "rolls over 499 ucr of grant:acme:g1/1 where 500 may"),
        (to(THIRD), "rolls grant:acme:g1/1 over to grant:acme:g1/3"),
        (at(END_S - 1), "rolls grant:acme:g1/1 over at another instant than its end"),
    ],
)
def test_a_rollover_against_its_rule_is_found(forged: Forged, found: str) -> None:
    """Another amount, tranche or instant than the grant's terms say."""
    book = a_book()
    rolls, _ = ending(book)
    add(book, forged(rolls))
    assert found in fault(book)


def test_what_was_advanced_rolls_over_within_its_tranches_bound() -> None:
    """Of a tranche and its advanced part 300 may move on; each of them moving 300 is found."""
    book = a_book(Rollover(1_000_000, 300))
    perform_action(book, OperatorAction(AdvanceCommand("acme", "g1", 500), "a demo", "ann", 1))
    second, ahead = (
        grant
        for grant in load_state(book).grants
        if grant.id.startswith("g1/2") and grant.expires_s == 2 * END_S
    )
    together = end_transfers([second, ahead])
    assert [t.entries[1].amount_ucr for t in together] == [300, 200, 500]
    add(book, *end_transfers([second]), *end_transfers([ahead]))
    assert "rolls over 300 ucr of grant:acme:g1/2." in fault(book) and "where 0 may" in fault(book)
    right = a_book(Rollover(1_000_000, 300))
    perform_action(right, OperatorAction(AdvanceCommand("acme", "g1", 500), "a demo", "ann", 1))
    add(right, *together)
    assert fault(right) == ""


def test_an_ordinary_grant_rolls_over_to_nothing() -> None:
    """A rollover out of a grant that has no next tranche."""
    book = a_book()
    wrong = replace(ending(book)[0], entries=(Entry("grant:acme:g2", -1), Entry(SECOND, 1)))
    add(book, wrong)
    assert "which is not its next tranche" in fault(book)


def test_a_forfeit_of_what_was_to_roll_over_is_found() -> None:
    """All of the rest is forfeited, and no rollover came before it."""
    book = a_book()
    first = next(grant for grant in load_state(book).grants if grant.account == FIRST)
    add(book, expiry_transfer(first))
    assert "expires 500 ucr of grant:acme:g1/1 that were to roll over" in fault(book)


@pytest.mark.parametrize(
    ("forged", "found"),
    [
        (by(-1), "leaves 1 ucr in grant:acme:g1/1 after its end"),
        (to("usage:acme"), "expires grant:acme:g1/1 to usage:acme"),
        (at(END_S + 1), "before its end"),
    ],
)
def test_a_forfeit_against_its_rule_is_found(forged: Forged, found: str) -> None:
    """Less than what is left, to somebody else, or at another instant."""
    book = a_book()
    rolls, lost = ending(book)
    add(book, rolls, forged(lost))
    assert found in fault(book)


def test_a_cycle_that_a_deed_overtook_forfeits_nothing() -> None:
    """A rest is exact: computed before a refund was posted, it is computed anew."""
    book = a_book()
    lease, known = lease_of(book), load_state(book).newest_transfer
    made = result_of(transfers=ending(book), newest_transfer=known, runs=[])
    add(book, Transfer("m", "manual", "spring", "acme", 0, GIVEN, ""))
    with pytest.raises(StaleBalance, match="credits moved"):
        commit(book, made, lease, END_S)
    commit(book, replace(made, newest_transfer=load_state(book).newest_transfer), lease, END_S)
    assert fault(book) == ""


def listed(book: Book, rate_ucr_per_h: int, at_s: int) -> None:
    """The catalogue has a price from an instant on; the first one is the flavor's rate."""
    price = {"flavor": FLAVOR, "rate_ucr_per_h": rate_ucr_per_h}
    terms = {"from_s": at_s, "recorded_s": at_s, "bearer": "startup", "source": "catalogue"}
    with book.writing() as connection:
        connection.execute(LISTING.insert().values(**price, listed_s=at_s))
        if not at_s:
            texts = {"reason": "", "body": "", "answer": ""}
            connection.execute(PRICE.insert().values(**price, **terms, **texts))


def charged() -> tuple[Book, Transfer]:
    """An hour at 1 ucr a second, of which the second half is listed at 2; its difference."""
    book = a_book(None)
    listed(book, RATE, 0)
    listed(book, 2 * RATE, 1_800)
    run = a_run()
    with book.writing() as connection:
        values = {name: getattr(run, name) for name in run.__slots__}
        connection.execute(RUN.insert().values(**{**values, "posted_until_s": 3_600}))
    made = charge_transfer("spring", run, Period(0, 3_600), load_state(book).grants)
    assert made is not None
    _, difference = with_differences([made], load_state(book).catalogue.prices)
    add(book, made)
    return book, difference


def test_a_price_difference_is_right_as_it_was_known() -> None:
    """Also once another price is listed for other seconds, and one accepted for the same."""
    book, difference = charged()
    assert difference.entries[1].amount_ucr == 1_800
    add(book, difference)
    assert fault(book) == ""
    listed(book, 3 * RATE, 3_000)
    assert fault(book) == ""
    for factor in (2, 3, 1):
        command = PriceCommand(FLAVOR, factor * RATE, 900, confirm=FLAVOR)
        perform_action(book, OperatorAction(command, "they erred", "op", 4_000 + factor))
        assert fault(book) == ""
    with book.reading() as connection:
        kinds = connection.scalars(select(TRANSFER.c.kind).where(TRANSFER.c.kind == "difference"))
        assert len(kinds.all()) > 1


@pytest.mark.parametrize(
    ("forged", "found"),
    [
        (by(1), "moves 1801 ucr where charge:s1@0:0 differs by 1800"),
        (by(-1), "moves 1799 ucr where charge:s1@0:0 differs by 1800"),
        (to("overdraft:spring"), "moves 1800 ucr where charge:s1@0:0 differs by 1800"),
        (saying(charge="charge:s1@0:7"), "which is no earlier charge of acme"),
        (saying(version=99), "version 99 of the prices, which there is not"),
        (saying(listed_s=0), "moves 1800 ucr where charge:s1@0:0 differs by 0"),
        (lambda t: replace(t, startup="birch"), "which is no earlier charge of birch"),
    ],
)
def test_a_price_difference_against_its_rule_is_found(forged: Forged, found: str) -> None:
    """Another amount or account, another charge, or prices that were not."""
    book, difference = charged()
    add(book, forged(difference))
    assert found in fault(book)


def test_a_difference_posted_twice_is_found() -> None:
    """What a later price adds is only what is missing."""
    book, difference = charged()
    add(book, difference, replace(difference, key=f"{difference.key}:7"))
    assert "differs by 0" in fault(book)

"""A deed is written once, whole or not at all; the book conserves and verifies after each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.book.actions.commands import GrantOrder, Order, RefundOrder, TransferOrder, VoidOrder
from quotas.book.actions.execute import perform, preview
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load
from quotas.book.schema import RUN, ZONE
from quotas.book.session import Book
from quotas.book.verify.verify import verify
from quotas.ledger.corrections import Refused
from quotas.model.program import ProgramError
from quotas.model.units import Period
from tests.builders import TYPE, YEAR_S, Z, a_grant, a_program, a_run, a_startup

from ..action_builders import (
    GRANT,
    NOW_S,
    ORDERS,
    REFUND,
    TRANSFER,
    VOID,
    a_book,
    a_deed,
    charge,
    conserves,
    the_program,
)
from ..book_builders import amounts, digest


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: type(o).__name__)
def test_each_deed_conserves_and_verifies(order: Order) -> None:
    """The formula of the tie-out holds, and verify finds no fault."""
    book = a_book()
    perform(book, a_deed(order))
    assert conserves(book)
    assert verify(book).fault is None


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: type(o).__name__)
def test_a_preview_says_the_same_and_writes_nothing(order: Order) -> None:
    """A dry run is the deed's own answer over an unchanged book."""
    book = a_book()
    before = digest(book)
    shown = preview(book, a_deed(order))
    assert digest(book) == before
    assert perform(book, a_deed(order)) == shown


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: type(o).__name__)
def test_a_key_repeats_its_first_answer(order: Order) -> None:
    """The second time nothing is written, by whomever and whenever it is asked."""
    book = a_book()
    first = perform(book, a_deed(order, "k"))
    before = digest(book)
    assert perform(book, a_deed(order, "k", actor="omar", now_s=NOW_S + 60)) == first
    assert preview(book, a_deed(order, "k")) == first
    assert digest(book) == before


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: type(o).__name__)
def test_a_key_is_not_used_for_two_things(order: Order) -> None:
    """Another order, or only another reason, is refused, and the book stays."""
    book = a_book()
    perform(book, a_deed(order, "k"))
    before = digest(book)
    for other in (a_deed(GrantOrder("birch", "b9", 1), "k"), a_deed(order, "k", reason="else")):
        with pytest.raises(Refused, match="--key k was used"):
            perform(book, other)
    assert digest(book) == before


def test_a_deed_keeps_its_actor_and_reason_and_no_epoch() -> None:
    """The book says who did it and why; a deed is outside the fencing of cycles."""
    book = a_book()
    perform(book, a_deed(VOID))
    with book.reading() as connection:
        query = "SELECT actor, reason, epoch, recorded_s FROM transfer ORDER BY id DESC"
        row = connection.exec_driver_sql(query).first()
    assert row is not None and tuple(row) == ("olga", "because", 0, NOW_S)


def test_a_void_lowers_the_grant_and_says_what_was_used() -> None:
    """What was charged stays charged; the rest is the sponsor's again."""
    book = a_book()
    answer = perform(book, a_deed(VOID))
    assert (answer["used"], answer["voided"]) == ("0.0008", "0.0042")
    assert {g.id: g.left_ucr for g in load(book).grants} == {"g1": 0, "g2": 0}
    assert amounts(book)["sponsor:spring"] == -15_000 + 4_200


def test_a_granted_id_is_posted_once_by_command_and_by_file() -> None:
    """The file may take up a grant that was made by command: apply adds nothing."""
    book = a_book()
    perform(book, a_deed(GRANT))
    known = {grant.id: grant for grant in load(book).grants}["b1"]
    assert (known.left_ucr, known.effective_s, known.expires_s) == (7_000, NOW_S, YEAR_S)
    acme = the_program().startup("acme")
    assert acme is not None
    birch = a_startup("birch", grants=(a_grant("b1", 7_000, effective_s=NOW_S),))
    apply_program(book, a_program(acme, birch), NOW_S, "tests")
    assert amounts(book)["grant:birch:b1"] == 7_000


def test_a_file_with_other_terms_than_the_command_is_refused() -> None:
    """Apply names the term that differs, and changes nothing."""
    book = a_book()
    perform(book, a_deed(GRANT))
    before = digest(book)
    acme = the_program().startup("acme")
    assert acme is not None
    birch = a_startup("birch", grants=(a_grant("b1", 7_001, effective_s=NOW_S),))
    with pytest.raises(ProgramError, match="grant b1 of birch is in the book with another amount"):
        apply_program(book, a_program(acme, birch), NOW_S, "tests")
    assert digest(book) == before


def test_a_refund_returns_to_the_grants_it_was_drawn_from() -> None:
    """1,800 s: 800 to g2, drawn last, and 1,000 to g1, which has ended and forfeits them."""
    book = a_book()
    answer = perform(book, a_deed(REFUND))
    assert answer["to"] == {"grant:acme:g1": "0.001", "grant:acme:g2": "0.0008"}
    assert (answer["seconds"], answer["forfeited"]) == (1_800, "0.001")
    held = amounts(book)
    assert held["usage:acme"] == 9_000 and held["expired:spring"] == 1_000
    assert (held["grant:acme:g1"], held["grant:acme:g2"]) == (0, 5_000)


def test_no_second_is_refunded_twice() -> None:
    """A wider refund returns the rest only; then there is nothing left to refund."""
    book = a_book()
    perform(book, a_deed(REFUND))
    rest = RefundOrder(0, 20_000, startup="acme")
    assert perform(book, a_deed(rest))["seconds"] == 9_000
    assert amounts(book)["usage:acme"] == 0
    before = digest(book)
    with pytest.raises(Refused, match="is left to refund"):
        perform(book, a_deed(rest))
    assert digest(book) == before and verify(book).fault is None


def two_zones() -> Book:
    """Beside acme's s1, an hour of b1 and of b2 of birch is charged, b2 in another zone."""
    book = a_book()
    for server_id, zone in (("b1", Z), ("b2", "fr-par-1")):
        place = {"startup": "birch", "zone": zone, "flavor": f"{TYPE}@{zone}"}
        run = a_run(server_id, **place, posted_until_s=3_600)
        with book.writing() as connection:
            connection.execute(RUN.insert().values(**{f: getattr(run, f) for f in run.__slots__}))
        charge(book, run, Period(0, 3_600))
    return book


def test_a_zone_is_refunded_for_everyone_in_it() -> None:
    """Each startup's seconds there come back; a server in another zone stays charged."""
    book = two_zones()
    answer = perform(book, a_deed(RefundOrder(1_800, 5_400, zone=Z)))
    assert {n: s["seconds"] for n, s in answer["startups"].items()} == {
        "acme": 3_600,
        "birch": 1_800,
    }
    assert amounts(book)["usage:birch"] == 3_600 + 1_800
    assert verify(book).fault is None and conserves(book)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(1, 4_000), st.integers(0, 2)), max_size=5
    )
)
def test_refunds_of_zone_server_and_startup_return_each_second_once(
    asked: list[tuple[int, int, int]],
) -> None:
    """Whatever overlaps whatever, the sum refunded is what the union of seconds cost."""
    book = two_zones()
    gone: set[int] = set()
    for from_s, length_s, kind in asked:
        names = ({"zone": Z}, {"server": "s1"}, {"startup": "acme"})[kind]
        window = range(from_s, min(from_s + length_s, 10_800))
        try:
            perform(book, a_deed(RefundOrder(from_s, from_s + length_s, **names)))
        except Refused:
            of_birch = kind == 0 and from_s < 3_600
            assert set(window) <= gone or of_birch
        gone |= set(window)
    assert amounts(book)["usage:acme"] == 10_800 - len(gone)
    assert verify(book).fault is None and conserves(book)


def test_a_transfer_arrives_as_a_grant_with_the_same_end() -> None:
    """Birch can spend it at once, until the end that acme's grant had."""
    book = a_book()
    perform(book, a_deed(TRANSFER))
    grants = {(g.startup, g.id.partition(".")[0]): g for g in load(book).grants}
    assert grants["acme", "g2"].left_ucr == 200
    arrived = grants["birch", "g2"]
    assert (arrived.left_ucr, arrived.expires_s, arrived.effective_s) == (4_000, YEAR_S, NOW_S)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (GrantOrder("nobody", "b1", 1), "no startup 'nobody'"),
        (GrantOrder("birch", "g1", 1), "grant of acme already"),
        (GrantOrder("birch", "b1", 10**12), "budget"),
        (GrantOrder("birch", "b1", 1, effective_s=-1), "before cohort spring starts"),
        (GrantOrder("birch", "b1", 1, expires_s=NOW_S), "give a later --expires"),
        (GrantOrder("birch", "b1", 1, effective_s=9, expires_s=9), "give a later --expires"),
        (VoidOrder("nobody", "g1"), "no startup 'nobody'"),
        (VoidOrder("acme", "g9"), "no grant g9; it has g1, g2"),
        (VoidOrder("acme", "g1"), "nothing left to void"),
        (RefundOrder(-1, 60, startup="acme"), "before cohort spring starts"),
        (RefundOrder(0, 60, startup="nobody"), "no startup 'nobody'"),
        (RefundOrder(0, 60, server="s9"), "no server s9"),
        (RefundOrder(0, 60, zone="fr-par-9"), "servers ran in fr-par-2"),
        (RefundOrder(10_800, 20_000, server="s1"), "is left to refund"),
        (TransferOrder("acme", "birch", 4_201), "more than the 0.0042"),
        (TransferOrder("acme", "acme", 1), "to itself"),
        (TransferOrder("acme", "nobody", 1), "no startup 'nobody'"),
        (TransferOrder("birch", "acme", 1), "more than the 0.00"),
    ],
)
def test_a_refused_deed_changes_nothing(order: Order, why: str) -> None:
    """One sentence says why, and the book's digest is what it was."""
    book = a_book()
    before = digest(book)
    with pytest.raises(Refused, match=why):
        perform(book, a_deed(order))
    assert digest(book) == before


def test_a_transfer_sets_aside_what_ran_and_is_not_charged() -> None:
    """Posted 4200 less 100 s accrued and the reserve of 2130 s: a transfer moves the rest."""
    book = a_book(end_s=None)
    with book.writing() as connection:
        swept = {"name": Z, "confirmed_until_s": 10_900, "swept_s": 10_900}
        connection.execute(ZONE.insert().values(**swept, outcome="complete", detail=""))
    before = digest(book)
    with pytest.raises(Refused, match=r"more than the 0\.00197 "):
        perform(book, a_deed(TransferOrder("acme", "birch", 1_971), now_s=10_900))
    assert digest(book) == before
    perform(book, a_deed(TransferOrder("acme", "birch", 1_970), now_s=10_900))
    assert amounts(book)["grant:acme:g2"] == 4_200 - 1_970

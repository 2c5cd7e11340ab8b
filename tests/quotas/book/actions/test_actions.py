"""An operator action is written once, whole or not at all, and the book verifies after it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.book.actions.action import Command
from quotas.book.actions.execute import perform_action, preview_action
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.actions.refunds import RefundCommand, TransferCommand
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.book.schema.tables import RUN, ZONE
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
    an_action,
    charge,
    conserves,
    the_program,
)
from ..book_builders import amounts, digest


@pytest.mark.parametrize("command", ORDERS, ids=lambda o: type(o).__name__)
def test_each_deed_conserves_and_verifies(command: Command) -> None:
    """The formula of the tie-out holds, and verify finds no fault."""
    book = a_book()
    perform_action(book, an_action(command))
    assert conserves(book)
    assert verify(book).fault is None


@pytest.mark.parametrize("command", ORDERS, ids=lambda o: type(o).__name__)
def test_a_preview_says_the_same_and_writes_nothing(command: Command) -> None:
    """A dry run is the deed's own answer over an unchanged book."""
    book = a_book()
    before = digest(book)
    shown = preview_action(book, an_action(command))
    assert digest(book) == before
    assert perform_action(book, an_action(command)) == shown


@pytest.mark.parametrize("command", ORDERS, ids=lambda o: type(o).__name__)
def test_a_key_repeats_its_first_answer(command: Command) -> None:
    """The second time nothing is written, by whomever and whenever it is asked."""
    book = a_book()
    first = perform_action(book, an_action(command, "k"))
    before = digest(book)
    assert perform_action(book, an_action(command, "k", actor="omar", now_s=NOW_S + 60)) == first
    assert preview_action(book, an_action(command, "k")) == first
    assert digest(book) == before


@pytest.mark.parametrize("command", ORDERS, ids=lambda o: type(o).__name__)
def test_a_key_is_not_used_for_two_things(command: Command) -> None:
    """Another order, or only another reason, is refused, and the book stays."""
    book = a_book()
    perform_action(book, an_action(command, "k"))
    before = digest(book)
    for other in (
        an_action(GrantCommand("birch", "b9", 1), "k"),
        an_action(command, "k", reason="else"),
    ):
        with pytest.raises(Refused, match="--key k was used"):
            perform_action(book, other)
    assert digest(book) == before


def test_a_deed_keeps_its_actor_and_reason_and_no_epoch() -> None:
    """The book says who did it and why; a deed is outside the fencing of cycles."""
    book = a_book()
    perform_action(book, an_action(VOID))
    with book.reading() as connection:
        query = "SELECT actor, reason, epoch, recorded_s FROM transfer ORDER BY id DESC"
        row = connection.exec_driver_sql(query).first()
    assert row is not None and tuple(row) == ("olga", "because", 0, NOW_S)


def test_a_void_lowers_the_grant_and_says_what_was_used() -> None:
    """What was charged stays charged; the rest is the sponsor's again."""
    book = a_book()
    answer = perform_action(book, an_action(VOID))
    assert (answer["used"], answer["voided"]) == ("0.0008", "0.0042")
    assert {g.id: g.left_ucr for g in load_state(book).grants} == {"g1": 0, "g2": 0}
    assert amounts(book)["sponsor:spring"] == -15_000 + 4_200


def test_a_granted_id_is_posted_once_by_command_and_by_file() -> None:
    """The file may take up a grant that was made by command: apply adds nothing."""
    book = a_book()
    perform_action(book, an_action(GRANT))
    known = {grant.id: grant for grant in load_state(book).grants}["b1"]
    assert (known.left_ucr, known.effective_s, known.expires_s) == (7_000, NOW_S, YEAR_S)
    acme = the_program().startup("acme")
    assert acme is not None
    birch = a_startup("birch", grants=(a_grant("b1", 7_000, effective_s=NOW_S),))
    apply_program(book, a_program(acme, birch), NOW_S, "tests")
    assert amounts(book)["grant:birch:b1"] == 7_000


def test_a_file_with_other_terms_than_the_command_is_refused() -> None:
    """Apply names the term that differs, and changes nothing."""
    book = a_book()
    perform_action(book, an_action(GRANT))
    before = digest(book)
    acme = the_program().startup("acme")
    assert acme is not None
    birch = a_startup("birch", grants=(a_grant("b1", 7_001, effective_s=NOW_S),))
    with pytest.raises(ProgramError, match="grant b1 of birch is in the book with another amount"):
        apply_program(book, a_program(acme, birch), NOW_S, "tests")
    assert digest(book) == before


def test_a_refund_returns_to_the_grants_it_was_drawn_from() -> None:
    """1,800 s: 800 to g2, drawn last, and 1,000 to g1, whose credits expire."""
    book = a_book()
    answer = perform_action(book, an_action(REFUND))
    assert answer["to"] == {"grant:acme:g1": "0.001", "grant:acme:g2": "0.0008"}
    assert (answer["seconds"], answer["expired"]) == (1_800, "0.001")
    held = amounts(book)
    assert held["usage:acme"] == 9_000 and held["expired:spring"] == 1_000
    assert (held["grant:acme:g1"], held["grant:acme:g2"]) == (0, 5_000)


def test_no_second_is_refunded_twice() -> None:
    """A wider refund returns the rest only; then there is nothing left to refund."""
    book = a_book()
    perform_action(book, an_action(REFUND))
    rest = RefundCommand(0, 20_000, startup="acme")
    assert perform_action(book, an_action(rest))["seconds"] == 9_000
    assert amounts(book)["usage:acme"] == 0
    before = digest(book)
    with pytest.raises(Refused, match="is left to refund"):
        perform_action(book, an_action(rest))
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
    answer = perform_action(book, an_action(RefundCommand(1_800, 5_400, zone=Z)))
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
            perform_action(book, an_action(RefundCommand(from_s, from_s + length_s, **names)))
        except Refused:
            of_birch = kind == 0 and from_s < 3_600
            assert set(window) <= gone or of_birch
        gone |= set(window)
    assert amounts(book)["usage:acme"] == 10_800 - len(gone)
    assert verify(book).fault is None and conserves(book)


def test_a_transfer_arrives_as_a_grant_with_the_same_end() -> None:
    """Birch can spend it at once, until the end that acme's grant had."""
    book = a_book()
    perform_action(book, an_action(TRANSFER))
    grants = {(g.startup, g.id.partition(".")[0]): g for g in load_state(book).grants}
    assert grants["acme", "g2"].left_ucr == 200
    arrived = grants["birch", "g2"]
    assert (arrived.left_ucr, arrived.expires_s, arrived.effective_s) == (4_000, YEAR_S, NOW_S)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (GrantCommand("nobody", "b1", 1), "no startup 'nobody'"),
        (GrantCommand("birch", "g1", 1), "grant of acme already"),
        (GrantCommand("birch", "b1", 10**12), "budget"),
        (GrantCommand("birch", "b1", 1, effective_s=-1), "before cohort spring starts"),
        (GrantCommand("birch", "b1", 1, expires_s=NOW_S), "give a later --expires"),
        (GrantCommand("birch", "b1", 1, effective_s=9, expires_s=9), "give a later --expires"),
        (VoidCommand("nobody", "g1"), "no startup 'nobody'"),
        (VoidCommand("acme", "g9"), "no grant g9; it has g1, g2"),
        (VoidCommand("acme", "g1"), "nothing left to void"),
        (RefundCommand(-1, 60, startup="acme"), "before cohort spring starts"),
        (RefundCommand(0, 60, startup="nobody"), "no startup 'nobody'"),
        (RefundCommand(0, 60, server="s9"), "no server s9"),
        (RefundCommand(0, 60, zone="fr-par-9"), "servers ran in fr-par-2"),
        (RefundCommand(10_800, 20_000, server="s1"), "is left to refund"),
        (TransferCommand("acme", "birch", 4_201), "more than the 0.0042"),
        (TransferCommand("acme", "acme", 1), "to itself"),
        (TransferCommand("acme", "nobody", 1), "no startup 'nobody'"),
        (TransferCommand("birch", "acme", 1), "more than the 0.00"),
    ],
)
def test_a_refused_deed_changes_nothing(command: Command, why: str) -> None:
    """One sentence says why, and the book's digest is what it was."""
    book = a_book()
    before = digest(book)
    with pytest.raises(Refused, match=why):
        perform_action(book, an_action(command))
    assert digest(book) == before


def test_a_transfer_sets_aside_what_ran_and_is_not_charged() -> None:
    """Posted 4200 less 100 s accrued and the reserve of 2130 s: a transfer moves the rest."""
    book = a_book(end_s=None)
    with book.writing() as connection:
        swept = {"name": Z, "confirmed_until_s": 10_900, "swept_s": 10_900}
        connection.execute(ZONE.insert().values(**swept, outcome="complete", detail=""))
    before = digest(book)
    with pytest.raises(Refused, match=r"more than the 0\.00197 "):
        perform_action(book, an_action(TransferCommand("acme", "birch", 1_971), now_s=10_900))
    assert digest(book) == before
    perform_action(book, an_action(TransferCommand("acme", "birch", 1_970), now_s=10_900))
    assert amounts(book)["grant:acme:g2"] == 4_200 - 1_970

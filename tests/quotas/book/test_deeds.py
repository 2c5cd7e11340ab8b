"""A deed is written once, whole or not at all; the book conserves and verifies after each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from quotas import migrations
from quotas.book.audit import account_sums
from quotas.book.commit import apply_program, commit
from quotas.book.deeds import perform, preview
from quotas.book.session import FILE_NAME, Book
from quotas.book.state import load
from quotas.book.transfers import Overdrawn, canonical, post
from quotas.book.verify import verify
from quotas.corrections import Refused
from quotas.ledger import Entry, Transfer, charge_transfer, expiry_transfer
from quotas.metering import Run
from quotas.orders import Deed, GrantOrder, Order, RefundOrder, TransferOrder, VoidOrder
from quotas.program import Program, ProgramError
from quotas.tables import RUN, ZONE
from quotas.tables import TRANSFER as TRANSFERS
from quotas.units import Period, format_credits
from tests.builders import TYPE, YEAR_S, Z, a_grant, a_program, a_run, a_startup
from tests.scheduler.rig import T0, Rig, program, server

from .rows import amounts, charges, digest, filled, lease_of, result_of

NOW_S = 50_000


def a_deed(order: Order, key: str | None = None, **changes: Any) -> Deed:
    """A deed of an operator at NOW_S."""
    values: dict[str, Any] = {"reason": "because", "actor": "olga", "now_s": NOW_S, **changes}
    return Deed(order, key=key, **values)


def the_program() -> Program:
    """Acme with two grants, the first of which ends early, and birch with none."""
    grants = (
        a_grant("g1", 10_000, expires_s=20_000),
        a_grant("g2", 5_000, effective_s=0),
    )
    return a_program(a_startup("acme", grants=grants), a_startup("birch"), starts_s=0)


def charge(book: Book, run: Run, period: Period) -> None:
    """Post a charge of a run as a cycle would."""
    grants = [grant for grant in load(book).grants if grant.startup == run.startup]
    transfer = charge_transfer("spring", run, period, grants)
    with book.writing() as connection:
        if transfer:
            post(connection, [transfer], recorded_s=period.end_s, epoch=1, actor="cohortd")


def a_book(book: Book | None = None, **changes: Any) -> Book:
    """10,800 s of s1 charged: all of g1, and 800 of g2; s1 ended then, unless changed."""
    book = book or Book.in_memory()
    apply_program(book, the_program(), 0, "tests")
    with book.writing() as connection:
        values = {f: getattr(a_run(), f) for f in a_run().__slots__}
        ended = {"posted_until_s": 10_800, "end_s": 10_800, **changes}
        connection.execute(RUN.insert().values(**{**values, **ended}))
    for hour in range(3):
        charge(book, a_run(), Period(hour * 3600, (hour + 1) * 3600))
    return book


def conserves(book: Book) -> bool:
    """granted + overdraft = charged + left + expired, from the entries themselves."""
    total: dict[str, int] = {}
    for account, ucr in account_sums(book).items():
        kind = account.partition(":")[0]
        total[kind] = total.get(kind, 0) + ucr
    given = -total.get("sponsor", 0) - total.get("overdraft", 0)
    return given == sum(total.get(kind, 0) for kind in ("usage", "grant", "expired"))


GRANT = GrantOrder("birch", "b1", 7_000)
VOID = VoidOrder("acme", "g2")
REFUND = RefundOrder(9_000, 10_800, server="s1")
OUTAGE = RefundOrder(9_000, 10_800, zone=Z)
TRANSFER = TransferOrder("acme", "birch", 4_000)
ORDERS: list[Order] = [GRANT, VOID, REFUND, OUTAGE, TRANSFER]


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
    """Posted 4200 less 100 s accrued and the reserve of 2100 s: a transfer moves the rest."""
    book = a_book(end_s=None)
    with book.writing() as connection:
        swept = {"name": Z, "confirmed_until_s": 10_900, "swept_s": 10_900}
        connection.execute(ZONE.insert().values(**swept, outcome="complete", detail=""))
    before = digest(book)
    with pytest.raises(Refused, match=r"more than the 0\.002 "):
        perform(book, a_deed(TransferOrder("acme", "birch", 2_001), now_s=10_900))
    assert digest(book) == before
    perform(book, a_deed(TransferOrder("acme", "birch", 2_000), now_s=10_900))
    assert amounts(book)["grant:acme:g2"] == 4_200 - 2_000


def test_no_program_no_deed() -> None:
    """A book without a program refuses every deed."""
    with pytest.raises(Refused, match="cohortd apply"):
        perform(Book.in_memory(), a_deed(GRANT))


def test_a_cycle_that_read_a_grant_before_its_void_is_rolled_back() -> None:
    """Its charge would overdraw the grant: nothing of the cycle is written, the next reads anew."""
    book = filled(Book.in_memory(), 1)
    stale = charges(1, first=1)
    perform(book, a_deed(VoidOrder("acme", "g1")))
    before = digest(book)
    with pytest.raises(Overdrawn, match="grant:acme:g1"):
        commit(book, result_of(transfers=stale), lease_of(book), 7_200)
    assert digest(book) == before


def test_cycles_go_on_after_each_deed() -> None:
    """Charges after a void go to overdraft, after a grant to it; all of it verifies."""
    rig = Rig(program(mode="shadow"))
    rig.cloud.add(server())
    rig.run()
    rig.run_until(T0 + 7_200, 600)
    perform(rig.book, a_deed(VoidOrder("acme", "g1"), now_s=rig.clock.now_s()))
    rig.run_until(T0 + 14_400, 600)
    assert rig.rows("balance")["overdraft:c"] < 0
    perform(rig.book, a_deed(GrantOrder("acme", "g2", 90_000_000), now_s=rig.clock.now_s()))
    perform(rig.book, a_deed(RefundOrder(T0, T0 + 60, server="s1"), now_s=rig.clock.now_s()))
    rig.run_until(T0 + 21_600, 600)
    assert rig.rows("balance")["grant:acme:g2"] < 90_000_000
    assert verify(rig.book).fault is None and conserves(rig.book)


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
    perform(book, a_deed(REFUND))
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
            perform(book, a_deed(GrantOrder("birch", "b1", amount_ucr)))
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
            (bonus,) = [grant for grant in load(book).grants if grant.id == "acme-bonus"]
            with book.writing() as connection:
                ended = [expiry_transfer(bonus)]
                post(connection, ended, recorded_s=end_s, epoch=1, actor="cohortd")
    before = amounts(book)
    perform(book, a_deed(RefundOrder(end_s - 1800, end_s + 1800, startup="acme"), now_s=200_000))
    after = amounts(book)
    page = (Path(__file__).parents[3] / "docs" / "credits.md").read_text()
    for told, ucr in {
        "8.6768 are forfeited": before["expired:spring"],
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


def order_of(step: str, value: int, number: int, book: Book) -> Order:
    """The order that a random step stands for."""
    if step == "grant":
        ends_s = NOW_S + 1 + value * 10
        return GrantOrder(("acme", "birch")[value % 2], f"n{number}", value, expires_s=ends_s)
    if step == "refund":
        return RefundOrder(value, value + 1 + value % 2_500, startup="acme")
    if step == "transfer":
        pair = ("acme", "birch") if value % 3 else ("birch", "acme")
        return TransferOrder(*pair, value)
    grants = load(book).grants
    grant = grants[value % len(grants)]
    return VoidOrder(grant.startup, grant.id)


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
            ended = [g for g in load(book).grants if g.left_ucr and g.expires_s <= NOW_S]
            with book.writing() as connection:
                made = [expiry_transfer(grant) for grant in ended]
                post(connection, made, recorded_s=NOW_S, epoch=1, actor="cohortd")
        else:
            try:
                perform(book, a_deed(order_of(step, value, number, book)))
            except Refused:
                continue
        assert conserves(book)
    held = amounts(book)
    assert 0 <= held["usage:acme"] <= charged_ucr
    assert all(ucr >= 0 for account, ucr in held.items() if account.startswith("grant:"))
    assert verify(book).fault is None
    perform_all = RefundOrder(0, until_s, startup="acme")
    if held["usage:acme"]:
        perform(book, a_deed(perform_all))
    assert amounts(book)["usage:acme"] == 0
    assert amounts(book).get("overdraft:spring", 0) == 0
    assert conserves(book) and verify(book).fault is None


def test_a_deed_of_an_older_book_still_answers_to_its_key(tmp_path: Path) -> None:
    """I23: a book of the first schema gets its deeds indexed, and repeats their answers."""
    deed = a_deed(GRANT, "k")
    answer = {"sentence": "granted"}
    detail = {"deed": "k", "order": deed.body, "answer": canonical(answer)}
    old = create_engine(f"sqlite:///{tmp_path / FILE_NAME}")
    with old.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        row = dict.fromkeys(("kind", "cohort", "startup", "actor", "reason", "hash"), "")
        row |= {"previous_hash": "", "key": "grant:b1", "detail": canonical(detail)}
        connection.execute(TRANSFERS.insert().values(**row, at_s=0, recorded_s=0, epoch=0))
    old.dispose()
    book = Book.open(tmp_path)
    assert perform(book, deed) == answer
    with pytest.raises(Refused, match="--key k was used"):
        perform(book, a_deed(VOID, "k"))
    book.close()

"""A cycle's result is written once, whole, by the leader, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from quotas.book.actions.requests import read_requests, withdraw_request
from quotas.book.cycle.commit import apply_program, commit, save_intents
from quotas.book.cycle.lease import StaleEpoch, acquire
from quotas.book.cycle.state import load_state
from quotas.book.session import Book
from quotas.book.transfers import post
from quotas.book.verify.verify import verify
from quotas.ledger.corrections import Refused
from quotas.ledger.transfers import Entry, Transfer, grant_transfer
from quotas.metering.runs import UnconfirmedPeriod
from quotas.model.units import LARGEST_UCR, Period
from quotas.state.notices import IntentCode, IntentResult
from quotas.state.requests import Request, RequestState
from quotas.state.snapshot import Decision
from tests.builders import (
    FLAVOR,
    RATE,
    Z,
    a_grant,
    a_notice,
    a_program,
    a_run,
    a_startup,
    an_intent,
    unknown,
)

from ..book_builders import amounts, charges, digest, filled, lease_of, result_of

DECISION = Decision("acme", "s1", "credits", "notify", "credits:0", {"left_ucr": 1})
UNSURE = IntentResult(code=IntentCode.UNSURE, error="no answer")


def test_a_result_is_read_back_as_it_was() -> None:
    """Runs, zones, disputes, notices and intents come back equal; money is in the accounts."""
    book = filled(Book.in_memory(), 0)
    lease = lease_of(book)
    run = a_run(posted_until_s=3600)
    unconfirmed_period = UnconfirmedPeriod("s1", "acme", FLAVOR, Period(5, 25), RATE)
    notice, intent = a_notice(id=None, state="executing"), an_intent(id=None)
    commit(
        book,
        result_of(runs=[run], unconfirmed_periods=[unconfirmed_period], notices=[notice]),
        lease,
        3600,
    )
    commit(book, result_of(transfers=[], intents=[intent]), lease, 3630)
    state = load_state(book)
    assert state.runs == (run,)
    assert state.confirmed == {Z: 3600}
    assert state.unconfirmed == {"acme": 20}
    assert state.notices == (replace(notice, id=1),)
    assert state.intents == (replace(intent, id=1),)
    assert (state.charged, state.grants[0].left_ucr) == ({"acme": 3600}, 1_000_000 - 3600)


def test_a_zone_that_is_unknown_keeps_its_confirmed_instant() -> None:
    """A failed sweep is recorded, and confirms nothing."""
    book = filled(Book.in_memory(), 0)
    commit(book, result_of(sweeps=[unknown(9000)], confirmed={Z: 3600}), lease_of(book), 9000)
    assert load_state(book).confirmed == {Z: 3600}


def test_replaying_a_commit_adds_nothing_to_the_books() -> None:
    """I6: the same transfers again, under a later instant and epoch, move nothing."""
    book = filled(Book.in_memory(), 0)
    commit(book, result_of(), lease_of(book), 3600)
    before, announced = digest(book), amounts(book)
    lease = acquire(book, "b", 99_999, 180)
    assert lease is not None
    with book.writing() as connection:
        assert post(connection, charges(1), recorded_s=9, epoch=2, actor="again") == 0
    commit(book, result_of(), lease, 3600)
    assert amounts(book) == announced
    assert verify(book).fault is None
    assert digest(book) != before  # the lease moved on, and nothing else
    with book.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transfer")) == 2


def test_only_what_is_new_of_a_batch_is_added() -> None:
    """Known and new keys in one batch: the new ones are appended, once each."""
    book = filled(Book.in_memory(), 2)
    with book.writing() as connection:
        assert post(connection, charges(5), recorded_s=9, epoch=1, actor="x") == 3
    assert amounts(book)["usage:acme"] == 5 * 3600
    assert verify(book).fault is None


def test_a_stale_epoch_writes_nothing() -> None:
    """I14: a leader that was superseded is refused, by commit and by mark."""
    book = filled(Book.in_memory(), 0)
    old = lease_of(book)
    assert acquire(book, "b", 1000, 180) is not None
    before = digest(book)
    with pytest.raises(StaleEpoch, match="superseded by 2"):
        commit(book, result_of(decisions=[DECISION], notices=[a_notice(id=None)]), old, 3600)
    with pytest.raises(StaleEpoch):
        save_intents(book, [an_intent(id=None)], old)
    assert digest(book) == before


STEPS = (
    "transfer",
    "entry",
    "balance",
    "run",
    "unconfirmed",
    "zone",
    "decision",
    "notice",
    "intent",
)


@pytest.mark.parametrize("table", STEPS)
def test_a_commit_that_fails_midway_leaves_the_book_as_it_was(table: str) -> None:
    """I24: whichever statement fails, no row of any table differs afterwards."""
    book = filled(Book.in_memory(), 1)
    lease = lease_of(book)
    whole = result_of(
        transfers=charges(1, 1),
        unconfirmed_periods=[UnconfirmedPeriod("s1", "acme", FLAVOR, Period(5, 25), RATE)],
        decisions=[DECISION],
        notices=[a_notice(id=None)],
        intents=[an_intent(id=None)],
    )
    with book.writing() as connection:
        connection.execute(
            text(
                f"CREATE TRIGGER boom BEFORE INSERT ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
        )
    before = digest(book)
    with pytest.raises(SQLAlchemyError, match="disk full"):
        commit(book, whole, lease, 3600)
    assert digest(book) == before
    with book.writing() as connection:
        connection.execute(text("DROP TRIGGER boom"))
    commit(book, whole, lease, 3600)
    assert digest(book) != before
    assert verify(book).fault is None


def test_a_quiet_cycle_writes_one_row_for_each_zone() -> None:
    """Nothing changed: one zone row is rewritten, no row is added anywhere."""
    book = filled(Book.in_memory(), 0)
    lease = lease_of(book)
    commit(book, result_of(), lease, 3600)
    with book.writing() as connection:
        before = connection.scalar(text("SELECT total_changes()"))
    commit(book, result_of(runs=[], transfers=[]), lease, 3630)
    with book.writing() as connection:
        assert connection.scalar(text("SELECT total_changes()")) == before + 1


def test_notices_and_intents_move_their_state_only() -> None:
    """They keep all the rest; a deadline may move later, and never earlier."""
    book = filled(Book.in_memory(), 0)
    lease = lease_of(book)
    commit(book, result_of(notices=[a_notice(id=None)]), lease, 1)
    commit(book, result_of(intents=[an_intent(id=None)]), lease, 2)
    save_intents(book, [an_intent(state="sent", sent_s=1900, result=UNSURE)], lease)
    commit(book, result_of(notices=[a_notice(state="executing", server_name="other")]), lease, 3)
    state = load_state(book)
    assert state.intents == (an_intent(state="sent", sent_s=1900, result=UNSURE),)
    assert state.notices == (a_notice(state="executing"),)
    assert state.announced == {"enforce": {("acme", "credits:0")}}
    commit(book, result_of(notices=[a_notice(state="executing", deadline_s=9999)]), lease, 4)
    assert load_state(book).notices == (a_notice(state="executing", deadline_s=9999),)
    commit(book, result_of(notices=[a_notice(state="open", deadline_s=9)]), lease, 5)
    assert load_state(book).notices == (a_notice(state="open", deadline_s=9999),)


def test_a_request_that_was_withdrawn_meanwhile_stays_withdrawn() -> None:
    """A cycle that decided before the withdrawal writes no state that cannot follow it."""
    book = filled(Book.in_memory(), 0)
    lease = lease_of(book)
    asked = Request("acme", "h100", 2, 3600, "", "cto", 5)
    commit(book, result_of(requests=[asked, asked]), lease, 1)
    decided = [replace(asked, id=id).to(RequestState.FULFILLED, met_s=9) for id in (1, 2)]
    withdrawn = withdraw_request(book, 1, 8, "not needed")
    commit(book, result_of(requests=decided), lease, 9)
    assert read_requests(book, 9) == (decided[1], withdrawn)


def test_applying_a_program_grants_once() -> None:
    """Applying the same program again is no new version, and credits no grant twice."""
    book, program = Book.in_memory(), a_program(a_startup(grants=(a_grant(), a_grant("g2", 5))))
    assert apply_program(book, program, 0, "ann") == 1
    before = digest(book)
    assert apply_program(book, program, 99, "bob") == 1
    assert digest(book) == before
    assert amounts(book) == {
        "sponsor:spring": -1_000_005,
        "grant:acme:g1": 1_000_000,
        "grant:acme:g2": 5,
    }


def test_a_changed_program_is_a_new_version_with_its_new_grants_only() -> None:
    """A grant added later is credited; those there before are not credited again."""
    book = Book.in_memory()
    apply_program(book, a_program(a_startup(grants=(a_grant(),))), 0, "ann")
    wider = a_program(a_startup(grants=(a_grant(), a_grant("g2", 5))))
    assert apply_program(book, wider, 9, "ann") == 2
    assert amounts(book)["sponsor:spring"] == -1_000_005
    state = load_state(book)
    assert (state.program, state.program_version) == (wider, 2)
    assert [(g.id, g.created) for g in state.grants] == [("g1", 1), ("g2", 2)]


def test_sums_are_exact_up_to_the_largest_amount() -> None:
    """I19: amounts of 2^62 ucr are kept, added and verified as integers, to the last unit."""
    book = Book.in_memory()
    with book.writing() as connection:
        granted = [grant_transfer("spring", "acme", "big", LARGEST_UCR - 1, 0)]
        granted.append(grant_transfer("spring", "acme", "more", LARGEST_UCR, 0))
        post(connection, granted, recorded_s=0, epoch=0, actor="tests")
        back = (Entry("grant:acme:big", -LARGEST_UCR + 1), Entry("sponsor:spring", LARGEST_UCR - 1))
        undo = Transfer("void", "void", "spring", "acme", 0, back, "")
        post(connection, [undo], recorded_s=0, epoch=0, actor="tests")
    assert amounts(book) == {
        "sponsor:spring": -LARGEST_UCR,
        "grant:acme:big": 0,
        "grant:acme:more": LARGEST_UCR,
    }
    assert verify(book).fault is None


def test_a_balance_beyond_an_int64_is_refused() -> None:
    """SQLite would answer a float: one sentence instead, and the book is what it was."""
    book = Book.in_memory()
    granted = [grant_transfer("spring", "acme", f"g{n}", LARGEST_UCR, 0) for n in range(2)]
    with book.writing() as connection:
        post(connection, granted[:1], recorded_s=0, epoch=0, actor="tests")
    before = digest(book)
    with (
        pytest.raises(Refused, match="sponsor:spring would pass 2\\^63"),
        book.writing() as connection,
    ):
        post(connection, granted[1:], recorded_s=0, epoch=0, actor="tests")
    assert digest(book) == before

"""One leader at a time, and an epoch that only ever rises (I14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.book.cycle.lease import (
    MAX_LEASE_S,
    Lease,
    StaleEpoch,
    acquire,
    current_lease,
    fence,
    release,
    seize,
)
from quotas.book.schema.tables import LEASE
from quotas.book.session import Book

from ..book_builders import lease_of


def test_the_first_to_ask_leads() -> None:
    """An empty book gives the lease under epoch 1."""
    assert lease_of(Book.in_memory(), "a", 100) == Lease("a", 1, 280)


def test_another_waits_until_it_has_run_out() -> None:
    """While the lease runs, another gets None; at its end it gets the next epoch."""
    book = Book.in_memory()
    lease_of(book, "a", 100)
    assert acquire(book, "b", 279, 180) is None
    assert acquire(book, "b", 280, 180) == Lease("b", 2, 460)


def test_renewing_keeps_the_epoch() -> None:
    """The holder moves the end on, under the same epoch."""
    book = Book.in_memory()
    lease_of(book, "a", 100)
    assert acquire(book, "a", 200, 180) == Lease("a", 1, 380)


def test_after_a_lapse_even_the_same_holder_gets_a_new_epoch() -> None:
    """Who overslept its lease may not write what it began under it."""
    book = Book.in_memory()
    old = lease_of(book, "a", 100)
    assert acquire(book, "a", 280, 180) == Lease("a", 2, 460)
    with pytest.raises(StaleEpoch), book.writing() as connection:
        fence(connection, old)


def test_a_renewal_moves_the_end_on_a_clock_that_stepped_back_too() -> None:
    """Whole from the instant of the renewal, under the same epoch: who waits sees it renewed."""
    book = Book.in_memory()
    lease_of(book, "a", 1000)
    assert acquire(book, "a", 500, 180) == current_lease(book) == Lease("a", 1, 680)


def test_a_dead_lease_is_taken_however_far_its_end_is() -> None:
    """Days before it runs out, under the next epoch; not once its holder has renewed it."""
    book = Book.in_memory()
    assert current_lease(book) is None
    lease_of(book, "a", 10**6)
    expired_lease = current_lease(book)
    assert acquire(book, "b", 100, 180) is None
    lease_of(book, "a", 10**6 + 30)
    assert acquire(book, "b", 100, 180, expired_lease) is None
    assert acquire(book, "b", 100, 180, current_lease(book)) == Lease("b", 2, 280)


def test_no_lease_is_longer_than_others_wait() -> None:
    """Else one that is alive could be taken for dead."""
    with pytest.raises(AssertionError, match="no lease of 301 s"):
        acquire(Book.in_memory(), "a", 100, MAX_LEASE_S + 1)


def test_a_holder_counts_on_a_lease_by_both_of_its_clocks() -> None:
    """A wall that stepped back leaves no more of it than monotonic time does, nor the other way."""
    lease = Lease("a", 1, 280, ends_s=1180)
    assert lease.left_s(100, 1000) == 180
    assert lease.left_s(-(10**6), 1100) == 80
    assert lease.left_s(250, 1001) == 30
    assert Lease("a", 1, 280).left_s(100, 10**9) == 180


def test_released_it_is_free_at_once() -> None:
    """Leaving cleanly lets another lead without a wait; a stale release frees nothing."""
    book = Book.in_memory()
    old = lease_of(book, "a", 100)
    release(book, old)
    assert acquire(book, "b", 101, 180) == Lease("b", 2, 281)
    release(book, old)
    assert acquire(book, "c", 102, 180) is None


@pytest.fixture(scope="module")
def book() -> Book:
    """One book for all examples, each of which begins without a lease."""
    return Book.in_memory()


def test_an_operator_takes_the_lease_from_a_living_holder() -> None:
    """A new epoch at once: what the holder still writes is refused, and it waits its turn."""
    book = Book.in_memory()
    assert seize(book, "release-all", 50, 10) == Lease("release-all", 1, 60)
    held = lease_of(book, "a", 100)
    taken = seize(book, "release-all", 101, 300)
    assert taken == Lease("release-all", held.epoch + 1, 401)
    with book.writing() as connection, pytest.raises(StaleEpoch):
        fence(connection, held)
    assert acquire(book, "a", 102, 180) is None
    release(book, taken)
    assert acquire(book, "a", 103, 180) == Lease("a", taken.epoch + 1, 283)


moves = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-50, 300), st.booleans()), max_size=20
)


@given(moves)
def test_epochs_never_fall_and_two_never_share_one(
    book: Book, drawn: list[tuple[str, int, bool]]
) -> None:
    """I14: whatever the clock does, an epoch belongs to one holder, and the newest wins."""
    now_s, newest = 1000, 0
    owners: dict[int, str] = {}
    with book.writing() as connection:
        connection.execute(LEASE.delete())
    for holder, step_s, leaves in drawn:
        now_s += step_s
        lease = acquire(book, holder, now_s, 180)
        if lease is None:
            continue
        assert lease.epoch >= newest
        assert owners.setdefault(lease.epoch, holder) == holder
        assert lease.expires_s >= now_s + 180
        newest = lease.epoch
        if leaves:
            release(book, lease)

"""Every transfer sums to zero, says where it came from, and is built once by its key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.transfers import (
    Entry,
    Transfer,
    apply_transfer,
    burn_order,
    charge_transfer,
    expiry_transfer,
    grant_transfer,
)
from quotas.model.units import Period
from tests.builders import a_balance_of, a_run

HOUR = Period(0, 3600)


def test_a_transfer_that_does_not_sum_to_zero_cannot_be_made() -> None:
    """I1: money neither appears nor vanishes."""
    with pytest.raises(ValueError, match="sum to zero"):
        Transfer("k", "charge", "spring", "acme", 0, (Entry("a", 1), Entry("b", -2)), "")


def test_an_entry_that_moves_nothing_cannot_be_made() -> None:
    """An entry of 0 explains nothing, so it is refused."""
    with pytest.raises(ValueError, match="moves nothing"):
        Transfer("k", "charge", "spring", "acme", 0, (Entry("a", 0),), "")


def test_a_grant_comes_from_its_sponsor() -> None:
    """The grant's own account gains what the cohort's sponsor loses."""
    transfer = grant_transfer("spring", "acme", "g1", 500, 7)
    assert transfer.entries == (Entry("sponsor:spring", -500), Entry("grant:acme:g1", 500))
    assert (transfer.key, transfer.at_s) == ("grant:acme:g1", 7)


def test_burn_order() -> None:
    """Priority first, then the earlier end, the earlier creation, the id."""
    grants = [
        a_balance_of("late", expires_s=9999),
        a_balance_of("b", expires_s=5000, created=1),
        a_balance_of("a", expires_s=5000, created=1),
        a_balance_of("older", expires_s=5000, created=0),
        a_balance_of("first", expires_s=99_999, priority=-1),
    ]
    assert [g.id for g in burn_order(grants, HOUR)] == ["first", "older", "a", "b", "late"]
    assert burn_order(grants[::-1], HOUR) == burn_order(grants, HOUR)


@pytest.mark.parametrize(
    "changes",
    [{"effective_s": 1}, {"expires_s": 3599}, {"left_ucr": 0}],
)
def test_a_grant_out_of_force_is_not_drawn_on(changes: dict[str, int]) -> None:
    """I18: no second before its start, none from its end on, and nothing from an empty one."""
    grant = a_balance_of(**changes)
    transfer = charge_transfer("spring", a_run(), HOUR, [grant])
    assert transfer is not None
    assert transfer.entries == (Entry("overdraft:spring", -3600), Entry("usage:acme", 3600))


def test_a_grant_covers_up_to_its_very_end() -> None:
    """A period that ends at the grant's end instant lies within it."""
    grant = a_balance_of(effective_s=0, expires_s=3600)
    assert burn_order([grant], HOUR) == [grant]


def test_a_charge_says_from_which_grants_it_was_paid() -> None:
    """Provenance: an entry for each grant drawn on, the rest from the sponsor's overdraft."""
    grants = [a_balance_of("g1", 1000), a_balance_of("g2", 2000, created=1)]
    transfer = charge_transfer("spring", a_run(), HOUR, grants)
    assert transfer is not None
    assert transfer.entries == (
        Entry("grant:acme:g1", -1000),
        Entry("grant:acme:g2", -2000),
        Entry("overdraft:spring", -600),
        Entry("usage:acme", 3600),
    )
    assert (transfer.key, transfer.at_s) == ("charge:s1@0:0", 3600)
    assert [g.left_ucr for g in apply_transfer(grants, transfer)] == [0, 0]


def test_a_charge_below_a_micro_credit_is_none() -> None:
    """What costs less than 1 ucr posts no transfer."""
    assert charge_transfer("spring", a_run(rate_ucr_per_h=3599), Period(0, 1), []) is None


def test_a_run_without_a_rate_cannot_be_charged() -> None:
    """An unknown price is refused, never taken for 0."""
    with pytest.raises(ValueError, match="no accepted rate"):
        charge_transfer("spring", a_run(rate_ucr_per_h=None), HOUR, [])


def test_an_expiry_forfeits_exactly_the_rest() -> None:
    """The end of a grant leaves its account at 0, on the cohort's expired account."""
    grant = a_balance_of("g1", 77, expires_s=500)
    transfer = expiry_transfer(grant)
    assert transfer.entries == (Entry("grant:acme:g1", -77), Entry("expired:spring", 77))
    assert (transfer.at_s, apply_transfer([grant], transfer)[0].left_ucr) == (500, 0)


@given(
    st.lists(st.integers(0, 5000), max_size=6),
    st.integers(0, 10**7),
    st.integers(0, 10**4),
    st.integers(1, 10**4),
)
def test_a_charge_never_overdraws_a_grant(
    lefts: list[int], rate: int, start_s: int, length_s: int
) -> None:
    """Grants pay what they have and no more; the overdraft pays exactly what is missing."""
    grants = [a_balance_of(f"g{n}", left, created=n) for n, left in enumerate(lefts)]
    run, period = a_run(rate_ucr_per_h=rate), Period(start_s, start_s + length_s)
    transfer = charge_transfer("spring", run, period, grants)
    if transfer is None:
        return
    moved = {entry.account: entry.amount_ucr for entry in transfer.entries}
    assert min((g.left_ucr for g in apply_transfer(grants, transfer)), default=0) >= 0
    shortfall = max(0, moved["usage:acme"] - sum(lefts))
    assert -moved.get("overdraft:spring", 0) == shortfall
    assert len(moved) == len(transfer.entries)

"""Corrections give back exactly what was taken, to those it was taken from, and only once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.corrections import (
    Charge,
    RefundedPeriod,
    Refused,
    expire_refunds,
    move_transfer,
    refund_transfers,
    transfer_parts,
    void_transfer,
)
from quotas.ledger.transfers import Entry, Transfer
from quotas.model.units import Period, cost_ucr
from tests.builders import YEAR_S, a_balance_of

SPAN = Period(1_000, 1_200)


def a_charge(*shares: int, rate_ucr_per_h: int = 3600, run_start_s: int = 0) -> Charge:
    """A charge over SPAN, drawn from g0, g1, … in that order; the last share takes the rest."""
    left_ucr, draws = cost_ucr(rate_ucr_per_h, run_start_s, SPAN), []
    for number, share in enumerate(shares):
        if drawn := min(share, left_ucr):
            draws.append(Entry(f"grant:acme:g{number}", drawn))
            left_ucr -= drawn
    if left_ucr:
        draws.append(Entry("overdraft:spring", left_ucr))
    return Charge(
        "charge:s1@0:1000",
        "spring",
        "acme",
        "s1@0",
        "s1",
        SPAN,
        run_start_s,
        rate_ucr_per_h,
        tuple(draws),
    )


def after(charge: Charge, refunds: list[Transfer]) -> Charge:
    """The charge with these refunds in the book."""
    known = [
        RefundedPeriod(Period(int(r.detail["start_s"]), int(r.detail["end_s"])), r.entries[1:])
        for r in refunds
    ]
    return replace(charge, refunds=tuple(known))


def test_a_whole_refund_mirrors_the_charge() -> None:
    """Every account gets back exactly what it gave, whichever accounts those were."""
    (refund,) = refund_transfers(a_charge(50, 70), SPAN, 9_000, "outage")
    assert refund.entries == (
        Entry("usage:acme", -200),
        Entry("overdraft:spring", 80),
        Entry("grant:acme:g1", 70),
        Entry("grant:acme:g0", 50),
    )
    assert (refund.kind, refund.at_s, refund.reason) == ("refund", 9_000, "outage")


def test_the_last_drawn_is_returned_first() -> None:
    """A part returns to overdraft before the grants, and to the later grant before the first."""
    (refund,) = refund_transfers(a_charge(50, 70), Period(1_100, 5_000), 9_000, "outage")
    assert refund.entries[1:] == (Entry("overdraft:spring", 80), Entry("grant:acme:g1", 20))


def test_a_refund_of_nothing_is_no_transfer() -> None:
    """Seconds outside the charge, and seconds that cost less than a micro-credit."""
    assert refund_transfers(a_charge(500), Period(0, 1_000), 9_000, "r") == []
    assert refund_transfers(a_charge(500), Period(1_200, 1_300), 9_000, "r") == []
    cheap = a_charge(500, rate_ucr_per_h=36)
    assert refund_transfers(cheap, Period(1_001, 1_002), 9_000, "r") == []


windows = st.lists(
    st.tuples(st.integers(950, 1_250), st.integers(0, 120)).map(lambda t: Period(t[0], sum(t))),
    max_size=8,
)


@given(
    st.lists(st.integers(0, 90), max_size=4),
    st.integers(1, 40_000),
    st.integers(0, 1_000),
    windows,
)
def test_refunds_return_each_second_once(
    shares: list[int], rate: int, run_start_s: int, asked: list[Period]
) -> None:
    """Refund upon refund: sums are F(end) - F(start) of each stretch, and nobody gets too much."""
    charge = a_charge(*shares, rate_ucr_per_h=rate, run_start_s=run_start_s)
    refunds: list[Transfer] = []
    for window in [*asked, SPAN]:
        refunds += refund_transfers(after(charge, refunds), window, 9_000, "r")
    taken: set[int] = set()
    back: dict[str, int] = defaultdict(int)
    for refund in refunds:
        period = Period(int(refund.detail["start_s"]), int(refund.detail["end_s"]))
        seconds = set(range(period.start_s, period.end_s))
        assert not seconds & taken
        taken |= seconds
        assert -refund.entries[0].amount_ucr == cost_ucr(rate, run_start_s, period)
        for entry in refund.entries[1:]:
            back[entry.account] += entry.amount_ucr
    drawn = {draw.account: draw.amount_ucr for draw in charge.draws}
    assert back == drawn
    assert len({refund.key for refund in refunds}) == len(refunds)


def test_an_ended_grant_forfeits_what_comes_back() -> None:
    """The refund still names the grant; the same amount goes on to the expired account."""
    (refund,) = refund_transfers(a_charge(150, 70), SPAN, 9_000, "outage")
    ended = a_balance_of("g0", 0, expires_s=9_000)
    alive = a_balance_of("g1", 0, expires_s=9_001)
    (lost,) = expire_refunds(refund, {g.account: g for g in (ended, alive)}, 9_000)
    assert lost.entries == (Entry("grant:acme:g0", -150), Entry("expired:spring", 150))
    assert lost.kind == "expiry" and lost.key != "expiry:acme:g0"


def test_a_void_takes_what_is_left() -> None:
    """The used part stays used; the rest goes back to the sponsor."""
    void = void_transfer("g1", [a_balance_of(left_ucr=30, granted_ucr=100)], "k", 5, "left")
    assert void.entries == (Entry("grant:acme:g1", -30), Entry("sponsor:spring", 30))


def test_a_void_of_nothing_is_refused() -> None:
    """A used grant has nothing to void, and the sentence says so."""
    with pytest.raises(Refused, match="nothing left to void"):
        void_transfer("g1", [a_balance_of(left_ucr=0, granted_ucr=100)], "k", 5, "left")


def test_a_transfer_draws_in_burn_order_and_keeps_the_end() -> None:
    """Priority and earlier end first; each part keeps the terms of the grant it came from."""
    late = a_balance_of("late", 100)
    soon = a_balance_of("soon", 60, expires_s=5_000)
    parts = transfer_parts([late, soon], "birch", 90, 1_000, 17)
    assert [(p.source.id, p.destination.id, p.destination.granted_ucr) for p in parts] == [
        ("soon", "soon.17", 60),
        ("late", "late.17", 30),
    ]
    assert [(p.destination.effective_s, p.destination.expires_s) for p in parts] == [
        (1_000, 5_000),
        (1_000, YEAR_S),
    ]
    moved = move_transfer(parts, "k", 1_000, "help")
    assert moved.entries == (
        Entry("grant:acme:soon", -60),
        Entry("grant:acme:late", -30),
        Entry("grant:birch:soon.17", 60),
        Entry("grant:birch:late.17", 30),
    )


@pytest.mark.parametrize("grant", [{"expires_s": 1_000}, {"effective_s": 1_001}, {"left_ucr": 89}])
def test_a_transfer_of_more_than_can_be_spent_now_is_refused(grant: Any) -> None:
    """What has ended, has not begun or is not there cannot be given."""
    with pytest.raises(Refused, match="more than the"):
        transfer_parts([replace(a_balance_of(left_ucr=100), **grant)], "birch", 90, 1_000, 17)


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(1, 200))
def test_a_transfer_moves_its_amount_exactly_or_not_at_all(lefts: list[int], amount: int) -> None:
    """The parts sum to the amount, none is empty, and none is above what its grant holds."""
    grants = [a_balance_of(f"g{n}", left, created=n) for n, left in enumerate(lefts)]
    if amount > sum(lefts):
        with pytest.raises(Refused):
            transfer_parts(grants, "birch", amount, 1_000, 17)
        return
    parts = transfer_parts(grants, "birch", amount, 1_000, 17)
    assert sum(p.destination.granted_ucr for p in parts) == amount
    assert all(0 < p.destination.granted_ucr <= p.source.left_ucr for p in parts)

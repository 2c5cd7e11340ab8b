"""Corrections of a price and refunds, in any order, never return more than was paid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.corrections import Charge, RefundedPeriod, charge_from, refund_transfers
from quotas.ledger.repricing import (
    PriceChange,
    correct_charge,
    difference_ucr,
    with_differences,
)
from quotas.ledger.transfers import Entry, GrantBalance, Transfer, apply_transfer, charge_transfer
from quotas.metering.prices import Prices, Step, Version
from quotas.model.units import Period, cost_ucr
from tests.builders import FLAVOR, RATE, a_balance_of, a_run

SPAN = Period(1_000, 4_000)


def a_charge(left_ucr: int = 10**9, rate_ucr_per_h: int = RATE, period: Period = SPAN) -> Charge:
    """A charge of s1's run from 0 on grant g1, and on overdraft beyond it."""
    run = a_run(rate_ucr_per_h=rate_ucr_per_h)
    made = charge_transfer("spring", run, period, [a_balance_of(left_ucr=left_ucr)])
    assert made is not None
    return charge_from(made, made.detail, made.entries)


def at_rate(rate_ucr_per_h: int, from_s: int = 0) -> Step:
    """A rate from an instant on, as version 7 set it."""
    return Step(from_s, rate_ucr_per_h, 7)


def change(*, to_startup: bool = False, number: int = 7) -> PriceChange:
    """A change of price at 9,000."""
    return PriceChange(number, 9_000, "mistake", to_startup)


def refunded(charge: Charge, window: Period) -> tuple[Charge, list[Transfer]]:
    """The charge after a refund, and the refund."""
    made = refund_transfers(charge, window, 9_000, "outage")
    known = [
        RefundedPeriod(Period(int(t.detail["start_s"]), int(t.detail["end_s"])), t.entries[1:])
        for t in made
    ]
    return replace(charge, refunds=(*charge.refunds, *known)), made


def test_a_cheaper_price_returns_to_the_last_drawn_first() -> None:
    """Half the price of 3,000 s: 1,500 back, of which 1,000 to the overdraft drawn last."""
    made = correct_charge(a_charge(2_000), SPAN, at_rate(RATE // 2), [], change())
    (transfer,) = made.transfers
    assert transfer.entries == (
        Entry("usage:acme", -1_500),
        Entry("overdraft:spring", 1_000),
        Entry("grant:acme:g1", 500),
    )
    assert (made.seconds, made.old_ucr, made.new_ucr) == (3_000, 3_000, 1_500)
    assert (transfer.kind, transfer.at_s, transfer.reason) == ("correction", 9_000, "mistake")


def test_a_dearer_price_draws_only_where_told() -> None:
    """In burn order, then on overdraft; by default it is only counted."""
    grants = [a_balance_of("late", 10**6), a_balance_of("soon", 1_000, expires_s=5_000)]
    counted = correct_charge(a_charge(), SPAN, at_rate(2 * RATE), grants, change())
    assert counted.transfers == () and (counted.old_ucr, counted.new_ucr) == (3_000, 6_000)
    drawn = correct_charge(a_charge(), SPAN, at_rate(2 * RATE), grants, change(to_startup=True))
    assert drawn.transfers[0].entries == (
        Entry("usage:acme", 3_000),
        Entry("grant:acme:soon", -1_000),
        Entry("grant:acme:late", -2_000),
    )
    assert {grant.id: grant.left_ucr for grant in drawn.grants} == {"late": 998_000, "soon": 0}


def test_the_same_correction_twice_corrects_once() -> None:
    """What is at the rate already is left alone, in any window over it."""
    once = correct_charge(a_charge(), Period(1_500, 2_500), at_rate(RATE // 2), [], change())
    again = correct_charge(once.charge, SPAN, at_rate(RATE // 2), [], change(number=8))
    assert [each.detail["start_s"] for each in again.transfers] == [1_000, 2_500]
    assert (
        correct_charge(again.charge, SPAN, at_rate(RATE // 2), [], change(number=9)).transfers == ()
    )


deeds = st.lists(
    st.tuples(
        st.sampled_from(["refund", "sponsor", "startup"]),
        st.integers(900, 4_100),
        st.integers(1, 3_000),
        st.integers(0, 20_000),
    ),
    max_size=8,
)


@given(deeds, st.integers(0, 5_000), st.integers(1, 20_000))
def test_any_order_of_refunds_and_corrections_is_exact(
    asked: list[tuple[str, int, int, int]], left_ucr: int, rate: int
) -> None:
    """What a charge drew, less what it gave back, is what its open seconds cost; never less than 0.

    At the end the rest is refunded, and everyone has back exactly what was taken.
    """
    first = a_charge(left_ucr, max(rate, 2))
    net: dict[str, int] = defaultdict(int)
    for entry in first.draws:
        net[entry.account] += entry.amount_ucr
    charge, keys = first, [first.key]
    for number, (kind, from_s, length_s, new_rate) in enumerate([*asked, ("refund", 0, 9_000, 0)]):
        window = Period(from_s, from_s + length_s)
        if kind == "refund":
            charge, transfers = refunded(charge, window)
        else:
            told = change(to_startup=kind == "startup", number=number)
            grants = [a_balance_of("more", 700)]
            made = correct_charge(charge, window, at_rate(new_rate, from_s), grants, told)
            charge, transfers = made.charge, list(made.transfers)
        for transfer in transfers:
            keys.append(transfer.key)
            for entry in transfer.entries[1:]:
                net[entry.account] -= entry.amount_ucr
        assert all(amount >= 0 for amount in net.values())
        still = charge.refundable_periods(SPAN)
        assert sum(net.values()) == sum(charge.cost_ucr(period) for period in still)
    assert not any(net.values()) and len(set(keys)) == len(keys)


points = st.lists(st.integers(1, 8_999), max_size=6, unique=True)


@given(points, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 9_000))
def test_a_correction_is_what_the_price_known_in_time_would_have_charged(
    cuts: list[int], old: int, new: int, from_s: int
) -> None:
    """I5: however the run was charged, F counts on each side of the change."""
    run, total_ucr = a_run(rate_ucr_per_h=old), 0
    for start_s, end_s in pairwise([0, *sorted(cuts), 9_000]):
        made = charge_transfer("spring", run, Period(start_s, end_s), [])
        if made is None:
            continue
        told = change(to_startup=True)
        window = Period(min(from_s, 9_000), 9_000)
        charge = charge_from(made, made.detail, made.entries)
        charge = correct_charge(charge, window, at_rate(new, from_s), [], told).charge
        total_ucr += charge.cost_ucr(charge.period)
    before = cost_ucr(old, 0, Period(0, from_s))
    after = cost_ucr(new, from_s, Period(from_s, 9_000))
    same = cost_ucr(old, 0, Period(0, 9_000))
    # A period that cost less than a micro-credit was never charged: nothing to correct there.
    free = old * min(b - a for a, b in pairwise([0, *sorted(cuts), 9_000])) < 3_600
    assert free or total_ucr == (same if old == new else before + after)


def paid(*listed: tuple[int, int]) -> Prices:
    """One accepted rate of RATE, and what was listed from when."""
    version = Version(1, 0, RATE, 0)
    return Prices({FLAVOR: (version,)}, {FLAVOR: tuple(Step(s, r) for s, r in listed)})


@pytest.mark.parametrize(
    ("listed", "more_ucr"),
    [
        ((), 0),
        (((0, RATE),), 0),
        (((2_000, 2 * RATE),), 2_000),
        (((2_000, RATE // 2),), -1_000),
        (((2_000, 2 * RATE), (3_000, RATE)), 1_000),
        (((5_000, 2 * RATE),), 0),
    ],
)
def test_the_program_pays_the_listed_price_and_the_startup_its_own(
    listed: tuple[tuple[int, int], ...], more_ucr: int
) -> None:
    """The difference of each second at the price that was listed in it."""
    assert difference_ucr(a_charge(), paid(*listed).paid(FLAVOR)) == more_ucr


@given(points, st.integers(1, 9_000), st.integers(1, 10**9))
def test_differences_do_not_depend_on_how_a_run_is_charged(
    cuts: list[int], from_s: int, listed: int
) -> None:
    """I5 for the sponsor's account: the parts of a run differ by what the whole differs by."""
    prices = paid((from_s, listed))
    run, parts = a_run(), []
    grants: list[GrantBalance] = [a_balance_of(left_ucr=10**9)]
    for start_s, end_s in pairwise([0, *sorted(cuts), 9_000]):
        made = charge_transfer("spring", run, Period(start_s, end_s), grants)
        assert made is not None
        parts.append(made)
        grants = apply_transfer(grants, made)
    whole = charge_transfer("spring", run, Period(0, 9_000), [])
    assert whole is not None

    def posted(charges: list[Transfer]) -> int:
        added = with_differences(charges, prices)[len(charges) :]
        return sum(each.entries[1].amount_ucr for each in added)

    assert posted(parts) == posted([whole])

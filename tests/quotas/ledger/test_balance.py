"""A startup's balance at one instant, and the second at which its credits are used up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.ledger.balance import Balance, balance, exhaustion_s
from quotas.ledger.transfers import GrantBalance, burn_order
from quotas.model.program import Rollover
from quotas.model.units import Period
from tests.builders import Z, a_balance_of, a_run
from tests.quotas.ledger.tranche_builders import HALF, a_hold, two_tranches

HOUR_S = 3600


def of(
    grants: list[GrantBalance], now_s: int = 1000, *, start_s: int = 0, reserve_s: int = 60
) -> Balance:
    """Acme's balance with one server at 1 ucr a second since `start_s`."""
    return balance("acme", now_s, grants, [a_run("s1", start_s)], {Z: now_s}, reserve_s)


def test_available_is_posted_less_what_is_accrued_and_reserved() -> None:
    """available = posted - accrued - held - reserve, all from one instant."""
    seen = of([a_balance_of(left_ucr=5000)])
    assert (seen.posted_ucr, seen.accrued_ucr, seen.held_ucr, seen.reserve_ucr) == (
        5000,
        1000,
        0,
        60,
    )
    assert seen.available_ucr == 3940
    assert (seen.burn_ucr_per_h, seen.exhausted_s) == (3600, 1000 + 3940)


def test_accrued_ends_where_the_zone_is_known() -> None:
    """What is not known is not charged: a dark zone's run accrues to its confirmed instant."""
    seen = balance("acme", 9000, [a_balance_of()], [a_run()], {Z: 400}, 0)
    assert seen.accrued_ucr == 400


def test_others_grants_and_runs_do_not_count() -> None:
    """A balance is one startup's."""
    runs = [a_run(), a_run("s2", startup="birch")]
    seen = balance("birch", 100, [a_balance_of()], runs, {Z: 100}, 0)
    assert (seen.granted_ucr, seen.posted_ucr, seen.accrued_ucr) == (0, 0, 100)


def test_only_grants_in_force_can_be_spent() -> None:
    """Granted counts what took effect, posted what may be spent now: not before, not after."""
    grants = [
        a_balance_of("past", 10, expires_s=1000),
        a_balance_of("now", 20, effective_s=1000),
        a_balance_of("future", 40, effective_s=1001),
    ]
    seen = of(grants)
    assert (seen.granted_ucr, seen.posted_ucr) == (30, 20)


def test_the_reserve_is_rounded_up() -> None:
    """The cost of an orderly stop is never understated by a fraction of a micro-credit."""
    seen = balance("acme", 0, [], [a_run(rate_ucr_per_h=3601)], {Z: 0}, 1)
    assert seen.reserve_ucr == 2


def test_an_ended_or_unpriced_run_burns_nothing() -> None:
    """Burn is of open runs at known rates; without burn nothing is ever exhausted."""
    runs = [a_run(end_s=500), a_run("s2", rate_ucr_per_h=None)]
    seen = balance("acme", 1000, [a_balance_of(left_ucr=0)], runs, {Z: 1000}, 60)
    assert (seen.accrued_ucr, seen.burn_ucr_per_h, seen.exhausted_s) == (500, 0, None)


@pytest.mark.parametrize("left_ucr", [0, 1059, 1060])
def test_used_up_already_is_now(left_ucr: int) -> None:
    """Where nothing is available and something burns, the instant is now."""
    assert of([a_balance_of(left_ucr=left_ucr)]).exhausted_s == 1000


def test_a_gap_between_grants_is_exhaustion() -> None:
    """Credit that takes effect later does not carry over the time before it."""
    grants = [
        a_balance_of("a", 10_000, expires_s=2000),
        a_balance_of("b", 10_000, effective_s=2001),
    ]
    assert exhaustion_s(1000, grants, 0, HOUR_S) == 2000
    joined = [grants[0], replace(grants[1], effective_s=2000)]
    assert exhaustion_s(1000, joined, 0, HOUR_S) == 12_000


def tranches(first: int, kept: Rollover | None = None) -> list[GrantBalance]:
    """Three tranches, of 1000 each but the first, that begin at 0, 1000 and 2000, to 9000."""
    ends = (9000, 9000, 9000) if kept is None else (1000, 2000, 9000)
    return [
        a_balance_of(
            f"g/{n}",
            first if n == 1 else 1000,
            effective_s=(n - 1) * 1000,
            expires_s=end_s,
            created=n,
            rolls_to=None if kept is None or n == 3 else f"g/{n + 1}",
            rollover=kept,
        )
        for n, end_s in enumerate(ends, 1)
    ]


@pytest.mark.parametrize(
    ("first", "set_aside", "kept", "exhausted_s"),
    [
        (999, 0, None, 999),
        (1000, 0, None, 3000),
        (1500, 0, None, 3500),
        (1500, 60, None, 3440),
        (1500, 500, None, 3000),
        (1500, 501, None, 999),
        (1500, 0, Rollover(0), 3000),
        (1500, 0, Rollover(500_000), 3125),
        (1500, 0, Rollover(1_000_000, 100), 3100),
    ],
)
def test_the_forecast_walks_over_dated_tranches(
    first: int, set_aside: int, kept: Rollover | None, exhausted_s: int
) -> None:
    """Each is there from its first second: used up before that, the runway ends before it.

    What a tranche leaves is kept whole without a rollover. With one, the allowed part moves
    on when the next tranche begins, and the rest is lost.
    """
    assert exhaustion_s(0, tranches(first, kept), set_aside, HOUR_S) == exhausted_s


def test_the_balance_has_that_forecast_and_says_what_comes_later() -> None:
    """The first of three is used up in a second, whatever begins later: not all of it together."""
    seen = of(tranches(1060), 999, start_s=998)
    assert (seen.later_ucr, seen.later_s, seen.next_edge_s) == (2000, 1000, 1000)
    assert seen.exhausted_s == 999 + 1000 + 1000 + 1060 - 1 - 60


# Against a model that lives second by second.

terms = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 500), st.integers(1, 500), st.integers(-1, 1)),
    min_size=1,
    max_size=4,
)


def grants_of(drawn: list[tuple[int, int, int, int]], unit: int) -> list[GrantBalance]:
    """Grants whose amounts are counted in `unit` ucr."""
    return [
        a_balance_of(
            f"g{n}",
            left * unit,
            effective_s=start_s,
            expires_s=start_s + length_s,
            priority=priority,
            created=n,
        )
        for n, (left, start_s, length_s, priority) in enumerate(drawn)
    ]


def brute_force(now_s: int, grants: list[GrantBalance], set_aside: int, burn_ucr_per_h: int) -> int:
    """Spend every second on its own until what is in force no longer covers the rest."""
    left = {g.id: g for g in grants}
    second = now_s
    while True:
        in_force = [g for g in left.values() if g.effective_s <= second < g.expires_s]
        if sum(g.left_ucr for g in in_force) <= set_aside:
            return second
        done_s = second - now_s
        cost = burn_ucr_per_h * (done_s + 1) // HOUR_S - burn_ucr_per_h * done_s // HOUR_S
        for grant in burn_order(left.values(), Period(second, second + 1)):
            paid = min(cost, left[grant.id].left_ucr)
            left[grant.id] = replace(left[grant.id], left_ucr=left[grant.id].left_ucr - paid)
            cost -= paid
        second += 1


@settings(max_examples=60)
@given(terms, st.integers(0, 400), st.integers(0, 300), st.integers(1, 5))
def test_exhaustion_is_the_second_that_living_through_it_finds(
    drawn: list[tuple[int, int, int, int]], now_s: int, set_aside: int, per_s: int
) -> None:
    """Across starts, ends and burn order, the answer equals a second by second life."""
    grants = grants_of(drawn, per_s)
    expected = brute_force(now_s, grants, set_aside, per_s * HOUR_S)
    assert exhaustion_s(now_s, grants, set_aside, per_s * HOUR_S) == expected


@settings(max_examples=60)
@given(terms, st.integers(0, 400), st.integers(0, 300), st.integers(1, 20_000))
def test_a_rate_that_is_no_whole_number_a_second_errs_by_nothing(
    drawn: list[tuple[int, int, int, int]], now_s: int, set_aside: int, burn: int
) -> None:
    """Fractions of a micro-credit are carried over grant edges, as charges carry them."""
    grants = grants_of(drawn, 1)
    expected = brute_force(now_s, grants, set_aside, burn)
    assert exhaustion_s(now_s, grants, set_aside, burn) == expected


@given(terms, st.integers(0, 400), st.integers(0, 300), st.integers(1, 500))
def test_more_credit_never_ends_sooner(
    drawn: list[tuple[int, int, int, int]], now_s: int, set_aside: int, more: int
) -> None:
    """I16: a larger grant never brings the exhaustion forward."""
    grants = grants_of(drawn, 1)
    richer = [replace(grants[0], left_ucr=grants[0].left_ucr + more), *grants[1:]]
    before = exhaustion_s(now_s, grants, set_aside, HOUR_S)
    after = exhaustion_s(now_s, richer, set_aside, HOUR_S)
    assert before is not None
    assert after is not None
    assert before <= after


def test_a_balance_says_what_expires_next_and_what_comes_later() -> None:
    """If nothing more burned: of the first tranche what is not kept, at the second's start."""
    own = balance("acme", 500, two_tranches(HALF), [], {Z: 500}, 0)
    assert own.expiring is not None
    assert (own.expiring.at_s, own.expiring.amount_ucr) == (1000, 50)
    assert (own.later_s, own.later_ucr, own.next_edge_s) == (1000, 100, 1000)


def test_held_credits_are_posted_and_not_available() -> None:
    """available = posted - accrued - held - reserve, with a hold among it."""
    own = balance("acme", 0, [a_balance_of(left_ucr=60)], [], {}, 0, [a_hold(("g1", 40))])
    assert (own.posted_ucr, own.held_ucr, own.available_ucr) == (100, 40, 60)
    assert own.next_edge_s == 900

"""Holds of credits: what they draw on, how they end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.holds import HoldEnding, draws, end_hold, grants_outliving, hold_transfer
from quotas.ledger.posting import post_due
from quotas.ledger.transfers import Entry
from tests.builders import Z, a_balance_of, a_program, a_startup, metered
from tests.quotas.ledger.tranche_builders import a_hold, amounts_by_account, left_by_grant


def test_a_hold_draws_only_on_grants_that_outlive_it() -> None:
    """A hold draws in burn order, and skips a grant that ends a second before it."""
    grants = [
        a_balance_of("short", 50, expires_s=899),
        a_balance_of("exact", 50, expires_s=900),
        a_balance_of("long", 50),
    ]
    found = draws(grants_outliving(grants, 0, 900), 70)
    assert found == (Entry("grant:acme:exact", 50), Entry("grant:acme:long", 20))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.data())
def test_the_rest_of_a_hold_returns_last_drawn_first(drawn: list[int], data: st.DataObject) -> None:
    """A settlement spends in draw order, and settled part and rest add up to the hold."""
    hold = a_hold(*((f"g{n}", amount) for n, amount in enumerate(drawn)))
    settled = data.draw(st.integers(0, sum(drawn)))
    ended = end_hold(hold, HoldEnding.SETTLE, 5, "why", settled)
    back = {e.account: e.amount_ucr for e in ended.entries if e.account.startswith("grant:")}
    kept = [amount - back.get(f"grant:acme:g{n}", 0) for n, amount in enumerate(drawn)]
    assert sum(kept) == settled
    for n, amount in enumerate(kept):
        assert amount == drawn[n] or not any(kept[n + 1 :])
    assert hold_transfer(hold, "why").entries[-1].amount_ucr == sum(drawn)


def test_a_hold_expires_at_its_instant_and_then_the_grant() -> None:
    """I8, I18: the hold returns by one transfer, and expires with a grant that ends then."""
    grants = [a_balance_of("g1", 10, expires_s=900)]
    hold = a_hold(("g1", 40))
    early = post_due(a_program(), grants, metered([], {Z: 899}), 899, (hold,))
    assert (early.transfers, early.holds) == ((), (hold,))
    posting = post_due(a_program(), grants, metered([], {Z: 900}), 900, (hold,))
    assert [transfer.kind for transfer in posting.transfers] == ["hold-expiry", "expiry"]
    assert posting.transfers[0].key == hold.end_key
    assert (posting.holds, amounts_by_account(posting)["expired:spring"]) == ((), 50)


def test_a_hold_outlasts_its_startups_place_in_the_file() -> None:
    """A hold of a startup that left the program still expires."""
    program = a_program(a_startup("birch"))
    hold = a_hold(("g1", 40))
    posting = post_due(program, [a_balance_of("g1", 0)], metered([], {Z: 900}), 900, (hold,))
    assert left_by_grant(posting) == {"g1": 40}

"""Tranches and rollover, cycle by cycle and to the second."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.ledger.expiry import forecast_expiries
from quotas.ledger.posting import post_due
from quotas.metering.runs import Run
from quotas.model.program import Rollover
from tests.builders import Z, a_program, a_run, metered
from tests.quotas.ledger.tranche_builders import (
    HALF,
    amounts_by_account,
    left_by_grant,
    two_tranches,
)


@pytest.mark.parametrize(
    ("rollover", "second", "expired"),
    [(Rollover(0), 100, 100), (HALF, 150, 50), (Rollover(10**6, 30), 130, 70)],
)
def test_an_unused_tranche_rolls_over_what_is_allowed(
    rollover: Rollover, second: int, expired: int
) -> None:
    """At the start of the next tranche the allowed part moves, and the rest expires, once."""
    posting = post_due(a_program(), two_tranches(rollover), metered([], {Z: 1000}))
    assert left_by_grant(posting) == {"g/1": 0, "g/2": second}
    assert amounts_by_account(posting)["expired:spring"] == expired
    assert {transfer.at_s for transfer in posting.transfers} == {1000}
    assert post_due(a_program(), posting.grants, metered([], {Z: 1000})).transfers == ()


@pytest.mark.parametrize(
    ("rollover", "kept"), [(Rollover(10**6, 30), 30), (Rollover(10**6, 130), 130), (HALF, 75)]
)
def test_what_was_advanced_of_a_tranche_rolls_over_no_more_with_it(
    rollover: Rollover, kept: int
) -> None:
    """A tranche and its advanced part roll over what the tranche alone might have."""
    first, second = two_tranches(rollover)
    ahead = replace(first, id="g/1.7", created=2, left_ucr=50, granted_ucr=50)
    grants = [first, second, ahead]
    posting = post_due(a_program(), grants, metered([], {Z: 1000}))
    assert left_by_grant(posting) == {"g/1": 0, "g/2": 100 + kept, "g/1.7": 0}
    assert amounts_by_account(posting)["expired:spring"] == 150 - kept
    assert sum(f.amount_ucr for f in forecast_expiries(0, grants, [])[:-1]) == 150 - kept


def test_a_tranche_does_not_end_a_second_early() -> None:
    """I18: at 999 the whole tranche is there; at 1000 earlier usage has drawn on it first."""
    early = post_due(a_program(), two_tranches(HALF), metered([], {Z: 999}))
    assert early.transfers == ()
    run = a_run(start_s=900)
    posting = post_due(a_program(), two_tranches(HALF, first=200), metered([run], {Z: 1000}))
    assert amounts_by_account(posting)["grant:acme:g/1"] == -200
    assert left_by_grant(posting) == {"g/1": 0, "g/2": 150}


def test_what_no_tranche_covers_is_the_sponsors() -> None:
    """Usage between two tranches is overdraft, and no later tranche repays it."""
    pair = two_tranches(first=100, second=1000)
    posting = post_due(a_program(), pair, metered([a_run(end_s=500)], {Z: 500}))
    assert amounts_by_account(posting)["overdraft:spring"] == -400
    later = post_due(a_program(), posting.grants, metered([], {Z: 1000}))
    assert (later.transfers, left_by_grant(later)["g/2"]) == ((), 1000)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=6),
    st.integers(0, 3000),
    st.sampled_from([None, Rollover(0), HALF, Rollover(10**6, 40)]),
    st.integers(1, 9000),
)
def test_any_cycles_post_the_same(
    steps: list[int], start_s: int, rollover: Rollover | None, rate: int
) -> None:
    """I5 with tranches: caught up at once or step by step, every account ends the same."""
    until_s = sum(steps)
    start_s = min(start_s, until_s)

    def play(cuts: list[int]) -> Counter[str]:
        runs, grants = [a_run(start_s=start_s, rate_ucr_per_h=rate)], two_tranches(rollover)
        total: Counter[str] = Counter()
        now_s = 0
        for cut in cuts:
            now_s += cut
            if now_s == until_s:
                runs = [Run(**{**fields_of(run), "end_s": until_s}) for run in runs]
            known = [run for run in runs if run.start_s <= now_s]
            posting = post_due(a_program(), grants, metered(known, {Z: now_s}), now_s)
            runs = list(posting.runs.values()) or runs
            grants = list(posting.grants)
            total.update(amounts_by_account(posting))
        assert sum(total.values()) == 0
        return Counter({account: ucr for account, ucr in total.items() if ucr})

    assert dict(play(steps)) == dict(play([until_s]))


def fields_of(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in run.__slots__}

"""Announcements and forecasts of credits that expire."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.enforcement.decide import decide
from quotas.ledger.expiry import forecast_expiries
from quotas.ledger.posting import post_due
from quotas.model.program import Rollover
from quotas.model.units import DAY_S
from quotas.rules import expiry
from tests.builders import Z, a_balance_of, a_program, a_run, a_snapshot, metered
from tests.quotas.ledger.tranche_builders import HALF, amounts_by_account, two_tranches
from tests.quotas.rules.rule_env import announcements


def test_an_expiry_is_announced_once_for_each_threshold() -> None:
    """At 30, 7 and 1 days the nearest threshold is announced, for the sum at the present burn."""
    end_s = 40 * DAY_S
    grant = a_balance_of(left_ucr=50 * DAY_S, expires_s=end_s)
    announced: set[tuple[str, str]] = set()
    heard = []
    for day in range(40):
        run = a_run(posted_until_s=day * DAY_S)
        own = a_balance_of(left_ucr=grant.left_ucr - day * DAY_S, expires_s=end_s)
        snapshot = a_snapshot(
            day * DAY_S, a_program(), [run], [own], announced=frozenset(announced)
        )
        for found in announcements(expiry.RULE, snapshot):
            announced.add((found.startup, found.episode))
            heard.append(day)
            assert (found.at_s, found.facts.amount_ucr) == (end_s, 864_000)
    assert heard == [10, 33, 39]


def test_two_expiries_at_once_are_both_announced() -> None:
    """Each expiry has a notice of its own in the same cycle."""
    grants = [a_balance_of(name, expires_s=40 * DAY_S) for name in ("g1", "g2")]
    decided = decide(a_snapshot(39 * DAY_S, a_program(), [], grants))
    announced = [notice.episode for notice in decided.notices if notice.rule == "expiry"]
    assert announced == [f"expiry:{name}:{DAY_S}" for name in ("g1", "g2")]
    assert [d.episode for d in decided.decisions if d.rule == "expiry"] == announced


@settings(max_examples=80)
@given(
    st.integers(0, 999),
    st.sampled_from([None, Rollover(0), HALF, Rollover(10**6, 40)]),
    st.integers(0, 9000),
    st.integers(0, 2000),
)
def test_the_forecast_is_what_expires(
    now_s: int, rollover: Rollover | None, rate: int, first: int
) -> None:
    """If the burn stays as it is, the forecast equals the expiry to the micro-credit."""
    grants, run = two_tranches(rollover, first=first, second=700), a_run(rate_ucr_per_h=rate)
    posting = post_due(a_program(), grants, metered([run], {Z: now_s}), now_s)
    runs = list(posting.runs.values())
    ahead = forecast_expiries(now_s, posting.grants, runs)
    last = post_due(a_program(), posting.grants, metered(runs, {Z: 2000}), 2000)
    assert sum(f.amount_ucr for f in ahead) == amounts_by_account(last)["expired:spring"]

"""The credits rule: exhaustion and runway."""

from __future__ import annotations

import pytest

from quotas.enforcement.decide import decide
from quotas.model.program import Policy
from quotas.model.units import DAY_S
from quotas.rules import credits
from quotas.rules.credits import exhaustion_episode
from quotas.state.snapshot import Snapshot
from tests.builders import a_balance_of, a_cut_run, a_program, a_run, a_snapshot
from tests.quotas.ledger.tranche_builders import two_tranches
from tests.quotas.metering.test_run_starts import NEXT_S
from tests.quotas.rules.rule_env import announcements, level, violations


def test_used_up_credits_name_the_last_started_first() -> None:
    """The budget allows the last started server first, not the one with the newest rate."""
    runs = [a_cut_run("old", 900), a_run("new", 500)]
    snapshot = a_snapshot(NEXT_S, a_program(), runs, [a_balance_of(left_ucr=1)])
    assert [v.run.server_id for v in violations(credits.RULE, snapshot)] == ["new", "old"]


@pytest.mark.parametrize("second", [5000, 0])
def test_a_used_up_tranche_is_an_exhaustion(second: int) -> None:
    """Later tranches do not help: every server has its final notice, and the level is closed."""
    pair = two_tranches(first=0, second=second)
    snapshot = a_snapshot(500, a_program(), [a_run(posted_until_s=500)], pair)
    (violation,) = violations(credits.RULE, snapshot)
    assert (violation.rule, violation.deadline_s) == ("credits", 500 + 1800)
    assert level(snapshot, "acme") == (
        "closed",
        "its credits are used up: the final notice runs",
    )


def test_who_was_stopped_at_a_used_up_tranche_is_open_at_the_next() -> None:
    """The startup is stopped until the next tranche begins, which counts as a new grant."""
    announced = frozenset({("acme", exhaustion_episode(0))})
    pair = two_tranches(first=0, second=5000)
    early, then = (
        a_snapshot(at_s, a_program(), [], pair, announced=announced) for at_s in (999, 1000)
    )
    assert level(early, "acme") == ("stopped", "its credits are used up")
    assert level(then, "acme")[0] == "open"


RESERVE = 1800 + 30 + 300
"""What a notice, a cycle and a stop cost at 1 ucr a second."""


def burning_two_tranches(first: int, second: int) -> Snapshot:
    """Acme runs one server at 1 ucr a second on a tranche of 0 and one of a day later."""
    pair = [
        a_balance_of("g/1", first, expires_s=90 * DAY_S),
        a_balance_of("g/2", second, effective_s=DAY_S, expires_s=90 * DAY_S, created=1),
    ]
    return a_snapshot(0, a_program(), [a_run()], pair)


@pytest.mark.parametrize(
    ("first", "second", "exhausted_s"),
    [
        (DAY_S + RESERVE - 1, 5000, DAY_S - 1),
        (DAY_S + RESERVE, 5000, DAY_S + 5000),
        (RESERVE + 3600, 10**6, 3600),
    ],
)
def test_the_runway_goes_on_through_a_tranche_that_arrives_first(
    first: int, second: int, exhausted_s: int
) -> None:
    """A second too short, the first tranche's end is the exhaustion; else the second's is.

    It is told at the thresholds of the policy, and to the second an edge of the cycle.
    """
    snapshot = burning_two_tranches(first, second)
    assert snapshot.balances["acme"].exhausted_s == exhausted_s
    assert {exhausted_s, exhausted_s - 600} <= set(decide(snapshot).edges)
    announced = announcements(credits.RUNWAY, snapshot)
    passed = [t for t in Policy().exhaustion_notices_s if exhausted_s <= t]
    assert [(each.startup, each.episode, each.at_s) for each in announced] == [
        ("acme", f"runway:{min(passed)}:{first}", exhausted_s)
    ] * bool(passed)

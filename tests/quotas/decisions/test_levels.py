"""Levels follow from credits and time, and forecasts are announced once."""

from __future__ import annotations

import pytest

from quotas.enforcement.decide import decide
from quotas.ledger.transfers import GrantBalance
from quotas.messages.catalogue import text_of
from quotas.messages.catalogue.rules import level_text
from quotas.messages.levels import LEVELS
from quotas.model.units import DAY_S
from quotas.rules import cohort_end, credits, membership
from quotas.rules.context import Level
from quotas.rules.credits import exhaustion_episode, is_exhausted
from quotas.rules.limit import RULE as LIMIT
from quotas.state.snapshot import Snapshot
from tests.builders import YEAR_S, Z, a_balance_of, a_program, a_run, a_snapshot, a_startup, unknown
from tests.quotas.rules.rule_env import announcements, context_of, level, violations

RESERVE_S = 1800 + 30 + 300
"""The minimum notice, a cycle and the stop latency, as the builders reckon them."""


def with_credits(left_ucr: int, now_s: int = 100, **changes: object) -> Snapshot:
    """Acme runs one server at 1 ucr a second since now, with so much credit left."""
    return a_snapshot(
        now_s, a_program(), [a_run("s1", now_s)], [a_balance_of(left_ucr=left_ucr)], **changes
    )


@pytest.mark.parametrize(
    ("left_ucr", "expected"), [(RESERVE_S + 1, "open"), (RESERVE_S, "closed"), (0, "closed")]
)
def test_closed_begins_where_available_reaches_zero(left_ucr: int, expected: str) -> None:
    """The final notice starts while the reserve is left to pay for it, not after."""
    snapshot = with_credits(left_ucr)
    assert level(snapshot, "acme")[0] == expected
    assert bool(violations(credits.RULE, snapshot)) == (expected == "closed")


def test_stopped_lasts_until_more_is_granted() -> None:
    """After a stop nothing burns, yet the level stays: only another sum granted ends it."""
    announced = frozenset({("acme", exhaustion_episode(500))})
    idle = a_snapshot(100, a_program(), [], [a_balance_of(left_ucr=500)], announced=announced)
    assert level(idle, "acme")[0] == "stopped"
    more = [a_balance_of(left_ucr=500), a_balance_of("g2", 9_000_000, created=1)]
    granted = a_snapshot(100, a_program(), [], more, announced=announced)
    assert level(granted, "acme")[0] == "open"
    assert not is_exhausted(context_of(granted), "acme")


def test_without_credits_and_without_servers_a_startup_is_open() -> None:
    """Nobody who runs nothing is told off: there is nothing to stop."""
    assert level(a_snapshot(100, a_program(), []), "acme")[0] == "open"


def test_stopped_at_the_cohorts_end_and_when_not_in_the_program() -> None:
    """The end instant itself is past the end; a startup removed may run nothing."""
    program = a_program(ends_s=1000)
    early = a_program(ends_s=9000)
    assert level(a_snapshot(9000 - 1801, early, []), "acme")[0] == "open"
    assert level(a_snapshot(9000 - 1800, early, []), "acme")[0] == "closed"
    assert level(a_snapshot(1000, program, []), "acme")[0] == "stopped"
    gone = a_snapshot(5, a_program(a_startup("birch")), [], [a_balance_of()])
    assert level(gone, "acme")[0] == "stopped"


def test_every_level_has_a_name_on_the_list() -> None:
    """No rule invents a level."""
    for snapshot in (with_credits(0), with_credits(10**6)):
        assert level(snapshot, "acme")[0] in set(Level)


def test_more_credit_never_gives_a_stricter_level() -> None:
    """I16: levels are monotone in credit."""
    order = [Level(level(with_credits(ucr), "acme")[0]).strictness for ucr in range(0, 5000, 100)]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == 2


def test_the_end_of_a_cohort_names_each_server_a_day_ahead() -> None:
    """From one final notice before the end on, each running server has the end as deadline."""
    program = a_program()
    early = a_snapshot(YEAR_S - DAY_S - 1, program, [a_run()])
    assert violations(cohort_end.RULE, early) == []
    (found,) = violations(cohort_end.RULE, a_snapshot(YEAR_S - DAY_S, program, [a_run()]))
    assert found.deadline_s == YEAR_S
    (late,) = violations(cohort_end.RULE, a_snapshot(YEAR_S + 5, program, [a_run()]))
    assert late.deadline_s == YEAR_S + 5 + 1800


def test_servers_of_a_startup_that_left_have_the_full_notice() -> None:
    """Taken out of the program: each running server is announced by the policy's minimum."""
    program = a_program(a_startup("birch"))
    (found,) = violations(membership.RULE, a_snapshot(100, program, [a_run()]))
    assert found.deadline_s == 100 + program.policy.minimum_notice_s
    assert text_of("membership", found.facts) == "acme is no longer in the program"
    assert violations(membership.RULE, a_snapshot(100, a_program(), [a_run()])) == []


def test_nothing_is_concluded_of_a_zone_that_is_not_complete() -> None:
    """Promise 3: no rule names a server whose zone is Unknown."""
    limited = a_program(a_startup(limit={"h100": 0}), ends_s=150)
    runs = [a_run()]
    lit = a_snapshot(100, limited, runs)
    dark = a_snapshot(100, limited, runs, sweeps={Z: unknown(100)})
    for rule in (LIMIT, credits.RULE, cohort_end.RULE):
        assert len(violations(rule, lit)) == 1
        assert violations(rule, dark) == []


def limited_to(limit: int | None, *runs: tuple[str, int, int]) -> list[str]:
    """Servers that are above acme's limit, of runs (server, start, gpus)."""
    program = a_program(a_startup(limit={"h100": limit}))
    made = [a_run(name, start_s, gpus=gpus) for name, start_s, gpus in runs]
    return [v.run.server_id for v in violations(LIMIT, a_snapshot(100, program, made))]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, []),
        (4, []),
        (3, ["new"]),
        (2, ["new"]),
        (1, ["new", "mid"]),
        (0, ["new", "mid", "old"]),
    ],
)
def test_a_limit_takes_the_fewest_newest_servers(limit: int | None, expected: list[str]) -> None:
    """The newest go first, and no more of them than bring usage down to the limit."""
    assert limited_to(limit, ("old", 1, 1), ("new", 9, 2), ("mid", 5, 1)) == expected


@pytest.mark.parametrize(("limit", "expected"), [(2, "paced"), (3, "open"), (None, "open")])
def test_paced_as_soon_as_nothing_more_fits_under_the_limit(
    limit: int | None, expected: str
) -> None:
    """At its limit, before it asks for more: what it starts next would have a notice at once."""
    program = a_program(a_startup(limit={"h100": limit}))
    runs = [a_run("s1", 100, gpus=1), a_run("s2", 100, gpus=1)]
    decided = decide(a_snapshot(100, program, runs, [a_balance_of(left_ucr=10**9)]))
    (share,) = decided.context.shares
    assert (share.usage, share.demand, share.limited_by) == (2, 2, "demand")
    assert decided.context.restrictions["acme"].level == expected
    if expected == "paced":
        _, why = level_text(decided.context.restrictions["acme"])
        assert why == "its limit allows no more than 2 GPUs in h100"


def test_a_flavor_of_no_pool_counts_towards_no_limit() -> None:
    """A GPU of an unlisted flavor is metered, and is under no pool's limit."""
    program = a_program(a_startup(limit={"h100": 0}), pools=())
    assert violations(LIMIT, a_snapshot(100, program, [a_run()])) == []


def lasting(seconds: int, **changes: object) -> list[str]:
    """Causes told when acme's credits last so long beyond the reserve."""
    return [
        found.episode
        for found in announcements(credits.RUNWAY, with_credits(RESERVE_S + seconds, **changes))
    ]


def granted_for(seconds: int) -> int:
    """What acme was granted in `lasting`."""
    return RESERVE_S + seconds


def test_a_forecast_is_told_at_its_threshold_and_only_the_nearest() -> None:
    """A week, a day, an hour, ten minutes: of several passed at once, the nearest is told."""
    for threshold_s in (7 * DAY_S, DAY_S, 3600, 600):
        assert lasting(threshold_s) == [f"runway:{threshold_s}:{granted_for(threshold_s)}"]
    assert lasting(7 * DAY_S + 1) == []
    assert lasting(599) == [f"runway:600:{granted_for(599)}"]


def test_a_forecast_is_told_once_for_each_sum_granted() -> None:
    """Told is told; another sum granted arms the thresholds again."""
    announced = frozenset({("acme", f"runway:600:{granted_for(599)}")})
    assert lasting(599, announced=announced) == []
    assert lasting(598, announced=announced) == [f"runway:600:{granted_for(598)}"]


def test_no_forecast_without_burn_or_after_the_fact() -> None:
    """Idle, nothing is forecast; used up, the final notice speaks instead."""
    idle: list[GrantBalance] = [a_balance_of(left_ucr=10)]
    assert announcements(credits.RUNWAY, a_snapshot(100, a_program(), [], idle)) == []
    assert lasting(0) == []


def test_after_the_end_the_end_is_the_only_reason() -> None:
    """Grants end with the cohort: its servers are then told of the end, not of credits."""
    snapshot = a_snapshot(2000, a_program(ends_s=1000), [a_run()])
    assert violations(credits.RULE, snapshot) == []
    assert len(violations(cohort_end.RULE, snapshot)) == 1


def test_every_level_has_a_text() -> None:
    """The codes of the texts are the levels, from the mildest to the strictest."""
    assert list(LEVELS) == list(Level)

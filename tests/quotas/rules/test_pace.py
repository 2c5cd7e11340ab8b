"""The pace rule: it is announced once, limits borrowing at most, and stops nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.enforcement.decide import DecideResult, decide
from quotas.ledger.forecast import Pace
from quotas.metering.runs import Run
from quotas.model.program import Curve, PaceAction, Policy, Pool
from quotas.model.units import DAY_S, HOUR_S, day_start_s
from quotas.rules.pace import pace_limits, paces
from quotas.state.requests import Request
from quotas.state.snapshot import Snapshot
from tests.builders import (
    FLAVOR,
    YEAR_S,
    a_balance_of,
    a_cut_run,
    a_program,
    a_run,
    a_snapshot,
    a_startup,
)
from tests.quotas.rules.rule_env import context_of

GRANTED = 365 * 1_000_000
"""A credit for each day of the year."""
NOW_S = 100 * DAY_S


def spending(spent_credits: int, running: int = 0, **policy: Any) -> Snapshot:
    """On day 100 acme, guaranteed 2 GPUs, has spent so many of its 365 credits."""
    program = a_program(a_startup(nominal={"h100": 2}), policy=Policy(**policy))
    runs = [
        a_run(f"s{n}", NOW_S - HOUR_S, posted_until_s=NOW_S, rate_ucr_per_h=1)
        for n in range(running)
    ]
    grant = a_balance_of(left_ucr=GRANTED - spent_credits * 1_000_000, granted_ucr=GRANTED)
    charged = {"acme": spent_credits * 1_000_000}
    return a_snapshot(NOW_S, program, runs, [grant], charged=charged)


def pace_in(snapshot: Snapshot) -> Pace:
    """Acme's pace."""
    return paces(snapshot)["acme"]


def announced(decided: DecideResult) -> list[str]:
    """The causes of what is said of paces."""
    return [d.episode for d in decided.decisions if d.rule == "pace"]


@pytest.mark.parametrize(("spent", "is_ahead"), [(100, False), (101, False), (102, True)])
def test_a_day_of_grace(spent: int, is_ahead: bool) -> None:
    """100 of 365 credits are paced by day 100; more than a day's above that is ahead."""
    pace = pace_in(spending(spent))
    assert (pace.allowance_ucr, pace.is_ahead) == (100_000_000, is_ahead)


@pytest.mark.parametrize(("curve", "is_ahead"), [(Curve.FRONT_LOADED, False), (Curve.NONE, False)])
def test_the_curve_is_the_policys(curve: Curve, is_ahead: bool) -> None:
    """What is ahead on a flat curve is within a front-loaded one, and within none at all."""
    assert pace_in(spending(120)).is_ahead
    assert pace_in(spending(120, pacing_curve=curve)).is_ahead is is_ahead


def test_burn_is_of_runs_open_and_ended() -> None:
    """A run that ended yesterday counts in the day and the week, not in the hour."""
    snapshot = spending(10)
    ended = a_run("old", NOW_S - 12 * HOUR_S, end_s=NOW_S - 6 * HOUR_S, rate_ucr_per_h=24_000)
    pace = pace_in(replace(snapshot, recent=(ended,)))
    assert pace.burn_ucr_per_h == (0, 6_000, 857)
    assert pace.today_ucr == 0
    twice = replace(snapshot, recent=(ended,), runs={ended.id: ended})
    assert pace_in(twice).burn_ucr_per_h == pace.burn_ucr_per_h


def test_informed_once_for_each_threshold() -> None:
    """At 130% it is told 125; told that, nothing more until 150; falling back says nothing."""
    first = decide(spending(130))
    assert announced(first) == [f"pace:125:{GRANTED}"]
    known = frozenset({("acme", f"pace:125:{GRANTED}")})
    for spent, causes in ((130, []), (110, []), (140, []), (150, [f"pace:150:{GRANTED}"])):
        assert announced(decide(replace(spending(spent), announced=known))) == causes
    assert first.context.restrictions["acme"].level == "open"
    assert {s.limited_by for s in first.context.shares} == {"demand"}


def test_within_its_pace_nothing_is_said() -> None:
    """No notice, no limit, level open."""
    decided = decide(spending(100, 4, pacing_action=PaceAction.BORROW_NO_MORE))
    assert (announced(decided), decided.context.restrictions["acme"].level) == ([], "open")
    assert decided.context.shares[0].share == 4


def test_borrow_no_more_ends_the_share_at_nominal_and_stops_nothing() -> None:
    """Ahead: the share is the nominal 2, the excess is told, nothing is stopped; level paced."""
    decided = decide(spending(130, 4, pacing_action=PaceAction.BORROW_NO_MORE))
    (share,) = decided.context.shares
    assert (share.share, share.ceiling, share.limited_by) == (2, 2, "pace")
    assert decided.context.restrictions["acme"].level == "paced"
    assert [(e.gpus, e.owner) for e in decided.context.overuses] == [(2, None)]
    assert [n for n in decided.notices if n.server_id] == []
    within = decide(spending(130, 2, pacing_action=PaceAction.BORROW_NO_MORE))
    assert (within.context.shares[0].share, within.context.overuses) == (2, ())


def a_day_of(limit_ucr: int, *starts_s: int) -> Snapshot:
    """Servers at 3600 ucr an hour since these instants of today, with a daily limit."""
    program = a_program(policy=Policy(daily_burn_ucr=limit_ucr))
    runs = [a_run(f"s{n}", NOW_S + at_s, posted_until_s=NOW_S) for n, at_s in enumerate(starts_s)]
    runs = [replace(run, posted_until_s=run.start_s) for run in runs]
    return a_snapshot(NOW_S + 6 * HOUR_S, program, runs, [a_balance_of(left_ucr=10**9)])


def test_a_daily_limit_holds_what_started_after_it_was_reached() -> None:
    """3600 ucr are gone after an hour: the server of that hour stays, the later one is excess."""
    decided = decide(a_day_of(3600, 0, 2 * HOUR_S))
    pace = decided.context.paces["acme"]
    assert pace.reached_s == NOW_S + HOUR_S
    share = decided.context.shares[0]
    assert (share.share, share.limited_by, decided.context.restrictions["acme"].level) == (
        1,
        "daily-burn",
        "paced",
    )
    assert [e.gpus for e in decided.context.overuses] == [1]
    assert announced(decided) == [f"pace:daily:{NOW_S}"]
    assert [n for n in decided.notices if n.server_id] == []


def test_a_daily_limit_takes_back_from_borrowers_and_not_within_nominal() -> None:
    """Acme's second server, of 2 nominal, began after its limit: birch's 2 are cara's to give."""
    acme, birch, cara = (
        a_startup(name, nominal={"h100": gpus})
        for name, gpus in (("acme", 2), ("birch", 2), ("cara", 0))
    )
    pool = Pool("h100", ((0, 4),), flavors=(FLAVOR,))
    policy = Policy(daily_burn_ucr=3600)
    runs = [a_run("s0", NOW_S), a_run("s1", NOW_S + 2 * HOUR_S)]
    runs += [a_run(f"c{n}", NOW_S, startup="cara", rate_ucr_per_h=1) for n in range(2)]
    grants = [a_balance_of(name, 10**9, startup=name) for name in ("acme", "birch", "cara")]
    asks = Request("birch", "h100", 2, HOUR_S, "", "cto", NOW_S + 5 * HOUR_S, id=1)
    program = a_program(acme, birch, cara, pools=(pool,), policy=policy)
    decided = decide(a_snapshot(NOW_S + 6 * HOUR_S, program, runs, grants, requests=(asks,)))
    assert decided.context.paces["acme"].reached_s == NOW_S + HOUR_S
    assert {s.startup: (s.share, s.ceiling) for s in decided.context.shares}["acme"] == (2, 2)
    given = {n.server_id for n in decided.notices if n.rule == "reclaim"}
    assert given == {"c0", "c1"}


def test_a_daily_limit_ends_at_midnight() -> None:
    """The next local day begins at nothing; below the limit nothing is held."""
    assert decide(a_day_of(10**9, 0)).context.restrictions["acme"].level == "open"
    snapshot = a_day_of(3600, 0)
    tomorrow = replace(
        snapshot, now_s=NOW_S + DAY_S + 60, confirmed={"fr-par-2": NOW_S + DAY_S + 60}
    )
    assert decide(tomorrow).context.paces["acme"].reached_s is None


def test_a_local_day_begins_at_local_midnight() -> None:
    """In Paris the day of 2027-03-28, when DST begins, is 23 hours long."""
    spring_s = day_start_s(1_806_220_800, "Europe/Paris")
    assert day_start_s(spring_s + 23 * HOUR_S, "Europe/Paris") == spring_s + 23 * HOUR_S
    assert day_start_s(spring_s + 23 * HOUR_S - 1, "Europe/Paris") == spring_s


def test_credits_that_come_later_are_paced_too() -> None:
    """A grant of the second half year counts in the allowance from the first day."""
    later = a_balance_of("g2", GRANTED, effective_s=YEAR_S // 2)
    snapshot = a_snapshot(NOW_S, a_program(), [], [a_balance_of(left_ucr=GRANTED), later])
    pace = pace_in(snapshot)
    assert pace.allowance_ucr == 200_000_000
    assert pace.unused.expected_ucr == 2 * GRANTED


def test_no_pace_outside_the_cohort() -> None:
    """Before the start there is none, and nothing is said."""
    early = a_snapshot(50, a_program(starts_s=100), [], [a_balance_of()])
    assert paces(early) == {}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 71), st.integers(1, 20)), max_size=12))
def test_on_the_line_it_is_held_back_at_most_once_a_day(bursts: list[tuple[int, int]]) -> None:
    """However spending moves about the line, ahead lasts till midnight: one change a day."""
    rate = GRANTED // 365 // 24  # what a flat pace allows in an hour
    runs = [
        a_run(f"s{n}", NOW_S + hour * HOUR_S, end_s=NOW_S + (hour + 1) * HOUR_S)
        for n, (hour, _) in enumerate(bursts)
    ]
    runs = [
        replace(run, rate_ucr_per_h=rate * times, posted_until_s=run.end_s or 0)
        for run, (_, times) in zip(runs, bursts, strict=True)
    ]
    ahead = []
    for hour in range(73):
        now_s = NOW_S + hour * HOUR_S
        begun = [run for run in runs if run.start_s < now_s]
        spent = 101 * 10**6 + sum(run.rate_ucr_per_h or 0 for run in begun)
        balance = a_balance_of(left_ucr=GRANTED - spent, granted_ucr=GRANTED)
        snapshot = a_snapshot(now_s, spending(0).program, [], [balance], charged={"acme": spent})
        ahead.append(pace_in(replace(snapshot, recent=tuple(begun))).is_ahead)
    for day in range(3):
        of_day = ahead[day * 24 + 1 : day * 24 + 24]
        assert of_day == sorted(of_day), "ahead in the morning, and not any more by night"


def test_a_grant_ends_being_ahead_at_once() -> None:
    """Held till midnight is for those who spend near the line; more credit moves the line."""
    snapshot = spending(130, pacing_action=PaceAction.BORROW_NO_MORE)
    assert pace_in(snapshot).borrows_no_more
    more = a_balance_of(left_ucr=2 * GRANTED - 130 * 10**6, granted_ucr=2 * GRANTED)
    program = snapshot.program
    richer = a_snapshot(NOW_S, program, [], [more], charged={"acme": 130 * 10**6})
    assert not pace_in(richer).borrows_no_more


def gpus_under_daily_limit(*runs: Run) -> int:
    """GPUs under the day's limit of 3600 ucr, which the first run reaches in an hour."""
    day_s = 100 * DAY_S
    program = a_program(
        policy=Policy(daily_burn_ucr=3600), pools=(Pool("h100", ((0, 8),), flavors=(FLAVOR,)),)
    )
    snapshot = a_snapshot(day_s + 6 * HOUR_S, program, runs, [a_balance_of(left_ucr=10**9)])
    return pace_limits(context_of(snapshot))["acme", "h100"]["daily-burn"]


def test_a_daily_limit_holds_what_was_started_since_and_nothing_that_was_cut() -> None:
    """Reached an hour after midnight: cut or taken over since, a server counts as before."""
    day_s = 100 * DAY_S
    first = a_run("s0", day_s)
    later_s = day_s + 3 * HOUR_S
    assert gpus_under_daily_limit(first, a_cut_run("s1", later_s, day_s)) == 2
    assert gpus_under_daily_limit(first, a_cut_run("s1", later_s, later_s)) == 1
    assert (
        gpus_under_daily_limit(first, a_cut_run("s1", later_s, later_s - 60, started_by="birch"))
        == 2
    )

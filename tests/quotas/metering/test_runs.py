"""Runs are dated by the evidence alone, and doubt is in the startup's favour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.posting import periods_due
from quotas.metering.runs import (
    SHORTEST_BOUNCE_S,
    Catalogue,
    Metered,
    Run,
    UnconfirmedPeriod,
    meter,
)
from quotas.model.observation import Cause, Partial, Server, Sweep
from quotas.model.program import Program, Tenure
from quotas.model.units import Period, month_start_s
from tests.builders import (
    BIG_TYPE,
    CATALOGUE,
    FLAVOR,
    RATE,
    YEAR_S,
    Z,
    a_program,
    a_run,
    a_server,
    a_startup,
    seen,
    unknown,
)

GAP_S = 1000
"""The zone is confirmed at 1000 in these tests, and swept next at 2000."""


def step(
    *servers: Server,
    runs: Iterable[Run] = (),
    confirmed_s: int | None = GAP_S,
    at_s: int = 2 * GAP_S,
    program: Program | None = None,
    catalogue: Catalogue = CATALOGUE,
    read_s: int = 0,
) -> Metered:
    """One Complete sweep of Z, which had been read at an instant."""
    confirmed = {} if confirmed_s is None else {Z: confirmed_s}
    sweeps = [seen(at_s, *servers)]
    return meter(program or a_program(), catalogue, runs, confirmed, sweeps, read_s)


def only(result: Metered) -> Run:
    """The one run there is."""
    (run,) = result.runs.values()
    return run


def seconds(result: Metered) -> int:
    """All that is charged or accrued, in seconds."""
    known = result.confirmed
    return sum(run.unposted(known.get(run.zone, 0)).seconds for run in result.runs.values())


def test_a_start_without_evidence_begins_when_first_seen() -> None:
    """A server last modified before the gap, and not seen then, begins at this sweep."""
    run = only(step(a_server(modified_s=900)))
    assert (run.start_s, run.start_error_s) == (2000, 1000)


def test_a_modification_in_the_future_is_no_evidence() -> None:
    """A modified_s after the sweep dates nothing: the bound in the startup's favour holds."""
    assert only(step(a_server(modified_s=2001))).start_s == 2000
    ended = only(step(a_server(state="stopped", modified_s=2001), runs=[a_run()]))
    assert ended.end_s == 1000


def test_nothing_is_unconfirmed_before_the_server_was_made() -> None:
    """A server made at 1900 cannot have run before: at most 50 s are unconfirmed."""
    (period,) = step(a_server(created_s=1900, modified_s=1950)).unconfirmed_periods
    assert period.period == Period(1900, 1950)


def test_a_passing_state_says_nothing_of_what_was_before_it() -> None:
    """A server that is starting now may have been on since the last sweep, and one that stops too.

    The first may have been on and stopped in place; the second may have been off in between.
    """
    (before,) = step(a_server(state="starting", modified_s=1900)).unconfirmed_periods
    result = step(a_server(state="stopping", modified_s=1900), runs=[a_run()])
    (after,) = result.unconfirmed_periods
    assert before.period == after.period == Period(1000, 1900)
    assert only(result).end_s == 1000


def test_a_stop_without_evidence_ends_at_the_last_confirmed_instant() -> None:
    """A stopped server last modified before the gap ended when it was last seen."""
    run = only(step(a_server(state="stopped", modified_s=500), runs=[a_run()]))
    assert (run.end_s, run.end_error_s) == (1000, 1000)


def test_a_server_that_is_gone_ended_at_the_last_confirmed_instant() -> None:
    """Deleted servers leave no evidence: charged to the last confirmed instant."""
    run = only(step(runs=[a_run()]))
    assert (run.end_s, run.end_error_s) == (1000, 1000)


def test_a_quiet_gap_is_charged_whole() -> None:
    """There before and after, unmodified: the whole gap is charged, however long it was."""
    result = step(a_server(modified_s=0), runs=[a_run()], at_s=90_000)
    assert only(result).unposted(result.confirmed[Z]) == Period(0, 90_000)
    assert result.unconfirmed_periods == ()


@pytest.mark.parametrize("sweep", [unknown(5000), Partial(Z, 5000, (), Cause.FAULT, "half")])
def test_an_unknown_zone_charges_nothing(sweep: Sweep) -> None:
    """Promise 3: Unknown or Partial ends nothing, begins nothing and confirms nothing."""
    before = a_run()
    result = meter(a_program(), CATALOGUE, [before], {Z: GAP_S}, [sweep])
    assert (result.runs, result.changed, result.confirmed) == ({before.id: before}, (), {Z: GAP_S})


def test_after_an_outage_the_whole_gap_is_charged() -> None:
    """Unknown, unknown, then there and unmodified: the gap is charged in full, and once."""
    dark = meter(a_program(), CATALOGUE, [a_run()], {Z: 1000}, [unknown(2000)])
    result = meter(
        a_program(), CATALOGUE, dark.runs.values(), dark.confirmed, [seen(9000, a_server())]
    )
    assert seconds(dark) == 1000
    assert seconds(result) == 9000


def test_modified_inside_a_gap_sets_the_doubtful_part_aside() -> None:
    """Sure until 1000 and from 1700 on; between, it may have been off: disputed, uncharged."""
    result = step(a_server(modified_s=1700), runs=[a_run()])
    old, new = sorted(result.runs.values(), key=lambda run: run.start_s)
    assert (old.end_s, new.start_s, new.end_s) == (1000, 1700, None)
    assert result.unconfirmed_periods == (
        UnconfirmedPeriod("s1", "acme", FLAVOR, Period(1000, 1700), RATE),
    )
    assert seconds(result) == 1000 + 300


@pytest.mark.parametrize(("late_s", "runs"), [(SHORTEST_BOUNCE_S, 1), (SHORTEST_BOUNCE_S + 1, 2)])
def test_no_server_bounces_faster_than_was_ever_recorded(late_s: int, runs: int) -> None:
    """A modification up to 40 s after the last sweep leaves no time to be off and on again."""
    result = step(a_server(modified_s=1000 + late_s), runs=[a_run()])
    assert len(result.runs) == runs
    assert len(result.unconfirmed_periods) == runs - 1


def test_a_step_back_of_the_clock_charges_nothing() -> None:
    """Promise 8: a sweep at or before what is confirmed changes nothing at all."""
    for at_s in (999, 1000):
        result = step(a_server("s2", modified_s=at_s), runs=[a_run()], at_s=at_s)
        assert (result.changed, result.confirmed[Z], seconds(result)) == ((), 1000, 1000)


def test_the_first_sweep_of_all_begins_runs_when_seen() -> None:
    """Nothing was confirmed before the first sweep: runs begin then, bounded by creation."""
    run = only(step(a_server(created_s=500, modified_s=600), confirmed_s=None))
    assert (run.start_s, run.start_error_s) == (2000, 1500)


@pytest.mark.parametrize(
    ("state", "billable"),
    [
        ("running", 1),
        ("starting", 1),
        ("stopped in place", 1),
        ("stopped_in_place", 1),
        ("locked", 1),
        ("a-state-of-2031", 1),
        ("stopping", 0),
        ("stopped", 0),
    ],
)
def test_only_stopping_and_stopped_are_free(state: str, billable: int) -> None:
    """Standby keeps the GPU and is billed; a state that we do not know is billed, too."""
    assert len(step(a_server(state=state, modified_s=1500)).runs) == billable
    result = step(a_server(state=state), runs=[a_run()])
    assert (only(result).end_s is None) == bool(billable)


def test_a_project_handed_over_splits_the_run_at_that_instant() -> None:
    """The server goes on; what it costs is the heir's from the very instant of the change."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 0, 1600),))
    birch = a_startup("birch", projects=(Tenure("p-acme", 1600),))
    result = step(a_server(), runs=[a_run()], program=a_program(acme, birch))
    old, new = sorted(result.runs.values(), key=lambda run: run.start_s)
    assert (old.startup, old.end_s, old.end_error_s) == ("acme", 1600, 0)
    assert (new.startup, new.start_s, new.end_s, new.start_error_s) == ("birch", 1600, None, 0)


def test_a_project_handed_over_before_what_is_posted_never_unposts() -> None:
    """A handover entered late begins where the postings end: nothing is charged twice."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 0, 300),))
    birch = a_startup("birch", projects=(Tenure("p-acme", 300),))
    result = step(a_server(), runs=[a_run(posted_until_s=700)], program=a_program(acme, birch))
    assert sorted((r.startup, r.start_s, r.end_s) for r in result.runs.values()) == [
        ("acme", 0, 700),
        ("birch", 700, None),
    ]


def test_a_project_that_leaves_the_program_is_metered_on() -> None:
    """Usage after leaving is still recorded (I18): the run goes on under its startup."""
    run = only(
        step(a_server(project_id="p-acme"), runs=[a_run()], program=a_program(a_startup("birch")))
    )
    assert (run.startup, run.end_s) == ("acme", None)


@pytest.mark.parametrize(("posted_s", "end_s"), [(1000, 1500), (1700, 1700)])
def test_a_project_that_is_given_up_ends_its_run(posted_s: int, end_s: int) -> None:
    """From `until` on it is nobody's; what was charged by then stays charged."""
    program = a_program(a_startup("acme", projects=(Tenure("p-acme", 0, 1500),)))
    run = a_run(posted_until_s=posted_s)
    ended = only(step(a_server(project_id="p-acme"), runs=[run], program=program))
    assert (ended.startup, ended.end_s, ended.state) == ("acme", end_s, "ended")


def test_a_resize_ends_one_run_and_begins_another() -> None:
    """Another flavor is another price: the old run ends when last sure, the new is dated."""
    resized = a_server(commercial_type=BIG_TYPE, modified_s=1600)
    old, new = sorted(step(resized, runs=[a_run()]).runs.values(), key=lambda run: run.start_s)
    assert (old.flavor, old.end_s) == (FLAVOR, 1000)
    assert (new.start_s, new.gpus, new.rate_ucr_per_h) == (1600, 2, 2 * RATE)


def test_a_server_moved_to_another_project_is_the_other_startups() -> None:
    """A server that changes its project ends the one's run and begins the other's."""
    moved = a_server(project_id="p-birch", modified_s=1600)
    old, new = sorted(step(moved, runs=[a_run()]).runs.values(), key=lambda run: run.start_s)
    assert (old.startup, old.end_s, new.startup, new.start_s) == ("acme", 1000, "birch", 1600)


def test_nobodys_server_and_a_server_without_gpus_are_not_metered() -> None:
    """I13: what is not in our projects, or has no GPU, begins no run."""
    strange = a_server(project_id="p-else", modified_s=1500)
    small = a_server("s2", commercial_type="DEV1-S", modified_s=1500)
    assert step(strange, small).runs == {}


def test_nothing_is_charged_before_the_cohort_starts() -> None:
    """The cohort's start clips a run that began earlier, and a sweep before it meters none."""
    program = a_program(starts_s=1500)
    for modified_s in (0, 1200, 1500):
        run = only(step(a_server(modified_s=modified_s), program=program))
        assert (run.start_s, run.start_error_s) == (1500, 0)
    assert only(step(a_server(modified_s=1800), program=program)).start_s == 1800
    assert step(a_server(), program=a_program(starts_s=2001)).runs == {}


def test_a_run_without_a_price_waits_and_is_charged_from_its_start() -> None:
    """No accepted rate: metered, never posted; once a price comes, posted from the start."""
    bare = Catalogue({}, {FLAVOR: 1})
    first = step(a_server(modified_s=1400), catalogue=bare)
    run = only(first)
    assert (run.rate_ucr_per_h, run.accrued_ucr(2000), periods_due(run, 9000, {1500})) == (
        None,
        0,
        (),
    )
    later = only(step(a_server(modified_s=1400), runs=[run], confirmed_s=2000, at_s=9000))
    assert (later.rate_ucr_per_h, later.start_s) == (RATE, 1400)
    assert periods_due(later, 9000, ()) == (Period(1400, 9000),)


def test_an_ended_run_without_a_price_stays_as_it_ended() -> None:
    """The book hands an unpriced run in again after its end: only its price may change."""
    ended = a_run(rate_ucr_per_h=None, end_s=700, state="ended")
    for servers in ((), (a_server(state="stopped", modified_s=1500),)):
        assert only(step(*servers, runs=[ended])) == replace(ended, rate_ucr_per_h=RATE)
    bare = Catalogue({}, {FLAVOR: 1})
    assert step(runs=[ended], catalogue=bare).changed == ()


def test_a_server_back_on_after_an_unpriced_end_begins_a_new_run() -> None:
    """An ended run that still waits for its price does not hide the server's next run."""
    ended = a_run(rate_ucr_per_h=None, end_s=700, state="ended")
    result = step(a_server(modified_s=1500), runs=[ended])
    assert sorted((r.start_s, r.end_s) for r in result.runs.values()) == [(0, 700), (1500, None)]


def test_an_accepted_rate_is_kept_when_the_catalogue_changes() -> None:
    """A later price never changes the rate of a run that has one."""
    dear = Catalogue({FLAVOR: 99 * RATE}, {FLAVOR: 1})
    assert only(step(a_server(), runs=[a_run()], catalogue=dear)).rate_ucr_per_h == RATE


@given(st.lists(st.integers(1001, 99_999), max_size=8, unique=True))
def test_many_sweeps_equal_one(instants: list[int]) -> None:
    """Promise 1: N sweeps of a server that stays put meter what one sweep does."""
    known, runs = {Z: 1000}, {"s1@0": a_run()}
    for at_s in sorted({*instants, 100_000}):
        result = meter(a_program(), CATALOGUE, runs.values(), known, [seen(at_s, a_server())])
        runs, known = dict(result.runs), dict(result.confirmed)
    once = step(a_server(), runs=[a_run()], at_s=100_000)
    assert (runs, known) == (once.runs, once.confirmed)


def test_the_same_sweep_twice_equals_once() -> None:
    """Replaying a sweep changes nothing: no run, no dispute, no confirmed instant."""
    sweep = seen(2000, a_server(modified_s=1700), a_server("s2", modified_s=1100))
    once = meter(a_program(), CATALOGUE, [a_run()], {Z: 1000}, [sweep])
    twice = meter(a_program(), CATALOGUE, once.runs.values(), once.confirmed, [sweep])
    assert (twice.runs, twice.changed, twice.unconfirmed_periods) == (once.runs, (), ())


def test_zones_are_confirmed_one_by_one() -> None:
    """A zone that answers moves on while another stays where it was known."""
    far = a_run("s9", zone="pl-waw-2", flavor="H100-1-80G@pl-waw-2")
    result = meter(
        a_program(),
        CATALOGUE,
        [a_run(), far],
        {Z: 1000, "pl-waw-2": 1000},
        [seen(2000, a_server()), unknown(2000, "pl-waw-2")],
    )
    assert result.confirmed == {Z: 2000, "pl-waw-2": 1000}
    assert seconds(result) == 2000 + 1000


# When a period falls due.


def test_an_open_run_is_posted_hourly() -> None:
    """Nothing is due before an hour is unposted; then all of it, in one period."""
    run = a_run(start_s=100)
    assert periods_due(run, 100 + 3599, ()) == ()
    assert periods_due(run, 100 + 3600, ()) == (Period(100, 3700),)


def test_an_ended_run_is_posted_at_once() -> None:
    """The end of a run is an edge: what is left is due however short."""
    assert periods_due(a_run(end_s=7), 5000, ()) == (Period(0, 7),)
    assert periods_due(a_run(end_s=7, posted_until_s=7), 5000, ()) == ()


def test_periods_are_cut_at_edges_and_months() -> None:
    """An edge or a UTC month's end that is passed makes all due, cut exactly there."""
    month_s = month_start_s(YEAR_S)
    run = a_run(start_s=month_s - 600)
    assert periods_due(run, month_s - 1, ()) == ()
    assert periods_due(run, month_s, ()) == (Period(month_s - 600, month_s),)
    assert periods_due(run, month_s + 60, {month_s - 30}) == (
        Period(month_s - 600, month_s - 30),
        Period(month_s - 30, month_s),
        Period(month_s, month_s + 60),
    )
    assert periods_due(a_run(), 500, {500}) == (Period(0, 500),)


def test_a_change_in_the_seconds_of_the_sweep_hides_what_was_before_it() -> None:
    """Modified after the sweep's instant, on at both: the gap is disputed, not charged (I4)."""
    server = a_server(modified_s=10_005)
    result = meter(a_program(), CATALOGUE, [a_run()], {Z: 1_000}, [seen(10_000, server)])
    (unconfirmed_period,) = result.unconfirmed_periods
    assert unconfirmed_period.period == Period(1_000, 10_000)
    assert sorted((r.start_s, r.end_s) for r in result.runs.values()) == [
        (0, 1_000),
        (10_000, None),
    ]


def test_a_server_that_went_off_in_the_seconds_of_the_sweep_may_have_run() -> None:
    """Off at both sweeps and modified after the second one's instant: disputed too."""
    server = a_server(state="stopped", modified_s=10_005)
    result = meter(a_program(), CATALOGUE, [], {Z: 1_000}, [seen(10_000, server)])
    assert [d.period for d in result.unconfirmed_periods] == [Period(1_000, 10_000)]

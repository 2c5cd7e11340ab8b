"""Gaps between sweeps: which dates count, and which time is unconfirmed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.metering.runs import SHORTEST_BOUNCE_S, meter
from quotas.model.observation import Server
from quotas.model.units import Period
from tests.builders import CATALOGUE, Z, a_program, a_run, a_server, seen
from tests.quotas.metering.test_runs import GAP_S, only, seconds, step

CLOSE_S, DISTANT_S = GAP_S + SHORTEST_BOUNCE_S, 2 * GAP_S
CASES = {
    "sweeps are close and the server is on: it is charged from its date": (
        a_server(modified_s=1025),
        CLOSE_S,
        (1025, None, 25),
        None,
    ),
    "sweeps are close and the server is off: it is charged to its date": (
        a_server(state="stopped", modified_s=1025),
        CLOSE_S,
        (0, 1025, 25),
        None,
    ),
    "sweeps are distant and the server is on: the time before its date is unconfirmed": (
        a_server(modified_s=1400, created_s=10),
        DISTANT_S,
        (1400, None, 0),
        Period(1000, 1400),
    ),
    "sweeps are distant and the server is off: it is charged to the last sure instant": (
        a_server(state="stopped", modified_s=1400),
        DISTANT_S,
        (0, 1000, 0),
        Period(1000, 1400),
    ),
}
"""What a sweep shows, when it is, start, end and error of the run, and the unconfirmed period."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_date_counts_only_between_close_sweeps(
    case: tuple[Server, int, tuple[int, int | None, int], Period | None],
) -> None:
    """A date is evidence of a transition only if the server cannot have gone off and on again."""
    server, at_s, expected, unconfirmed = case
    result = step(server, runs=[] if server.is_billable else [a_run()], at_s=at_s)
    run = only(result)
    assert (run.start_s, run.end_s, run.start_error_s + run.end_error_s) == expected
    assert [each.period for each in result.unconfirmed_periods] == [unconfirmed] * bool(unconfirmed)


def test_a_server_renamed_an_hour_after_its_stop_is_not_charged_for_the_hour() -> None:
    """The daemon was down for an hour; the server was off after 5 s, and renamed in the end."""
    result = step(a_server(state="stopped", modified_s=4595), runs=[a_run()], at_s=4600)
    assert (seconds(result), only(result).end_error_s) == (1000, 0)
    assert [each.period for each in result.unconfirmed_periods] == [Period(1000, 4595)]


@pytest.mark.parametrize(
    ("modified_s", "end_s", "unconfirmed"),
    [
        pytest.param(1075, 1010, [], id="the stop took a minute, and was ours"),
        pytest.param(1005, 1005, [], id="its owner stopped it just before us"),
        pytest.param(1900, 1000, [Period(1000, 1900)], id="something changed it long after"),
    ],
)
def test_our_own_poweroff_dates_an_end_between_distant_sweeps(
    modified_s: int, end_s: int, unconfirmed: list[Period]
) -> None:
    """cohortd asked for the poweroff at 1010, and saw nothing until 2000."""
    off = a_server(state="stopped", modified_s=modified_s)
    result = meter(
        a_program(), CATALOGUE, [a_run()], {Z: 1000}, [seen(2000, off)], poweroffs={"s1": 1010}
    )
    assert only(result).end_s == end_s
    assert [each.period for each in result.unconfirmed_periods] == unconfirmed


@pytest.mark.parametrize(
    ("starts_s", "created_s", "period"),
    [
        (0, 0, Period(1_000, 10_000)),
        (4_000, 0, Period(4_000, 10_000)),
        (0, 5_000, Period(5_000, 10_000)),
        (5_000, 4_000, Period(5_000, 10_000)),
        (9_990, 0, None),
        (10_001, 0, None),
    ],
    ids=["a gap", "cohort", "creation", "both", "too short", "cohort to come"],
)
def test_no_time_is_unconfirmed_before_the_cohort_or_the_server(
    starts_s: int, created_s: int, period: Period | None
) -> None:
    """A gap over the cohort's start or the creation: only what may be charged can be unconfirmed.

    For a server that is on at the sweep, no run and no doubt begins earlier either.
    """
    program, earliest_s = a_program(starts_s=starts_s), max(starts_s, created_s)
    server = a_server(state="stopped", modified_s=10_005, created_s=created_s)
    result = meter(program, CATALOGUE, [], {Z: 1_000}, [seen(10_000, server)])
    assert [each.period for each in result.unconfirmed_periods] == ([period] if period else [])
    result = meter(
        program, CATALOGUE, [], {Z: 1_000}, [seen(10_000, replace(server, state="running"))]
    )
    periods = [each.period for each in result.unconfirmed_periods]
    begins = [each.start_s for each in (*periods, *result.runs.values())]
    assert all(start_s >= earliest_s for start_s in begins)

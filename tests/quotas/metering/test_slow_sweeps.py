"""Slow sweeps: a server that starts during a sweep is charged from its date, once."""

from __future__ import annotations

import pytest

from quotas.metering.runs import Metered, UnconfirmedPeriod, meter
from quotas.model.observation import Server
from quotas.model.program import Tenure
from quotas.model.units import Period
from tests.builders import CATALOGUE, FLAVOR, RATE, Z, a_program, a_run, a_server, a_startup, seen
from tests.quotas.metering.test_runs import only, seconds, step

AT_S, READ_S = 2000, 2040
"""The sweep of these tests began at 2000 and had been read at 2040."""


def swept(*servers: Server, after: Metered | None = None, at_s: int = AT_S) -> Metered:
    """One slow sweep of Z, confirmed at 1000, or one more."""
    if after is None:
        return step(*servers, read_s=READ_S)
    known, runs = after.confirmed, after.runs.values()
    return meter(a_program(), CATALOGUE, runs, known, [seen(at_s, *servers)], at_s + 40)


@pytest.mark.parametrize("confirmed_s", [1000, None])
def test_a_start_while_the_sweep_is_read_is_charged_from_its_date(confirmed_s: int | None) -> None:
    """Seen on, and modified after the sweep began: not a second before that is charged."""
    server = a_server(modified_s=2035, created_s=1900)
    first = step(server, read_s=READ_S, confirmed_s=confirmed_s)
    assert only(first).start_s == 2035
    assert [p.period for p in first.unconfirmed_periods] == [Period(1900, 2035)] * bool(confirmed_s)
    assert (seconds(first), first.confirmed[Z]) == (0, AT_S)
    later = swept(server, after=first, at_s=2100)
    assert only(later).unposted(later.confirmed[Z]) == Period(2035, 2100)
    assert later.unconfirmed_periods == ()


def test_a_clock_behind_the_providers_begins_a_run_when_it_was_seen() -> None:
    """A date after the answer had been read dates nothing: by our clock it was on by then."""
    server = a_server(modified_s=5000)
    first = swept(server)
    assert (only(first).start_s, seconds(first)) == (READ_S, 0)
    assert seconds(swept(server, after=first, at_s=2080)) == 2080 - READ_S


def test_whoever_modifies_its_server_in_every_sweep_is_charged() -> None:
    """A new name in the seconds of each sweep moves the start once, and never again."""
    result = swept(a_server(modified_s=2035))
    for at_s in range(2040, 3001, 40):
        result = swept(a_server(modified_s=at_s + 35), after=result, at_s=at_s)
    assert seconds(result) == 3000 - 2035


def test_a_server_that_started_in_a_sweep_and_was_gone_by_the_next_costs_nothing() -> None:
    """Its run ends where it began: no charge, and no error below zero after a step back."""
    begun = swept(a_server(modified_s=2035))
    for at_s in (2010, 2100):
        run = only(swept(after=begun, at_s=at_s))
        assert (run.start_s, run.end_s, run.end_error_s) == (2035, 2035, max(0, at_s - 2035))


def test_a_stop_after_such_a_start_is_dated() -> None:
    """Both edges are the provider's."""
    begun = swept(a_server(modified_s=2035))
    run = only(swept(a_server(state="stopped", modified_s=2038), after=begun, at_s=2040))
    assert (run.start_s, run.end_s, run.end_error_s) == (2035, 2038, 3)


def test_off_and_on_again_while_the_sweep_is_read_is_disputed_up_to_its_date() -> None:
    """On at both sweeps, started anew after the second began: nothing before that is charged."""
    result = step(a_server(modified_s=2035), runs=[a_run()], read_s=READ_S)
    assert result.unconfirmed_periods == (
        UnconfirmedPeriod("s1", "acme", FLAVOR, Period(1000, 2035), RATE),
    )
    assert sorted((r.start_s, r.end_s) for r in result.runs.values()) == [(0, 1000), (2035, None)]
    assert seconds(result) == 1000


def test_off_after_it_may_have_run_is_disputed_once() -> None:
    """Off at both: set aside up to the sweep's own instant, and the rest by the next one."""
    off = a_server(state="stopped", modified_s=2041)
    first = step(off, read_s=2060)
    second = swept(off, after=first, at_s=2100)
    periods = [d.period for d in (*first.unconfirmed_periods, *second.unconfirmed_periods)]
    assert periods == [Period(1000, 2000), Period(2000, 2041)]


def test_a_start_in_a_sweep_is_of_whose_the_project_was_then() -> None:
    """It passed on between the sweep's instant and the start: the heir's, from the first cycle."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 0, 2010),))
    birch = a_startup("birch", projects=(Tenure("p-acme", 2010),))
    program = a_program(acme, birch)
    run = only(step(a_server(modified_s=2035), program=program, read_s=READ_S))
    assert (run.startup, run.start_s) == ("birch", 2035)

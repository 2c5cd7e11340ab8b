"""Mutants of metering: dates, states, gaps between sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from quotas.metering import runs
from quotas.metering.runs import Run, UnconfirmedPeriod
from quotas.model import observation
from quotas.model.observation import Complete, Partial, Unknown
from quotas.model.units import DAY_S, HOUR_S, Period
from scheduler.views import assemble

from ..scenario.script import SMALL, ZONES, Script, Window
from .registry import locked_often, mutant_of, shut_down_inside, with_events


@mutant_of()
def runs_end_at_the_sweep(patch: pytest.MonkeyPatch) -> None:
    """Metering ends every run at the sweep, not at the date of the change."""
    right = runs._Zone._ended

    def wrong(zone: Any, run: Run, server: Any) -> Run:
        return replace(right(zone, run, server), end_s=zone.sweep.at_s, end_error_s=0)

    patch.setattr(runs._Zone, "_ended", wrong)


@mutant_of()
def a_gone_server_runs_on(patch: pytest.MonkeyPatch) -> None:
    """A server that ended counts as off since the last sweep that surely saw it on."""
    right = runs._Zone._ended

    def wrong(zone: Any, run: Run, server: Any) -> Run:
        return replace(right(zone, run, server), end_s=zone._last_sure_s(run), end_error_s=0)

    patch.setattr(runs._Zone, "_ended", wrong)


@mutant_of()
def starts_are_dated_where_they_are_seen(patch: pytest.MonkeyPatch) -> None:
    """Every run begins at the sweep that first showed it, with no error stated."""
    right = runs._Zone._opened

    def wrong(zone: Any, server: Any, startup: str, start_s: int, *, error_s: int) -> Run:
        return right(zone, server, startup, zone.sweep.at_s, error_s=0)

    patch.setattr(runs._Zone, "_opened", wrong)


@mutant_of()
def runs_begin_an_hour_early(patch: pytest.MonkeyPatch) -> None:
    """Every run begins an hour before its server did."""
    right = runs._Zone._opened

    def wrong(zone: Any, server: Any, startup: str, start_s: int, *, error_s: int) -> Run:
        return right(zone, server, startup, start_s - HOUR_S, error_s=error_s)

    patch.setattr(runs._Zone, "_opened", wrong)


@mutant_of()
def unconfirmed_time_is_never_set_aside(patch: pytest.MonkeyPatch) -> None:
    """No unconfirmed time is recorded: what may have run in a gap is lost."""
    right = assemble.meter
    patch.setattr(assemble, "meter", lambda *args: replace(right(*args), unconfirmed_periods=()))


@mutant_of()
def every_gap_is_unconfirmed(patch: pytest.MonkeyPatch) -> None:
    """A server that runs counts as off until the sweep that shows it running."""
    right = runs._Zone._changed_s

    def wrong(zone: Any, server: Any) -> int:
        return zone.sweep.at_s if server.is_billable else right(zone, server)

    patch.setattr(runs._Zone, "_changed_s", wrong)


@mutant_of()
def every_change_is_unconfirmed(patch: pytest.MonkeyPatch) -> None:
    """A start inside a gap is not dated by its change: all time before it becomes unconfirmed."""
    right = runs._Zone._began

    def wrong(zone: Any, server: Any) -> Iterable[Run]:
        for run in right(zone, server):
            from_s = max(zone.confirmed_s or run.start_s, server.created_s)
            if from_s < run.start_s:
                period = Period(from_s, run.start_s)
                set_aside.append(
                    UnconfirmedPeriod(
                        server.id, run.startup, run.flavor, period, run.rate_ucr_per_h
                    )
                )
            yield run

    set_aside: list[UnconfirmedPeriod] = []
    meter = assemble.meter

    def metered(*args: Any) -> Any:
        set_aside.clear()
        answer = meter(*args)
        return replace(answer, unconfirmed_periods=(*answer.unconfirmed_periods, *set_aside))

    patch.setattr(runs._Zone, "_began", wrong)
    patch.setattr(assemble, "meter", metered)


@mutant_of()
def what_is_off_at_both_sweeps_never_ran(patch: pytest.MonkeyPatch) -> None:
    """A server that is off at both sweeps and was modified late leaves no unconfirmed time."""
    patch.setattr(runs._Zone, "_may_have_run", lambda *_: ())


@mutant_of(needs=shut_down_inside)
def stopped_in_place_is_free(patch: pytest.MonkeyPatch) -> None:
    """A server that is stopped in place counts as off."""
    free = observation.FREE_STATES | {"stopped in place", "stopped_in_place"}
    patch.setattr(observation, "FREE_STATES", free)


@mutant_of(needs=locked_often)
def a_locked_server_is_free(patch: pytest.MonkeyPatch) -> None:
    """A server that the provider locked counts as off."""
    patch.setattr(observation, "FREE_STATES", observation.FREE_STATES | {"locked"})


def _sweeps_as(patch: pytest.MonkeyPatch, kind: type, servers: Any) -> None:
    """Metering treats a sweep of another kind as a Complete one."""
    right = assemble.meter

    def wrong(
        program: Any, catalogue: Any, runs: Any, known: Any, sweeps: Iterable[Any], read_s: int
    ) -> Any:
        seen = [Complete(s.zone, s.at_s, servers(s)) if isinstance(s, kind) else s for s in sweeps]
        return right(program, catalogue, runs, known, seen, read_s)

    patch.setattr(assemble, "meter", wrong)


def _dark(kind: str) -> Callable[[Script], Script]:
    """For half of every third day, no zone answers, or only in part."""

    def needs(script: Script) -> Script:
        spans = [(s, s + DAY_S // 2) for s in range(script.start_s, script.healed_s, 3 * DAY_S)]
        more = [Window(kind, zone, a, min(b, script.healed_s)) for zone in ZONES for a, b in spans]
        return replace(script, windows=(*script.windows, *more))

    return needs


@mutant_of(needs=_dark("outage"))
def an_unknown_zone_is_empty(patch: pytest.MonkeyPatch) -> None:
    """A zone that did not answer counts as empty."""
    _sweeps_as(patch, Unknown, lambda _: ())


@mutant_of(needs=_dark("partial"))
def a_part_is_taken_for_the_whole(patch: pytest.MonkeyPatch) -> None:
    """Servers that a Partial answer lacks count as deleted."""
    _sweeps_as(patch, Partial, lambda sweep: sweep.servers)


def _resized(script: Script) -> Script:
    """Every server gets another type each time that it is off."""
    off = [e for e in script.events if e.verb == "off" and len(e.args) == 2]
    return with_events(
        script,
        [
            replace(e, at_s=e.at_s + 900, verb="resize", args=(*e.args, SMALL[number % 2]))
            for number, e in enumerate(off)
        ],
    )


@mutant_of(needs=_resized)
def a_resized_server_keeps_its_price(patch: pytest.MonkeyPatch) -> None:
    """A server keeps the type with which it was first seen."""
    right = runs._Zone._opened
    first: dict[str, str] = {}

    def wrong(zone: Any, server: Any, startup: str, start_s: int, *, error_s: int) -> Run:
        kind = first.setdefault(server.id, server.commercial_type)
        as_was = replace(server, commercial_type=kind)
        return right(zone, as_was, startup, start_s, error_s=error_s)

    patch.setattr(runs._Zone, "_opened", wrong)

"""The rate of each second of a run: a run is cut where its rate changes.

A charge is of one run, so it has one rate. After a change, F counts from the run that begins there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from quotas.metering.prices import split_at_steps
from quotas.metering.runs import Catalogue, Metered, Run
from quotas.model.program import Program
from quotas.model.units import Period

ALWAYS_S = 0


def fixed_at(program: Program, cohort: str | None) -> int | None:
    """The instant whose rate a cohort is charged: its start, or None where prices follow."""
    if program.prices == "follow":
        return None
    starts_s = {each.name: each.starts_s for each in (*program.former, *program.cohorts)}
    # A cohort that no version names any more: only corrections still reach it.
    return starts_s.get(cohort or "", ALWAYS_S)


def split_by_rate(program: Program, catalogue: Catalogue, metered: Metered) -> Metered:
    """What was metered, each run at its rate and cut where that changes."""
    runs = dict(metered.runs)
    changed = {run.id: run for run in metered.changed}
    for run in metered.runs.values():
        confirmed_s = metered.confirmed.get(run.zone, run.start_s)
        for part in _parts(program, catalogue, run, confirmed_s):
            if runs.get(part.id) != part:
                changed[part.id] = runs[part.id] = part
    return replace(metered, runs=runs, changed=tuple(changed.values()))


def _parts(program: Program, catalogue: Catalogue, run: Run, confirmed_s: int) -> Iterable[Run]:
    """The run, cut where its rate changes. Posted time keeps its charge: corrections amend it."""
    startup = program.known(run.startup)
    fixed_at_s = fixed_at(program, startup.cohort if startup else None)
    steps = catalogue.prices.charged(run.flavor, fixed_at_s)
    if not steps or run.rate_ucr_per_h is None:
        return
    until_s = confirmed_s if run.end_s is None else run.end_s
    rest = Period(run.posted_until_s, max(until_s, run.posted_until_s) + 1)
    for period, step in split_at_steps(steps, rest):
        if step.rate_ucr_per_h == run.rate_ucr_per_h:
            continue
        if period.start_s == run.start_s:
            run = replace(run, rate_ucr_per_h=step.rate_ucr_per_h)
        elif run.end_s is None or period.start_s < run.end_s:
            cut_s = period.start_s
            yield replace(run, end_s=cut_s, state="ended", end_error_s=0)
            run = replace(
                run,
                id=f"{run.server_id}@{cut_s}",
                rate_ucr_per_h=step.rate_ucr_per_h,
                start_s=cut_s,
                posted_until_s=cut_s,
                start_error_s=0,
            )
    yield run

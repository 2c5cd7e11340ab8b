"""Start and uptime of a run: a cut of the run is no start of its server."""

from __future__ import annotations

from typing import Any

import pytest

from quotas.metering.prices import Prices, Version
from quotas.metering.rating import split_by_rate
from quotas.metering.runs import Catalogue, Metered, Run, meter
from quotas.model.observation import Server
from quotas.model.program import Program, Tenure
from tests.builders import (
    BIG_TYPE,
    CATALOGUE,
    FLAVOR,
    Z,
    a_program,
    a_run,
    a_server,
    a_startup,
    metered,
    seen,
)

SWEPT_S, NEXT_S = 1000, 2000

CHEAPER = Prices({FLAVOR: (Version(1, 0, 3600, 0), Version(2, 1500, 1800, 1500))})


def handed_over_to_birch(at_s: int, **of_birch: Any) -> Program:
    """Acme's project belongs to birch from an instant on."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 0, at_s),))
    projects = (Tenure("p-acme", at_s), Tenure("p-birch", 0))
    return a_program(acme, a_startup("birch", projects=projects, **of_birch))


def one_sweep(server: Server, *runs: Run, program: Program | None = None) -> Metered:
    """A sweep of the zone that shows one server."""
    known = {Z: SWEPT_S}
    return meter(program or a_program(), CATALOGUE, runs, known, [seen(NEXT_S, server)])


def newest_run(found: Metered) -> tuple[str, int, int, str]:
    """Startup, start, uptime start and starter of the newest run."""
    run = max(found.runs.values(), key=lambda run: run.start_s)
    return run.startup, run.start_s, run.up_since_s, run.started_by


def at_a_new_rate() -> Metered:
    """The rate changes at 1500."""
    rates = Catalogue({}, {}, CHEAPER)
    return split_by_rate(
        a_program(prices="follow"), rates, metered([a_run(start_s=5)], {Z: NEXT_S})
    )


CUTS = {
    "a new rate": (at_a_new_rate, ("acme", 1500, 5, "acme")),
    "a new owner": (
        lambda: one_sweep(a_server(), a_run(start_s=5), program=handed_over_to_birch(1600)),
        ("birch", 1600, 5, "acme"),
    ),
    "an outage, and modified in it": (
        lambda: one_sweep(a_server(modified_s=1700), a_run(start_s=5)),
        ("acme", 1700, 5, "acme"),
    ),
    "another project": (
        lambda: one_sweep(a_server(project_id="p-birch", modified_s=1600), a_run(start_s=5)),
        ("birch", 1600, 5, "acme"),
    ),
    "a second cut": (
        lambda: one_sweep(a_server(modified_s=1700), a_run(start_s=900, up_since_s=5)),
        ("acme", 1700, 5, "acme"),
    ),
    "one sweep that did not show it": (
        lambda: one_sweep(a_server(modified_s=5)),
        ("acme", 2000, 5, "acme"),
    ),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_cut_moves_nobodys_start(cut: tuple[Any, tuple[str, int, int, str]]) -> None:
    """The run is charged from the cut; the server is on since 5, and acme started it."""
    make, expected = cut
    assert newest_run(make()) == expected


STARTS = {
    "off and on, dated": (a_run(end_s=700, rate_ucr_per_h=None), {"modified_s": 1500}),
    "resized, for which it has to be off": (
        a_run(),
        {"modified_s": 1500, "commercial_type": BIG_TYPE},
    ),
}


@pytest.mark.parametrize("case", STARTS.values(), ids=STARTS)
def test_a_real_stop_and_start_is_a_new_start(case: tuple[Run, dict[str, Any]]) -> None:
    """A server that was certainly off is on since its new start."""
    before, changes = case
    assert newest_run(one_sweep(a_server(**changes), before)) == ("acme", 1500, 1500, "acme")


def test_a_server_seen_off_begins_anew() -> None:
    """A server seen off, then on, starts at the provider's date."""
    off = one_sweep(a_server(state="stopped", modified_s=1500), a_run())
    on = meter(
        a_program(),
        CATALOGUE,
        [run for run in off.runs.values() if run.end_s is None],
        off.confirmed,
        [seen(3000, a_server(modified_s=2500))],
    )
    assert newest_run(on) == ("acme", 2500, 2500, "acme")


def test_what_ran_in_nobodys_project_was_started_by_nobody() -> None:
    """A new member did not start what already ran in its project."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 1600),))
    found = one_sweep(a_server(modified_s=5), program=a_program(acme))
    assert newest_run(found) == ("acme", NEXT_S, 5, "")

"""What cuts a run in two is bookkeeping: to every rule its server is on since it was started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.decisions.disruption_budget import Enforcement
from quotas.decisions.overrides import Override
from quotas.decisions.snapshot import Overuse, Snapshot
from quotas.enforcement.decide import decide
from quotas.metering.prices import Prices, Version
from quotas.metering.rating import split_by_rate
from quotas.metering.runs import Catalogue, Metered, Run, meter
from quotas.model.observation import Server
from quotas.model.program import Policy, Pool, Program, Tenure
from quotas.model.units import DAY_S, HOUR_S
from quotas.queue.claims import WaitingOwners
from quotas.rules import credits, limit, operator, reclaim, standby
from quotas.rules.context import Violation
from quotas.rules.pace import pace_limits
from tests.builders import (
    BIG_TYPE,
    CATALOGUE,
    FLAVOR,
    Z,
    a_balance_of,
    a_program,
    a_run,
    a_server,
    a_snapshot,
    a_startup,
    metered,
    seen,
)
from tests.quotas.rules.rule_env import context_of, violations
from tests.quotas.rules.test_overuse import NOTICE_S, asks, full

SWEPT_S, NEXT_S = 1000, 2000
CHEAPER = Prices({FLAVOR: (Version(1, 0, 3600, 0), Version(2, 1500, 1800, 1500))})


def passing(at_s: int, **of_birch: Any) -> Program:
    """Acme's project is birch's from an instant on."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 0, at_s),))
    projects = (Tenure("p-acme", at_s), Tenure("p-birch", 0))
    return a_program(acme, a_startup("birch", projects=projects, **of_birch))


def step(server: Server, *runs: Run, program: Program | None = None) -> Metered:
    """A sweep of the zone that shows one server."""
    known = {Z: SWEPT_S}
    return meter(program or a_program(), CATALOGUE, runs, known, [seen(NEXT_S, server)])


def latest(found: Metered) -> tuple[str, int, int, str]:
    """Startup and start of the newest run, since when its server is on, and who started it."""
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
        lambda: step(a_server(), a_run(start_s=5), program=passing(1600)),
        ("birch", 1600, 5, "acme"),
    ),
    "an outage, and modified in it": (
        lambda: step(a_server(modified_s=1700), a_run(start_s=5)),
        ("acme", 1700, 5, "acme"),
    ),
    "another project": (
        lambda: step(a_server(project_id="p-birch", modified_s=1600), a_run(start_s=5)),
        ("birch", 1600, 5, "acme"),
    ),
    "a second cut": (
        lambda: step(a_server(modified_s=1700), a_run(start_s=900, up_since_s=5)),
        ("acme", 1700, 5, "acme"),
    ),
    "one sweep that did not show it": (
        lambda: step(a_server(modified_s=5)),
        ("acme", 2000, 5, "acme"),
    ),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_cut_moves_nobodys_start(cut: tuple[Any, tuple[str, int, int, str]]) -> None:
    """The run is charged from the cut; the server is on since 5, and acme started it."""
    make, expected = cut
    assert latest(make()) == expected


STARTS = {
    "off and on, dated": (a_run(end_s=700, rate_ucr_per_h=None), {"modified_s": 1500}),
    "resized, for which it has to be off": (
        a_run(),
        {"modified_s": 1500, "commercial_type": BIG_TYPE},
    ),
}


@pytest.mark.parametrize("case", STARTS.values(), ids=STARTS)
def test_a_real_stop_and_start_is_a_new_start(case: tuple[Run, dict[str, Any]]) -> None:
    """Whose server was surely off is on since it was started again."""
    before, changes = case
    assert latest(step(a_server(**changes), before)) == ("acme", 1500, 1500, "acme")


def test_a_server_seen_off_begins_anew() -> None:
    """Off in one sweep, on in the next: the start is the one that the provider dates."""
    off = step(a_server(state="stopped", modified_s=1500), a_run())
    on = meter(
        a_program(),
        CATALOGUE,
        [run for run in off.runs.values() if run.end_s is None],
        off.confirmed,
        [seen(3000, a_server(modified_s=2500))],
    )
    assert latest(on) == ("acme", 2500, 2500, "acme")


def test_what_ran_in_nobodys_project_was_started_by_nobody() -> None:
    """A project comes into the program: what runs there its new owner did not start."""
    acme = a_startup("acme", projects=(Tenure("p-acme", 1600),))
    found = step(a_server(modified_s=5), program=a_program(acme))
    assert latest(found) == ("acme", NEXT_S, 5, "")


def cut_run(server_id: str, cut_s: int, up_since_s: int = 0, **changes: Any) -> Run:
    """A run cut at an instant, of a server that is on for longer."""
    return a_run(server_id, cut_s, **{"up_since_s": up_since_s, **changes})


def closed_at(at_s: int, *runs: Run, program: Program | None = None) -> list[tuple[str, object]]:
    """Who is to stop, and since when each is on, after an operator closed all at an instant."""
    overrides = tuple(
        Override("level", name, "closed", at_s, None, "ann", "late report", id=number)
        for number, name in enumerate(("acme", "birch"), 1)
    )
    snapshot = a_snapshot(
        5 * HOUR_S, program or a_program(), runs, enforcement=Enforcement(overrides=overrides)
    )
    return [(v.run.server_id, v.facts.started_s) for v in violations(operator.RULE, snapshot)]


def test_closed_stops_what_was_started_afterwards_and_nothing_that_was_cut() -> None:
    """Cut after the closing: it goes on. Started after it, and cut again: it stops."""
    runs = [cut_run("cut", 200), cut_run("fresh", 200, 150), cut_run("exact", 200, 100)]
    assert closed_at(100, *runs) == [("fresh", 150)]


def test_what_passed_to_a_closed_startup_was_not_started_by_it() -> None:
    """Birch is closed, and takes over what acme started since: it runs on; birch's own stops."""
    of_birch = {"startup": "birch", "project_id": "p-birch"}
    taken = cut_run("taken", 200, 150, started_by="acme", **of_birch)
    own = cut_run("own", 200, 150, started_by="birch", **of_birch)
    program = a_program(a_startup("acme"), a_startup("birch"))
    assert closed_at(100, taken, own, program=program) == [("own", 150)]


def test_a_limit_takes_the_last_started_not_the_last_cut() -> None:
    """Two servers, one too many: the one that was started later, whatever was cut since."""
    program = a_program(a_startup(limit={"h100": 1}))
    runs = [cut_run("old", 900), a_run("new", 500)]
    assert [v.run.server_id for v in violations(limit.RULE, a_snapshot(NEXT_S, program, runs))] == [
        "new"
    ]


def test_used_up_credits_name_the_last_started_first() -> None:
    """The guard lets the first of them pass first: not the one with the newest rate."""
    runs = [cut_run("old", 900), a_run("new", 500)]
    snapshot = a_snapshot(NEXT_S, a_program(), runs, [a_balance_of(left_ucr=1)])
    assert [v.run.server_id for v in violations(credits.RULE, snapshot)] == ["new", "old"]


def cut_in(snapshot: Snapshot, cut_s: int) -> Snapshot:
    """The same with acme's oldest server's run cut at an instant."""
    runs = dict(snapshot.runs)
    runs["s0@0"] = replace(runs["s0@0"], start_s=cut_s, posted_until_s=cut_s)
    return replace(snapshot, runs=runs)


def test_a_cut_gives_no_second_minimum_runtime() -> None:
    """A price changed ten minutes ago: the excess's deadline is that of the servers' own ages."""
    plain = full(10 * HOUR_S, asks("birch", 8))
    nominal = a_startup("birch", nominal={"h100": 8})
    program = a_program(a_startup("acme"), nominal, pools=plain.program.pools)
    plain = replace(plain, program=program)
    recut = cut_in(plain, 10 * HOUR_S - 600)
    found = [decide(each).current_overuses for each in (plain, recut)]
    assert found[0] == found[1] != ()
    assert found[0][0].deadline_s == 10 * HOUR_S + NOTICE_S


def test_an_excess_waits_for_the_last_started_not_the_last_cut() -> None:
    """One GPU above its share: whose minimum runtime counts is the newest server's."""
    made = full(7 * HOUR_S + 600, asks("birch", 1))
    for snapshot in (made, cut_in(made, 7 * HOUR_S + 300)):
        (overuse,) = decide(snapshot).current_overuses
        assert overuse.deadline_s == 8 * HOUR_S + NOTICE_S


def test_a_reclaim_takes_the_last_started_not_the_last_cut() -> None:
    """And its deadline has no minimum runtime counted from a cut."""
    snapshot = cut_in(full(10 * HOUR_S, asks("birch", 1)), 10 * HOUR_S - 600)
    overuse = Overuse("acme", "h100", 1, "birch", 0, 10 * HOUR_S + NOTICE_S, 7, 4, "capacity")

    def reclaims(snapshot: Snapshot) -> list[Violation]:
        waiting = {"h100": WaitingOwners({"birch": 1}, 0)}
        context = replace(context_of(snapshot), waiting=waiting, overuses=(overuse,))
        return list(reclaim.RULE.find(context))

    (found,) = reclaims(snapshot)
    assert found.run.server_id == "s7"
    alone = replace(snapshot, runs={"s0@0": snapshot.runs["s0@0"]})
    (last,) = reclaims(alone)
    assert (last.run.server_id, last.deadline_s) == ("s0", overuse.deadline_s)


def test_a_cut_is_no_new_leak() -> None:
    """Stopped in place since 100: a new rate at 2000 puts neither the leak nor its cause off."""
    in_place = a_server(state="stopped in place", modified_s=100)
    for run in (a_run(), cut_run("s1", 2000)):
        snapshot = a_snapshot(2100, a_program(), [run], sweeps={Z: seen(2100, in_place)})
        assert [v.episode for v in violations(standby.RULE, snapshot)] == ["standby:100"]


def daily_limit(*runs: Run) -> int:
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
    assert daily_limit(first, cut_run("s1", later_s, day_s)) == 2
    assert daily_limit(first, cut_run("s1", later_s, later_s)) == 1
    assert daily_limit(first, cut_run("s1", later_s, later_s - 60, started_by="birch")) == 2

"""The membership rule: former members keep books and debts; new owners pay from the handover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quotas.book import Book
from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.prices import PriceCommand
from quotas.book.cycle.commit import apply_program
from quotas.book.verify.verify import verify
from quotas.config.load import parse_program
from quotas.model.program import Cohort, Grant, Program, Startup, Tenure
from quotas.model.units import HOUR_S, Period, cost_ucr, parse_credits
from scheduler.views.status import status_of
from tests.cli.command import CommandResult, run_in_process
from tests.scheduler.harness import (
    DAY_S,
    NOTICE_S,
    PROJECT,
    RATE,
    T0,
    TYPE,
    ZONE,
    Harness,
    program,
    server,
)
from tests.scheduler.scenarios import last_notice, notice_length_s, turn

BIRCH = f"""\
[program]
name = "trial"
budget = "5000"
zones = ["{ZONE}"]

[pool.h100]
gpus = 16
flavors = ["{TYPE}@{ZONE}"]

[cohort.spring]
starts = 2027-01-05
ends = 2027-07-05

[cohort.spring.startup.birch]
project_id = "22222222-2222-4222-8222-222222222222"
grants = [ {{ id = "birch-1", credits = "2000" }} ]
"""
BOTH = f"""{BIRCH}
[cohort.spring.startup.acme]
project_id = "{PROJECT}"
grants = [ {{ id = "acme-1", credits = "1000" }} ]
"""


class OffboardingScenario:
    """A folder with a program file and a book, a daemon on it, and an operator's commands."""

    def __init__(self, folder: Path) -> None:
        self.file, self.state = folder / "program.toml", folder / "state"
        self.harness = Harness(parse_program(BOTH, "program.toml"), Book.open(self.state))

    def run(self, *words: object) -> CommandResult:
        """A command on this book."""
        return run_in_process(*words, "--state", self.state)

    def leaves(self) -> None:
        """Remove acme from the program file; `apply` asks for the program's name."""
        self.file.write_text(BIRCH)
        where = ("apply", "--program", self.file)
        assert self.run(*where).code == 1
        assert self.run(*where, "--confirm", "trial").code == 0

    def acme(self) -> Mapping[str, Any]:
        """The line of `cohortd status` on acme."""
        found = status_of(self.harness.book, self.harness.clock.now_s())["startups"]
        return next(line for line in found if line["name"] == "acme")


@pytest.fixture
def scenario(tmp_path: Path) -> OffboardingScenario:
    """Acme has run a server for two hours."""
    made = OffboardingScenario(tmp_path)
    made.harness.cloud.add(server())
    made.harness.run()
    made.harness.run_until(T0 + 2 * HOUR_S, 600)
    return made


def ran_ucr(seconds: int) -> int:
    """The cost of the server from T0 on."""
    return cost_ucr(RATE, T0, Period(T0, T0 + seconds))


def test_who_leaves_keeps_the_books_and_pays_what_runs_on(scenario: OffboardingScenario) -> None:
    """No transfer changes, and each later second of the server is charged to the same grant."""
    before, statement = (
        scenario.harness.all("transfer"),
        scenario.run("statement", "acme", "--json"),
    )
    assert statement.code == 0
    scenario.leaves()
    assert scenario.harness.all("transfer")[: len(before)] == before
    scenario.harness.run_until(T0 + 5 * HOUR_S, 600)
    scenario.harness.cloud.turn_off("s1")
    scenario.harness.run(30)
    cost = ran_ucr(5 * HOUR_S)
    assert scenario.harness.charged_ucr() == cost
    assert scenario.harness.rows("balance")["grant:acme:acme-1"] == 1_000_000_000 - cost
    told = scenario.run("statement", "acme", "--json")
    assert told.code == 0 and len(told.out) >= len(statement.out)
    assert scenario.run("journal", "--startup", "acme", "--format", "csv").code == 0
    assert verify(scenario.harness.book).fault is None


def test_status_says_what_was_granted_after_leaving_and_after_a_void(
    scenario: OffboardingScenario,
) -> None:
    """`granted` is what took effect, also after leaving; a void lowers only what is left."""
    assert scenario.acme()["granted"] == "1000.00"
    scenario.leaves()
    scenario.harness.run(600)
    gone = scenario.acme()
    cost = ran_ucr(2 * HOUR_S + 600)
    assert gone["granted"] == "1000.00" and parse_credits(gone["charged"]) <= cost
    assert parse_credits(gone["posted"]) + parse_credits(gone["charged"]) == 10**9
    assert scenario.run("void", "acme", "acme-1", "--reason", "it left").code == 0
    after = scenario.acme()
    assert (after["granted"], after["posted"], after["charged"]) == (
        "1000.00",
        "0.00",
        gone["charged"],
    )
    scenario.harness.run_until(T0 + 4 * HOUR_S, 600)
    assert scenario.harness.charged_ucr() == ran_ucr(4 * HOUR_S)
    assert verify(scenario.harness.book).fault is None


MONTH_END_S = 1_801_440_000
PARIS_SPRING_S = 1_806_195_600
EDGES = {"a month's end": MONTH_END_S, "a DST change": PARIS_SPRING_S}


def handed_over(at_s: int) -> Program:
    """The project is acme's until an instant of Paris time, and birch's from then on."""
    grants = [(Grant(f"g-{name}", 10**10, T0, T0 + 150 * DAY_S),) for name in ("acme", "birch")]
    startups = (
        Startup("acme", "c", (Tenure(PROJECT, 0, at_s),), grants=grants[0]),
        Startup("birch", "c", (Tenure(PROJECT, at_s),), grants=grants[1]),
    )
    cohort = Cohort("c", T0, T0 + 150 * DAY_S, startups)
    return replace(program(), timezone="Europe/Paris", cohorts=(cohort,))


def near(at_s: int) -> Harness:
    """A harness two hours before the handover, with every zone known until then."""
    harness = Harness(handed_over(at_s))
    harness.run()
    harness.run(at_s - 2 * HOUR_S - T0)
    return harness


def seconds(harness: Harness) -> dict[str, list[tuple[int, int]]]:
    """The charged stretches of each startup, in order."""
    found: dict[str, list[tuple[int, int]]] = {}
    for run in harness.all("run"):
        stretch = (int(str(run["start_s"])), int(str(run["posted_until_s"])))
        found.setdefault(str(run["startup"]), []).append(stretch)
    return found


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "gap_s", [30, 600, 3 * HOUR_S], ids=["every 30 s", "every ten minutes", "every 3 h"]
)
def test_each_second_is_charged_to_whose_the_project_was(edge: str, gap_s: int) -> None:
    """Across the handover each second is charged once, whether swept often or once in hours."""
    at_s = EDGES[edge]
    from_s, until_s = at_s - 2 * HOUR_S + 7, at_s + HOUR_S + 11
    harness = near(at_s)
    harness.clock.move_to(from_s)
    harness.cloud.add(server("s1", from_s))
    harness.run(13)
    harness.run_until(until_s - 20, gap_s)
    harness.clock.move_to(until_s)
    harness.cloud.turn_off("s1")
    harness.run(15)
    assert seconds(harness) == {"acme": [(from_s, at_s)], "birch": [(at_s, until_s)]}
    amounts = harness.rows("balance")
    assert amounts["usage:acme"] == cost_ucr(RATE, from_s, Period(from_s, at_s))
    assert amounts["usage:birch"] == cost_ucr(RATE, at_s, Period(at_s, until_s))
    assert verify(harness.book).fault is None


@pytest.mark.parametrize("edge", EDGES)
def test_a_server_that_began_or_ended_in_the_gap_of_the_handover_is_cut_too(edge: str) -> None:
    """Starts and ends within seconds of the handover, seen late, are charged to the right owner."""
    at_s = EDGES[edge]
    harness = near(at_s)
    harness.clock.move_to(at_s - 2 * HOUR_S + 7)
    harness.cloud.add(server("old", at_s - 2 * HOUR_S + 7))
    harness.run_until(at_s - 20, 600)
    harness.clock.move_to(at_s - 10)
    harness.cloud.add(server("new", at_s - 10))
    harness.clock.move_to(at_s + 10)
    harness.cloud.turn_off("old")
    harness.run(10)
    harness.clock.move_to(at_s + 40)
    harness.cloud.turn_off("new")
    harness.run(15)
    assert {name: sorted(own) for name, own in seconds(harness).items()} == {
        "acme": [(at_s - 2 * HOUR_S + 7, at_s), (at_s - 10, at_s)],
        "birch": [(at_s, at_s + 10), (at_s, at_s + 40)],
    }
    assert verify(harness.book).fault is None


def test_a_server_started_after_leaving_is_charged_to_who_left(
    scenario: OffboardingScenario,
) -> None:
    """A former member's server that restarts, and a new one, are charged to its account."""
    scenario.harness.cloud.turn_off("s1")
    scenario.harness.run(600)
    scenario.leaves()
    scenario.harness.run(600)
    again_s = scenario.harness.clock.now_s() + 10
    scenario.harness.clock.move_to(again_s)
    scenario.harness.cloud.power_on("", "s1")
    scenario.harness.cloud.add(server("s2", again_s))
    scenario.harness.run_until(again_s + 2 * HOUR_S, 600)
    cost = cost_ucr(RATE, again_s, Period(again_s, again_s + 2 * HOUR_S))
    total = ran_ucr(2 * HOUR_S) + 2 * cost
    assert scenario.harness.charged_ucr() == total
    assert scenario.harness.rows("balance")["grant:acme:acme-1"] == 1_000_000_000 - total
    assert scenario.acme()["level"] == "stopped"
    assert {
        n["server_id"] for n in scenario.harness.all("notice") if n["rule"] == "membership"
    } == {
        "s1",
        "s2",
    }
    assert verify(scenario.harness.book).fault is None


def test_who_left_with_its_cohort_and_without_a_grant_is_metered_too() -> None:
    """A former member without a grant is metered, shown, and paid by the sponsor's overdraft."""
    whole = program(mode="shadow")
    (cohort,) = whole.cohorts
    poor = replace(cohort, startups=(replace(cohort.startups[0], grants=()),))
    harness = Harness(replace(whole, cohorts=(poor,)))
    harness.run()
    apply_program(harness.book, replace(whole, cohorts=()), harness.clock.now_s(), "tests")
    harness.clock.move_to(T0 + 40)
    harness.cloud.add(server("s1", T0 + 40))
    harness.run_until(T0 + HOUR_S + 40, 600)
    cost = cost_ucr(RATE, T0 + 40, Period(T0 + 40, T0 + HOUR_S + 40))
    assert harness.rows("balance") == {"usage:acme": cost, "overdraft:c": -cost}
    assert [line.name for line in harness.views[-1].status.startups] == ["acme"]
    assert [s["name"] for s in status_of(harness.book, harness.clock.now_s())["startups"]] == [
        "acme"
    ]
    assert verify(harness.book).fault is None


def test_the_rate_of_who_left_is_still_that_of_its_cohorts_start() -> None:
    """A startup that leaves keeps the prices under which its cohort started."""
    whole = program(mode="shadow")
    late = replace(whole.cohorts[0], starts_s=T0 + 1000)
    harness = Harness(replace(whole, cohorts=(late,)))
    harness.run()
    dearer = PriceCommand(f"{TYPE}@{ZONE}", 2 * RATE, T0 + 500)
    perform_action(harness.book, OperatorAction(dearer, "dearer", "op", T0 + 60))
    harness.clock.move_to(T0 + 1000)
    harness.cloud.add(server("s1", T0 + 1000))
    harness.run()
    apply_program(harness.book, replace(whole, cohorts=()), T0 + 1000, "tests")
    harness.run_until(T0 + 1000 + 2 * HOUR_S, 600)
    assert harness.charged_ucr() == cost_ucr(2 * RATE, 0, Period(0, 2 * HOUR_S))


def test_whoever_left_is_told_of_a_stop_at_its_own_contacts() -> None:
    """A startup that left gets its notice at the contacts that the book has."""
    whole = program()
    (cohort,) = whole.cohorts
    told = replace(cohort.startups[0], contacts=("mailto://cto@acme.example",))
    harness = Harness(replace(whole, cohorts=(replace(cohort, startups=(told,)),)))
    apply_program(harness.book, replace(whole, cohorts=()), T0, "tests")
    harness.run()
    harness.clock.move_to(T0 + 40)
    harness.cloud.add(server("s1", T0 + 40))
    harness.run()
    assert [m["recipient"] for m in harness.all("outbox")] == ["mailto://cto@acme.example"]
    assert harness.cloud.stops == []
    harness.run_until(T0 + 40 + NOTICE_S + 30)
    assert harness.cloud.stops == ["s1"]


def test_who_leaves_twice_has_two_notices() -> None:
    """A startup that leaves a second time gets the same announcements again."""
    base = program(notice_s=1800)
    gone = replace(base, cohorts=(replace(base.cohorts[0], startups=()),))
    harness = Harness(base)
    harness.cloud.add(server())
    harness.run()
    apply_program(harness.book, gone, harness.clock.now_s(), "ann")
    harness.run_until(T0 + HOUR_S, 150)
    turn(harness, "s1", "stopped")
    apply_program(harness.book, base, harness.clock.now_s(), "ann")
    turn(harness, "s1", "running")
    harness.run_until(T0 + 2 * DAY_S, HOUR_S)
    apply_program(harness.book, gone, harness.clock.now_s(), "ann")
    harness.run(30)
    assert last_notice(harness)["state"] == "open" and notice_length_s(harness) == 1800

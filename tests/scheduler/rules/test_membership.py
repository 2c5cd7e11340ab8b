"""Who leaves keeps books and debts; who takes a project over pays from that second on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quotas.book import Book
from quotas.book.actions.commands import Deed, PriceOrder
from quotas.book.actions.execute import perform
from quotas.book.cycle.commit import apply_program
from quotas.book.verify.verify import verify
from quotas.config.load import parse_program
from quotas.model.program import Cohort, Grant, Program, Startup, Tenure
from quotas.model.units import HOUR_S, Period, cost_ucr, parse_credits
from scheduler.views.status import status_of
from tests.cli.command import Ran, here
from tests.scheduler.harness import (
    DAY_S,
    NOTICE_S,
    PROJECT,
    RATE,
    T0,
    TYPE,
    ZONE,
    Rig,
    program,
    server,
)

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


class Office:
    """A folder with a program file and a book, a daemon on it, and an operator's commands."""

    def __init__(self, folder: Path) -> None:
        self.file, self.state = folder / "program.toml", folder / "state"
        self.rig = Rig(parse_program(BOTH, "program.toml"), Book.open(self.state))

    def run(self, *words: object) -> Ran:
        """A command on this book."""
        return here(*words, "--state", self.state)

    def leaves(self) -> None:
        """Acme is taken out of the program file, which needs the program's name."""
        self.file.write_text(BIRCH)
        where = ("apply", "--program", self.file)
        assert self.run(*where).code == 1
        assert self.run(*where, "--confirm", "trial").code == 0

    def acme(self) -> Mapping[str, Any]:
        """What status says of acme now."""
        found = status_of(self.rig.book, self.rig.clock.now_s())["startups"]
        return next(line for line in found if line["name"] == "acme")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Acme has run a server for two hours."""
    made = Office(tmp_path)
    made.rig.cloud.add(server())
    made.rig.run()
    made.rig.run_until(T0 + 2 * HOUR_S, 600)
    return made


def ran_ucr(seconds: int) -> int:
    """What the server costs from T0 on."""
    return cost_ucr(RATE, T0, Period(T0, T0 + seconds))


def test_who_leaves_keeps_the_books_and_pays_what_runs_on(office: Office) -> None:
    """Not one transfer changes; each later second of the server is charged to the same grant."""
    before, statement = office.rig.all("transfer"), office.run("statement", "acme", "--json")
    assert statement.code == 0
    office.leaves()
    assert office.rig.all("transfer")[: len(before)] == before
    office.rig.run_until(T0 + 5 * HOUR_S, 600)
    office.rig.cloud.turn_off("s1")
    office.rig.run(30)
    cost = ran_ucr(5 * HOUR_S)
    assert office.rig.charged_ucr() == cost
    assert office.rig.rows("balance")["grant:acme:acme-1"] == 1_000_000_000 - cost
    told = office.run("statement", "acme", "--json")
    assert told.code == 0 and len(told.out) >= len(statement.out)
    assert office.run("journal", "--startup", "acme", "--format", "csv").code == 0
    assert verify(office.rig.book).fault is None


def test_status_says_what_was_granted_after_leaving_and_after_a_void(office: Office) -> None:
    """`granted` is what took effect, also after leaving; a void lowers what is left, not that."""
    assert office.acme()["granted"] == "1000.00"
    office.leaves()
    office.rig.run(600)
    gone = office.acme()
    cost = ran_ucr(2 * HOUR_S + 600)
    assert gone["granted"] == "1000.00" and parse_credits(gone["charged"]) <= cost
    assert parse_credits(gone["posted"]) + parse_credits(gone["charged"]) == 10**9
    assert office.run("void", "acme", "acme-1", "--reason", "it left").code == 0
    after = office.acme()
    assert (after["granted"], after["posted"], after["charged"]) == (
        "1000.00",
        "0.00",
        gone["charged"],
    )
    office.rig.run_until(T0 + 4 * HOUR_S, 600)
    assert office.rig.charged_ucr() == ran_ucr(4 * HOUR_S)
    assert verify(office.rig.book).fault is None


MONTH_END_S = 1_801_440_000
PARIS_SPRING_S = 1_806_195_600
EDGES = {"a month's end": MONTH_END_S, "a DST change": PARIS_SPRING_S}


def handed_over(at_s: int) -> Program:
    """The project is acme's until an instant and birch's from it on; Paris reads the clock."""
    grants = [(Grant(f"g-{name}", 10**10, T0, T0 + 150 * DAY_S),) for name in ("acme", "birch")]
    startups = (
        Startup("acme", "c", (Tenure(PROJECT, 0, at_s),), grants=grants[0]),
        Startup("birch", "c", (Tenure(PROJECT, at_s),), grants=grants[1]),
    )
    cohort = Cohort("c", T0, T0 + 150 * DAY_S, startups)
    return replace(program(), timezone="Europe/Paris", cohorts=(cohort,))


def near(at_s: int) -> Rig:
    """A rig whose clock stands two hours before the handover, every zone known until then."""
    rig = Rig(handed_over(at_s))
    rig.run()
    rig.run(at_s - 2 * HOUR_S - T0)
    return rig


def seconds(rig: Rig) -> dict[str, list[tuple[int, int]]]:
    """What each startup was charged for, as stretches in order."""
    found: dict[str, list[tuple[int, int]]] = {}
    for run in rig.all("run"):
        stretch = (int(str(run["start_s"])), int(str(run["posted_until_s"])))
        found.setdefault(str(run["startup"]), []).append(stretch)
    return found


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("gap_s", [30, 600, 3 * HOUR_S])
def test_each_second_is_charged_to_whose_the_project_was(edge: str, gap_s: int) -> None:
    """Across the edge, swept often or once in hours: to the second, and to the micro-credit."""
    at_s = EDGES[edge]
    from_s, until_s = at_s - 2 * HOUR_S + 7, at_s + HOUR_S + 11
    rig = near(at_s)
    rig.clock.move_to(from_s)
    rig.cloud.add(server("s1", from_s))
    rig.run(13)
    rig.run_until(until_s - 40, gap_s)
    rig.clock.move_to(until_s)
    rig.cloud.turn_off("s1")
    rig.run(30)
    assert seconds(rig) == {"acme": [(from_s, at_s)], "birch": [(at_s, until_s)]}
    amounts = rig.rows("balance")
    assert amounts["usage:acme"] == cost_ucr(RATE, from_s, Period(from_s, at_s))
    assert amounts["usage:birch"] == cost_ucr(RATE, at_s, Period(at_s, until_s))
    assert verify(rig.book).fault is None


@pytest.mark.parametrize("edge", EDGES)
def test_a_server_that_began_or_ended_in_the_gap_of_the_handover_is_cut_too(edge: str) -> None:
    """Begun 10 s before it and seen 20 s after; ended 20 s after it and seen off later still."""
    at_s = EDGES[edge]
    rig = near(at_s)
    rig.clock.move_to(at_s - 2 * HOUR_S + 7)
    rig.cloud.add(server("old", at_s - 2 * HOUR_S + 7))
    rig.run_until(at_s - 20, 600)
    rig.clock.move_to(at_s - 10)
    rig.cloud.add(server("new", at_s - 10))
    rig.clock.move_to(at_s + 20)
    rig.cloud.turn_off("old")
    rig.run(10)
    rig.clock.move_to(at_s + 60)
    rig.cloud.turn_off("new")
    rig.run(30)
    assert {name: sorted(own) for name, own in seconds(rig).items()} == {
        "acme": [(at_s - 2 * HOUR_S + 7, at_s), (at_s - 10, at_s)],
        "birch": [(at_s, at_s + 20), (at_s, at_s + 60)],
    }
    assert verify(rig.book).fault is None


def test_a_server_started_after_leaving_is_charged_to_who_left(office: Office) -> None:
    """Stopped, gone from the file, started again, and a new one: every second on its account."""
    office.rig.cloud.turn_off("s1")
    office.rig.run(600)
    office.leaves()
    office.rig.run(600)
    again_s = office.rig.clock.now_s() + 10
    office.rig.clock.move_to(again_s)
    office.rig.cloud.power_on("", "s1")
    office.rig.cloud.add(server("s2", again_s))
    office.rig.run_until(again_s + 2 * HOUR_S, 600)
    cost = cost_ucr(RATE, again_s, Period(again_s, again_s + 2 * HOUR_S))
    total = ran_ucr(2 * HOUR_S) + 2 * cost
    assert office.rig.charged_ucr() == total
    assert office.rig.rows("balance")["grant:acme:acme-1"] == 1_000_000_000 - total
    assert office.acme()["level"] == "stopped"
    assert {n["server_id"] for n in office.rig.all("notice") if n["rule"] == "membership"} == {
        "s1",
        "s2",
    }
    assert verify(office.rig.book).fault is None


def test_who_left_with_its_cohort_and_without_a_grant_is_metered_too() -> None:
    """Nothing in the file names it any more: the sponsor's overdraft pays, and it is seen."""
    whole = program(mode="shadow")
    (cohort,) = whole.cohorts
    poor = replace(cohort, startups=(replace(cohort.startups[0], grants=()),))
    rig = Rig(replace(whole, cohorts=(poor,)))
    rig.run()
    apply_program(rig.book, replace(whole, cohorts=()), rig.clock.now_s(), "tests")
    rig.clock.move_to(T0 + 40)
    rig.cloud.add(server("s1", T0 + 40))
    rig.run_until(T0 + HOUR_S + 40, 600)
    cost = cost_ucr(RATE, T0 + 40, Period(T0 + 40, T0 + HOUR_S + 40))
    assert rig.rows("balance") == {"usage:acme": cost, "overdraft:c": -cost}
    assert [line.name for line in rig.views[-1].startups] == ["acme"]
    assert [s["name"] for s in status_of(rig.book, rig.clock.now_s())["startups"]] == ["acme"]
    assert verify(rig.book).fault is None


def test_the_rate_of_who_left_is_still_that_of_its_cohorts_start() -> None:
    """A version that its cohort started under is not undone by its leaving."""
    whole = program(mode="shadow")
    late = replace(whole.cohorts[0], starts_s=T0 + 1000)
    rig = Rig(replace(whole, cohorts=(late,)))
    rig.run()
    dearer = PriceOrder(f"{TYPE}@{ZONE}", 2 * RATE, T0 + 500)
    perform(rig.book, Deed(dearer, "dearer", "op", T0 + 60))
    rig.clock.move_to(T0 + 1000)
    rig.cloud.add(server("s1", T0 + 1000))
    rig.run()
    apply_program(rig.book, replace(whole, cohorts=()), T0 + 1000, "tests")
    rig.run_until(T0 + 1000 + 2 * HOUR_S, 600)
    assert rig.charged_ucr() == cost_ucr(2 * RATE, 0, Period(0, 2 * HOUR_S))


def test_whoever_left_is_told_of_a_stop_at_its_own_contacts() -> None:
    """Nothing stops without notice: the file no longer has its contacts, the book does."""
    whole = program()
    (cohort,) = whole.cohorts
    told = replace(cohort.startups[0], contacts=("mailto://cto@acme.example",))
    rig = Rig(replace(whole, cohorts=(replace(cohort, startups=(told,)),)))
    apply_program(rig.book, replace(whole, cohorts=()), T0, "tests")
    rig.run()
    rig.clock.move_to(T0 + 40)
    rig.cloud.add(server("s1", T0 + 40))
    rig.run()
    assert [m["recipient"] for m in rig.all("outbox")] == ["mailto://cto@acme.example"]
    assert rig.cloud.stops == []
    rig.run_until(T0 + 40 + NOTICE_S + 30)
    assert rig.cloud.stops == ["s1"]

"""A closed startup's server that ran before goes on, whatever cuts its run in two since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from exporters.api.startup_reads import StartupReads
from exporters.program_status import Board
from quotas.book.actions.commands import Deed, PriceOrder
from quotas.book.actions.execute import perform
from quotas.book.actions.overrides import say
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load
from quotas.decisions.overrides import Word
from quotas.model.observation import Cause, Unknown
from quotas.model.program import Startup, Tenure
from quotas.model.units import format_instant
from scheduler.views.status import status_of
from tests.scheduler.harness import DAY_S, PROJECT, RATE, T0, TYPE, ZONE, Rig, program, server
from tests.scheduler.test_between_tranches import NEXT_S, in_two_tranches


def cheaper(rig: Rig) -> None:
    """A cheaper price is accepted for the last ten minutes."""
    order = PriceOrder(f"{TYPE}@{ZONE}", RATE - 1_000_000, rig.clock.now_s() - 600)
    perform(rig.book, Deed(order, "listed", "ann", rig.clock.now_s()))


def renamed(rig: Rig) -> None:
    """The zone does not answer for twenty minutes, in which somebody renames the server."""
    rig.cloud.answers[ZONE] = lambda at_s: Unknown(ZONE, at_s, Cause.UNREACHABLE, "down")
    began_s = rig.clock.now_s()
    rig.run_until(began_s + 1200, 300)
    del rig.cloud.answers[ZONE]
    rig.cloud.add(replace(rig.cloud.servers["s1"], name="renamed", modified_s=began_s + 600))


def handed_over(rig: Rig) -> None:
    """Its project passes to birch, which is closed too."""
    close(rig, "birch")
    now_s, before = rig.clock.now_s(), load(rig.book).program
    assert before is not None
    (cohort,) = before.cohorts
    acme = replace(cohort.startups[0], projects=(Tenure(PROJECT, 0, now_s),))
    grants = (replace(acme.grants[0], id="g2"),)
    birch = Startup("birch", "c", (Tenure(PROJECT, now_s),), grants=grants)
    after = replace(before, cohorts=(replace(cohort, startups=(acme, birch)),))
    apply_program(rig.book, after, now_s, "ann")


def close(rig: Rig, name: str) -> None:
    """An operator closes a startup now."""
    say(rig.book, Word("level", name, "closed", rig.clock.now_s(), None, "ann", "late report"))


def threatened(rig: Rig) -> list[object]:
    """Every server that had a notice that it was started after a closing."""
    return [n["server_id"] for n in rig.all("notice") if "started afterwards" in str(n["text"])]


@pytest.mark.parametrize("prices", ["fixed", "follow"])
@pytest.mark.parametrize("cut", [cheaper, renamed, handed_over])
def test_closed_by_an_operator_what_ran_before_goes_on(
    cut: Callable[[Rig], None], prices: str
) -> None:
    """A price, an outage and a new owner cut the run; a real start afterwards is told."""
    rig = Rig(replace(program(), prices=prices))
    rig.cloud.add(server())
    rig.run_until(T0 + 900, 300)
    close(rig, "acme")
    rig.run(900)
    cut(rig)
    rig.run_until(rig.clock.now_s() + 900, 300)
    assert len(rig.all("run")) == 2
    assert threatened(rig) == []
    rig.cloud.add(server("s2", rig.clock.now_s() + 1))
    rig.run(30)
    assert threatened(rig) == ["s2"]
    rig.run_until(rig.clock.now_s() + 600, 300)
    assert "s1" not in rig.cloud.stops


@pytest.mark.parametrize("cut", [cheaper, renamed])
def test_between_tranches_what_ran_before_goes_on(cut: Callable[[Rig], None]) -> None:
    """The tranche is used up, and the server's run is cut: it runs to the next tranche."""
    rig = Rig(in_two_tranches())
    rig.cloud.add(server())
    rig.run_until(T0 + DAY_S, 3600)
    cut(rig)
    rig.run_until(NEXT_S - DAY_S, 3600)
    assert len(rig.all("run")) == 2
    assert (threatened(rig), rig.cloud.stops) == ([], [])
    rig.cloud.add(server("s2", rig.clock.now_s() + 1))
    rig.run(30)
    assert threatened(rig) == ["s2"]


def test_people_are_shown_since_when_a_server_is_on() -> None:
    """`cohortd status` and the API name the start, not the instant of the last price."""
    rig = Rig()
    rig.cloud.add(server())
    rig.run_until(T0 + 3600, 300)
    cheaper(rig)
    rig.run(30)
    now_s = rig.clock.now_s()
    (line,) = status_of(rig.book, now_s)["startups"][0]["servers"]
    board = Board(load(rig.book), now_s, 30)
    (item,) = StartupReads("acme", board).servers().items
    assert len(rig.all("run")) == 2
    assert line["since"] == item.since == format_instant(T0)

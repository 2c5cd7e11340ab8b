"""A closed startup's server that ran before goes on, whatever cuts its run in two since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from exporters.api.startup_reads import StartupReads
from quotas.book.actions.commands import OperatorAction, PriceCommand
from quotas.book.actions.execute import perform_action
from quotas.book.actions.overrides import set_override
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.book.reads.status import read_status
from quotas.decisions.overrides import Override
from quotas.model.observation import Cause, Unknown
from quotas.model.program import Startup, Tenure
from quotas.model.units import format_instant
from scheduler.views.status import status_of
from tests.scheduler.harness import PROJECT, RATE, T0, TYPE, ZONE, Harness, program, server


def cheaper(harness: Harness) -> None:
    """A cheaper price is accepted for the last ten minutes."""
    command = PriceCommand(f"{TYPE}@{ZONE}", RATE - 1_000_000, harness.clock.now_s() - 600)
    perform_action(harness.book, OperatorAction(command, "listed", "ann", harness.clock.now_s()))


def renamed(harness: Harness) -> None:
    """The zone does not answer for twenty minutes, in which somebody renames the server."""
    harness.cloud.answers[ZONE] = lambda at_s: Unknown(ZONE, at_s, Cause.UNREACHABLE, "down")
    began_s = harness.clock.now_s()
    harness.run_until(began_s + 1200, 300)
    del harness.cloud.answers[ZONE]
    harness.cloud.add(
        replace(harness.cloud.servers["s1"], name="renamed", modified_s=began_s + 600)
    )


def handed_over(harness: Harness) -> None:
    """Its project passes to birch, which is closed too."""
    close(harness, "birch")
    now_s, before = harness.clock.now_s(), load_state(harness.book).program
    assert before is not None
    (cohort,) = before.cohorts
    acme = replace(cohort.startups[0], projects=(Tenure(PROJECT, 0, now_s),))
    grants = (replace(acme.grants[0], id="g2"),)
    birch = Startup("birch", "c", (Tenure(PROJECT, now_s),), grants=grants)
    after = replace(before, cohorts=(replace(cohort, startups=(acme, birch)),))
    apply_program(harness.book, after, now_s, "ann")


def close(harness: Harness, name: str) -> None:
    """An operator closes a startup now."""
    set_override(
        harness.book,
        Override("level", name, "closed", harness.clock.now_s(), None, "ann", "late report"),
    )


def threatened(harness: Harness) -> list[object]:
    """Every server that had a notice that it was started after a closing."""
    return [n["server_id"] for n in harness.all("notice") if "started afterwards" in str(n["text"])]


@pytest.mark.parametrize("prices", ["fixed", "follow"])
@pytest.mark.parametrize("cut", [cheaper, renamed, handed_over])
def test_closed_by_an_operator_what_ran_before_goes_on(
    cut: Callable[[Harness], None], prices: str
) -> None:
    """A price, an outage and a new owner cut the run; a real start afterwards is told."""
    harness = Harness(replace(program(), prices=prices))
    harness.cloud.add(server())
    harness.run_until(T0 + 900, 300)
    close(harness, "acme")
    harness.run(900)
    cut(harness)
    harness.run_until(harness.clock.now_s() + 900, 300)
    assert len(harness.all("run")) == 2
    assert threatened(harness) == []
    harness.cloud.add(server("s2", harness.clock.now_s() + 1))
    harness.run(30)
    assert threatened(harness) == ["s2"]
    harness.run_until(harness.clock.now_s() + 600, 300)
    assert "s1" not in harness.cloud.stops


def test_people_are_shown_since_when_a_server_is_on() -> None:
    """`cohortd status` and the API name the start, not the instant of the last price."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run_until(T0 + 3600, 300)
    cheaper(harness)
    harness.run(30)
    now_s = harness.clock.now_s()
    (line,) = status_of(harness.book, now_s)["startups"][0]["servers"]
    program_status = read_status(load_state(harness.book), now_s, 30)
    (item,) = StartupReads("acme", program_status).servers().items
    assert len(harness.all("run")) == 2
    assert line["since"] == item.since == format_instant(T0)

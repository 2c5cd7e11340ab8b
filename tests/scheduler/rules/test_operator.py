"""The operator rule on a real book: closed and stopped startups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from quotas.book.actions.overrides import set_override
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.model.observation import Cause, Unknown
from quotas.model.program import Startup, Tenure
from quotas.state.overrides import Override
from tests.scheduler.harness import (
    NOTICE_S,
    PROJECT,
    T0,
    ZONE,
    Harness,
    override,
    program,
    row_text,
    server,
)
from tests.scheduler.scenarios import accept_lower_price, verbs_of


def test_an_operator_stops_a_startup_after_a_notice() -> None:
    """`stopped` gives the minimum notice, then powers off; the level names the operator."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    override(harness, "level", "acme", "stopped")
    harness.run(30)
    assert harness.views[-1].status.startups[0].level == "stopped"
    assert "ann said so" in harness.views[-1].status.startups[0].level_reason
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run(1)
    assert harness.cloud.stops == ["s1"]


def test_a_closed_startup_keeps_what_runs_and_loses_what_starts() -> None:
    """`closed` keeps an earlier server; a later one gets a notice."""
    harness = Harness()
    harness.cloud.add(server("old"))
    harness.run()
    override(harness, "level", "acme", "closed")
    harness.run(30)
    harness.cloud.add(server("new", harness.clock.now_s() + 1))
    harness.run_until(T0 + 300)
    assert harness.cloud.stops == ["new"]
    override(harness, "level", "acme", "open")
    harness.run(30)
    assert harness.views[-1].status.startups[0].level == "open"


def test_a_closing_is_announced_once_and_so_is_its_end() -> None:
    """A closing is announced with its reason, and its end too, also without a key for IAM."""
    harness = Harness()
    harness.run()
    for value in ("closed", "stopped", "open"):
        override(harness, "level", "acme", value)
        harness.run_until(harness.clock.now_s() + 120)
    told = [row_text(row) for row in harness.all("notice") if row["rule"] == "closing"]
    assert [text.split(":")[0] for text in told] == [
        "acme may start no servers from now on",
        "acme may start no servers from now on",
        "acme may start servers again",
    ]
    assert "ann said so" in told[0] and "powered off after its notice" in told[0]
    override(harness, "level", "acme", "closed")
    harness.run_until(harness.clock.now_s() + 120)
    assert len([row for row in harness.all("notice") if row["rule"] == "closing"]) == 4


def test_open_again_cancels_the_notice_and_powers_nothing_on() -> None:
    """Opening a startup again cancels its notice."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run(30)
    override(harness, "level", "acme", "open")
    harness.run_until(T0 + 600)
    assert (verbs_of(harness), harness.cloud.stops) == (["notify", "cancelled"], [])


def rename_in_outage(harness: Harness) -> None:
    """The zone does not answer for twenty minutes, and the server is renamed in that time."""
    harness.cloud.answers[ZONE] = lambda at_s: Unknown(ZONE, at_s, Cause.UNREACHABLE, "down")
    began_s = harness.clock.now_s()
    harness.run_until(began_s + 1200, 300)
    del harness.cloud.answers[ZONE]
    harness.cloud.add(
        replace(harness.cloud.servers["s1"], name="renamed", modified_s=began_s + 600)
    )


def hand_over_project(harness: Harness) -> None:
    """The project passes to birch, which is closed too."""
    close_startup(harness, "birch")
    now_s, before = harness.clock.now_s(), load_state(harness.book).program
    assert before is not None
    (cohort,) = before.cohorts
    acme = replace(cohort.startups[0], projects=(Tenure(PROJECT, 0, now_s),))
    grants = (replace(acme.grants[0], id="g2"),)
    birch = Startup("birch", "c", (Tenure(PROJECT, now_s),), grants=grants)
    after = replace(before, cohorts=(replace(cohort, startups=(acme, birch)),))
    apply_program(harness.book, after, now_s, "ann")


def close_startup(harness: Harness, name: str) -> None:
    """An operator closes a startup now."""
    set_override(
        harness.book,
        Override("level", name, "closed", harness.clock.now_s(), None, "ann", "late report"),
    )


def noticed_as_started_later(harness: Harness) -> list[object]:
    """Every server with a notice because it was started after a closing."""
    return [n["server_id"] for n in harness.all("notice") if "started afterwards" in row_text(n)]


@pytest.mark.parametrize("prices", ["fixed", "follow"])
@pytest.mark.parametrize("cut", [accept_lower_price, rename_in_outage, hand_over_project])
def test_closed_by_an_operator_what_ran_before_goes_on(
    cut: Callable[[Harness], None], prices: str
) -> None:
    """A price, an outage and a new owner split the run, and only a real start gets a notice."""
    harness = Harness(replace(program(), prices=prices))
    harness.cloud.add(server())
    harness.run_until(T0 + 900, 300)
    close_startup(harness, "acme")
    harness.run(900)
    cut(harness)
    harness.run_until(harness.clock.now_s() + 900, 300)
    assert len(harness.all("run")) == 2
    assert noticed_as_started_later(harness) == []
    harness.cloud.add(server("s2", harness.clock.now_s() + 1))
    harness.run(30)
    assert noticed_as_started_later(harness) == ["s2"]
    harness.run_until(harness.clock.now_s() + 600, 300)
    assert "s1" not in harness.cloud.stops

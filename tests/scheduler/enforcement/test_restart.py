"""Servers that cohortd powers on again: after an undo, and for auto_resume."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.grants import GrantCommand
from quotas.model.program import Cohort
from quotas.model.units import DAY_S, HOUR_S
from scheduler.clouds.base import OutOfStock
from tests.scheduler.harness import END, T0, Harness, override, program, server
from tests.scheduler.scenarios import (
    CREDIT,
    exhausted_harness,
    run_command,
    stopped_harness,
    throttle,
    turn,
    undo_last_stop,
    with_acme,
)


def test_a_start_that_was_not_sent_yet_is_given_up_when_nothing_asks_for_it() -> None:
    """A throttled start is abandoned when an operator stops the startup."""
    harness = Harness(with_acme(program(), auto_resume=True))
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 150)
    turn(harness, "s1", "stopped")
    throttle(harness, harness.cloud.starts, 1)
    override(harness, "level", "acme", "open")
    harness.run(30)
    assert len(harness.cloud.starts) == 1
    override(harness, "level", "acme", "stopped")
    harness.run_until(harness.clock.now_s() + 600)
    assert len(harness.cloud.starts) == 1 and harness.all("intent")[-1]["state"] == "abandoned"


def test_a_server_its_owner_started_is_its_owners_to_stop() -> None:
    """`auto_resume` restarts what cohortd stopped, not what its owner turned off since."""
    base = with_acme(program(credits=50, notice_s=1800), auto_resume=True)
    harness = exhausted_harness(base)
    run_command(harness, GrantCommand("acme", "g2", 30 * CREDIT))
    harness.run(30)
    assert harness.cloud.starts == [], "too little to carry it for an hour"
    turn(harness, "s1", "running")
    harness.run(600)
    turn(harness, "s1", "stopped")
    run_command(harness, GrantCommand("acme", "g3", 1000 * CREDIT))
    harness.run_until(harness.clock.now_s() + 300)
    assert harness.cloud.starts == []


def test_an_undone_stop_is_offered_back_and_exempt_for_a_day() -> None:
    """The server is restarted once although the reason lasts; after a day the rule counts."""
    harness = stopped_harness()
    undo_last_stop(harness)
    harness.run_until(harness.clock.now_s() + 600)
    assert (harness.cloud.starts, harness.cloud.servers["s1"].state) == (["s1"], "starting")
    assert [n["state"] for n in harness.all("notice") if n["server_id"]] == ["restarted"]
    harness.run_until(harness.clock.now_s() + DAY_S + 600, every_s=HOUR_S // 2)
    assert harness.all("notice")[-1]["opened_s"] > T0 + DAY_S
    assert harness.all("intent")[1]["action"] == "poweron"


def test_an_open_startup_is_not_restarted_by_itself() -> None:
    """Opening a startup returns permissions, and powers no server on."""
    harness = stopped_harness()
    override(harness, "level", "acme", "open")
    harness.run_until(T0 + 2000)
    assert harness.cloud.starts == []


def test_auto_resume_brings_back_exactly_what_was_stopped() -> None:
    """cohortd restarts only the server that it stopped, if the startup asked for that."""
    base = program()
    acme = replace(base.cohorts[0].startups[0], auto_resume=True)
    harness = stopped_harness(replace(base, cohorts=(Cohort("c", T0, END, (acme,)),)))
    harness.cloud.add(server("own", state="stopped"))
    harness.run_until(T0 + 1000)
    assert harness.cloud.starts == []
    override(harness, "level", "acme", "open")
    harness.run_until(T0 + 1300)
    assert harness.cloud.starts == ["s1"]


def test_a_shortage_at_poweron_is_visible_and_no_storm() -> None:
    """Two hours without stock cost a few calls and an alarm, then the server restarts."""
    harness = stopped_harness()

    def none_left(_: str) -> None:
        raise OutOfStock("no GPUs")

    harness.cloud.on_start = none_left
    undo_last_stop(harness)
    harness.run_until(harness.clock.now_s() + 2 * HOUR_S, every_s=60)
    assert 4 <= len(harness.cloud.starts) <= 14
    assert any(
        "cannot be powered on again yet: no GPUs" in each for each in harness.views[-1].alarms
    )
    harness.cloud.on_start = lambda _: None
    harness.run_until(harness.clock.now_s() + HOUR_S, every_s=60)
    assert harness.all("notice")[0]["state"] == "restarted"
    live = {row["state"] for row in harness.all("intent")}
    assert live <= {"confirmed", "failed"}, "every intent ended (I21)"

"""The credits rule on a real book: exhaustion, refunds and rollover."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.book.actions.refunds import RefundCommand
from quotas.model.observation import Cause, Unknown
from quotas.model.program import Grant, Program, Rollover, Tranche
from quotas.model.units import DAY_S, HOUR_S
from tests.scheduler.harness import END, T0, ZONE, Harness, program, server
from tests.scheduler.scenarios import (
    CREDIT,
    exhausted_harness,
    last_notice,
    notice_length_s,
    run_command,
    turn,
    with_acme,
)


def test_a_startup_that_stops_in_time_has_a_whole_notice_next_time() -> None:
    """Five servers get a notice and are turned off; a later one runs until its own whole notice."""
    harness = Harness(program(credits=140, notice_s=1800))
    names = [f"s{number}" for number in range(1, 6)]
    harness.cloud.add(*map(server, names))
    harness.run_until(T0 + 3450, 150)
    assert last_notice(harness)["state"] == "open"
    for name in names:
        harness.cloud.add(
            replace(harness.cloud.servers[name], state="stopped", modified_s=T0 + 3451)
        )
    harness.run(60)
    turn(harness, "s1", "running")
    assert harness.views[-1].status.startups[0].level == "open"
    while not harness.cloud.stops:
        harness.run(60)
    assert notice_length_s(harness) == 1800
    assert harness.rows("balance").get("overdraft:c", 0) == 0


def test_refunded_credits_can_be_spent() -> None:
    """A refund after an exhaustion opens the startup, and nothing is stopped."""
    harness = Harness(program(credits=100))
    harness.cloud.add(server())
    harness.run_until(T0 + 5 * HOUR_S, 60)
    turn(harness, "s1", "stopped")
    assert harness.views[-1].status.startups[0].level == "stopped"
    run_command(harness, RefundCommand(T0, T0 + 2 * HOUR_S, zone=ZONE))
    harness.run(30)
    assert harness.views[-1].status.startups[0].level == "open"
    turn(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + HOUR_S, 150)
    assert harness.cloud.stops == ["s1"], "the one of before"


def test_the_remainder_after_a_stop_does_not_reopen_the_startup() -> None:
    """A startup with a few micro-credits and no server stays stopped (no flapping)."""
    harness = exhausted_harness()
    assert harness.views[-1].status.startups[0].balance.available_ucr > 0
    assert harness.views[-1].status.startups[0].level == "stopped"


def rolling_program(ppm: int) -> Program:
    """Acme has 1,000 credits for five days, then 10 more and a part of the rest."""
    tranches = (Tranche(1000 * CREDIT, T0), Tranche(10 * CREDIT, T0 + 5 * DAY_S))
    grant = Grant("g", 1010 * CREDIT, T0, END, tranches=tranches, rollover=Rollover(ppm))
    return with_acme(program(notice_s=1800), grants=(grant,))


@pytest.mark.parametrize("ppm", [1_000_000, 500_000], ids=["all", "half"])
def test_credits_that_wait_to_roll_over_can_be_spent(ppm: int) -> None:
    """Another zone does not answer at the tranche's edge, and the startup runs on."""
    edge_s = T0 + 5 * DAY_S
    harness = Harness(rolling_program(ppm))
    harness.clock.move_to(edge_s - HOUR_S)
    harness.run()
    harness.cloud.add(server("s1", edge_s - HOUR_S + 10))
    harness.run_until(edge_s - 120, 870)
    before_ucr = harness.views[-1].status.startups[0].balance.available_ucr * ppm // 1_000_000
    harness.cloud.answers["pl-waw-2"] = lambda at: Unknown(
        "pl-waw-2", at, Cause.UNREACHABLE, "down"
    )
    harness.run_until(edge_s + HOUR_S, 120)
    assert harness.views[-1].status.startups[0].level == "open" and harness.cloud.stops == []
    del harness.cloud.answers["pl-waw-2"]
    known = harness.views[-1].status.startups[0].balance.available_ucr
    harness.run()
    assert harness.views[-1].status.startups[0].balance.available_ucr == known, (
        "posted now, and the same"
    )
    assert before_ucr - 26 * CREDIT * 2 < known < before_ucr

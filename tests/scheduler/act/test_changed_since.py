"""Intents that are out of date because of an override, a grant or a program during a cycle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.book.actions.grants import GrantCommand
from quotas.book.cycle.commit import apply_program
from quotas.model.observation import Complete, Sweep
from quotas.model.units import DAY_S
from quotas.state.overrides import EVERYONE
from tests.scheduler.harness import ZONE, Harness, override, program, server
from tests.scheduler.scenarios import CREDIT, last_notice, run_command

CHANGES = ("freeze", "exempt", "grant", "disarm", "off", "open")


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_during_a_cycle_counts_before_its_calls(what: str) -> None:
    """A decision from before the change is not sent, even if the sweep takes a minute."""
    bases = {"grant": program(credits=20), "open": program()}
    base = bases.get(what, program(limit=0))
    harness = Harness(base)
    harness.cloud.add(server())
    if what == "open":
        override(harness, "level", "acme", "stopped")
    while not any(row["server_id"] for row in harness.all("notice")):
        harness.run(30)

    def speaks(at_s: int) -> Sweep:
        if what == "grant":
            run_command(harness, GrantCommand("acme", "g2", 1000 * CREDIT))
        elif what == "off":
            apply_program(harness.book, replace(base, mode="off"), harness.clock.now_s(), "ann")
        elif what == "disarm":
            override(harness, "mode", EVERYONE, "shadow")
        elif what == "open":
            override(harness, "level", "acme", "open")
        else:
            override(harness, what, "acme", for_s=DAY_S)
        del harness.cloud.answers[ZONE]
        return Complete(ZONE, at_s, tuple(harness.cloud.servers.values()))

    harness.clock.move_to(int(str(last_notice(harness)["deadline_s"])))
    harness.cloud.answers[ZONE] = speaks
    harness.run()
    assert last_notice(harness)["state"] == "executing", "decided from what the cycle had read"
    harness.run_until(harness.clock.now_s() + 150)
    assert harness.cloud.stops == []
    assert {row["state"] for row in harness.all("intent")} == {"abandoned"}

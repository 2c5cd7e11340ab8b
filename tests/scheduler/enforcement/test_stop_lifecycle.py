"""Notices that a server meets again after it was off."""

from __future__ import annotations

from tests.scheduler.harness import NOTICE_S, T0, Harness, override, server


def test_a_restart_in_the_same_episode_continues_its_notice() -> None:
    """A stopped startup that starts its server again and again gets one notice."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 120)
    assert harness.cloud.stops == ["s1"]
    for _ in range(3):
        harness.cloud.add(server("s1", harness.clock.now_s() + 1))
        for _ in ("seen on", "stopped", "seen off"):
            harness.run(30)
    assert len(harness.cloud.stops) == 4
    given = {row["opened_s"] for row in harness.all("notice")}
    assert len(given) == 1, "the restarts go on with the first notice"


def test_the_notice_of_a_server_that_was_off_has_what_was_left() -> None:
    """A server that is off after 20 of 60 s has 40 s left when it is on again."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run()
    harness.clock.move_to(T0 + 20)
    harness.cloud.turn_off("s1")
    harness.run()
    harness.clock.move_to(T0 + 500)
    harness.cloud.add(server("s1", T0 + 490))
    harness.run()
    assert harness.all("notice")[-1]["deadline_s"] == T0 + 500 + NOTICE_S - 20

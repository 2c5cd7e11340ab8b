"""The standby rule on a real book: servers that are stopped in place."""

from __future__ import annotations

from quotas.model.units import HOUR_S
from tests.scheduler.harness import NOTICE_S, T0, Harness, server
from tests.scheduler.scenarios import verbs_of, with_policy


def test_a_standby_server_is_stopped_after_its_notice() -> None:
    """After 30 minutes in place a server gets a notice and is stopped; a running one is not."""
    harness = Harness(with_policy(standby_stop_after_s=1800))
    harness.cloud.add(server("busy"), server("s1", state="stopped in place"))
    harness.run()
    harness.run_until(T0 + 1799)
    assert verbs_of(harness) == []
    harness.run(1)
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]
    harness.run_until(T0 + 5 * HOUR_S, every_s=1800)
    assert harness.cloud.stops == ["s1"]


def test_a_standby_server_that_is_used_again_is_left_alone() -> None:
    """A power-on within the notice cancels it."""
    harness = Harness(with_policy(standby_stop_after_s=1800))
    harness.cloud.add(server("s1", state="stopped in place"))
    harness.run_until(T0 + 1830)
    harness.cloud.add(server("s1", since_s=T0 + 1831))
    harness.run_until(T0 + 3000)
    assert (verbs_of(harness), harness.cloud.stops) == (["notify", "cancelled"], [])


def test_a_second_standby_has_a_notice_of_its_own() -> None:
    """A server that ran unseen between two standbys is not stopped on the first one's notice."""
    harness = Harness(with_policy(standby_stop_after_s=1800))
    harness.cloud.add(server("s1", state="stopped in place"))
    harness.run_until(T0 + 1830)
    (first,) = harness.all("notice")
    harness.cloud.add(server("s1", state="stopped in place", since_s=first["deadline_s"] - 60))
    harness.clock.move_to(first["deadline_s"] + 1800)
    harness.run(0)
    assert (verbs_of(harness), harness.cloud.stops) == (["notify", "cancelled", "notify"], [])
    assert [row["state"] for row in harness.all("notice")] == ["cancelled", "open"]
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]

"""The standby rule on a real book: servers that are stopped in place."""

from __future__ import annotations

from quotas.model.units import HOUR_S
from tests.scheduler.harness import NOTICE_S, T0, Harness, server
from tests.scheduler.scenarios import verbs_of, with_policy


def test_a_leak_is_announced_and_ended_and_a_running_server_is_none() -> None:
    """Stopped in place for the policy's 30 minutes: notice, then poweroff; running: never."""
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


def test_a_leak_that_is_used_again_is_left_alone() -> None:
    """Powered on within the notice: it is cancelled."""
    harness = Harness(with_policy(standby_stop_after_s=1800))
    harness.cloud.add(server("s1", state="stopped in place"))
    harness.run_until(T0 + 1830)
    harness.cloud.add(server("s1", since_s=T0 + 1831))
    harness.run_until(T0 + 3000)
    assert (verbs_of(harness), harness.cloud.stops) == (["notify", "cancelled"], [])


def test_what_ran_between_two_sweeps_and_leaks_again_has_a_notice_of_its_own() -> None:
    """The deadline of the first leak passed unseen: nothing is stopped on it, and all is told."""
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

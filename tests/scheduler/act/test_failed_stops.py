"""Stops that fail: an alarm, a metric and few calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from exporters.metrics import Metrics
from quotas.enforcement.stop_lifecycle import FIRST_RETRY_S
from quotas.model.units import HOUR_S
from scheduler.clouds.base import Conflict, Forbidden, KeyRefused, ServerFault, Throttled
from tests.scheduler.harness import NOTICE_S, RATE, T0, Harness, override, program, server


def test_a_server_that_cannot_be_stopped_is_visible_and_not_hammered() -> None:
    """Each refusal of a locked server is a failed intent, retried ever later, with an alarm."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")

    def refuse(_: str) -> None:
        raise Conflict("locked")

    harness.cloud.on_stop = refuse
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert 5 <= len(harness.cloud.stops) <= 14
    assert harness.views[-1].stops_failing == 1
    assert any("s1 of acme cannot be stopped: tried" in each for each in harness.views[-1].alarms)
    assert {row["state"] for row in harness.all("intent")} <= {"failed", "pending", "sent"}
    assert FIRST_RETRY_S > 30


def test_a_state_that_allows_no_poweroff_is_not_asked_for_one() -> None:
    """Without poweroff in `allowed_actions` there is no call, but an alarm."""
    harness = Harness()
    harness.cloud.add(server(state="locked", allowed_actions=("backup",)))
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 600)
    assert harness.cloud.stops == []
    assert any("allows no poweroff" in each for each in harness.views[-1].alarms)


MOST_CALLS = 12
"""Minutes of an hour with a try: a minute after the first failure, then doubled, up to 15."""


def failing(error: Exception) -> Callable[[Harness], None]:
    """Every poweroff fails with this error."""

    def spoil(harness: Harness) -> None:
        def refuse(_: str) -> None:
            raise error

        harness.cloud.on_stop = refuse

    return spoil


def lock(harness: Harness) -> None:
    """Scaleway locks the server: it is billed, and no action is allowed."""
    held = replace(harness.cloud.servers["s1"], state="locked", allowed_actions=("reboot",))
    harness.cloud.servers["s1"] = held


OBSTACLES: list[tuple[str, Callable[[Harness], None], int, int]] = [
    ("locked, no poweroff among its actions", lock, 0, 0),
    ("a precondition fails (400)", failing(Conflict("precondition failed")), 2, MOST_CALLS),
    ("the key lacks the permission", failing(Forbidden("insufficient permissions")), 2, MOST_CALLS),
    ("the key is refused", failing(KeyRefused("denied")), 2, MOST_CALLS),
    ("Scaleway fails", failing(ServerFault("an HTML page")), 2, MOST_CALLS),
]


@pytest.mark.parametrize(
    ("day", "spoil", "fewest", "most"), OBSTACLES, ids=[day[0] for day in OBSTACLES]
)
def test_a_failing_stop_is_visible_and_retried_slowly(
    day: str, spoil: Callable[[Harness], None], fewest: int, most: int
) -> None:
    """A failing stop raises alarm and metric, costs few calls an hour, and is charged."""
    harness, metrics = Harness(program(limit=4)), Metrics()
    harness.cloud.add(server())
    harness.run(30)
    spoil(harness)
    harness.run_until(T0 + NOTICE_S + HOUR_S)
    view = harness.views[-1]
    assert fewest <= len(harness.cloud.stops) <= most, day
    assert any("s1" in alarm and "cannot be stopped" in alarm for alarm in view.alarms)
    metrics.publish(view)
    assert view.stops_failing == 1 and b"cohortd_stops_failing 1.0" in metrics.render()
    assert [notice.state for notice in view.status.notices] == ["executing"]
    assert harness.charged_ucr() >= RATE, "the first hour is posted"


def test_a_throttled_stop_is_tried_in_each_cycle_and_expires() -> None:
    """429 says nothing about the server: there is one call a cycle, and the intent expires."""
    harness = Harness(program(limit=4))
    harness.cloud.add(server())
    failing(Throttled("429"))(harness)
    harness.run_until(T0 + NOTICE_S + HOUR_S)
    assert len(harness.cloud.stops) <= HOUR_S // 30 + 1
    assert {row["state"] for row in harness.all("intent")} <= {"expired", "pending"}


def test_a_deleted_project_ends_the_notice() -> None:
    """A server that is gone with its project ends the notice, and nothing is called."""
    harness = Harness(program(limit=4))
    harness.cloud.add(server())
    harness.run(30)
    harness.cloud.servers.clear()
    harness.run_until(T0 + NOTICE_S + HOUR_S)
    assert harness.cloud.stops == []
    assert [row["state"] for row in harness.all("notice") if row["server_id"]] == ["cancelled"]


def test_once_the_obstacle_is_gone_the_stop_is_done() -> None:
    """When the permission returns, the next call ends the notice, the alarm and the metric."""
    harness = Harness(program(limit=4))
    harness.cloud.add(server())
    failing(Forbidden("insufficient permissions"))(harness)
    harness.run_until(T0 + NOTICE_S + 900)
    harness.cloud.on_stop = lambda _: None
    harness.run_until(T0 + NOTICE_S + 2 * HOUR_S)
    assert harness.cloud.servers["s1"].state == "stopping"
    assert harness.views[-1].stops_failing == 0 and harness.views[-1].alarms == ()

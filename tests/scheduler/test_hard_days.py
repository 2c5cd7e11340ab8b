"""A stop that cannot be done ends in a state that is seen, and never in a storm of calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from exporters.metrics import Metrics
from scheduler.clouds.base import Conflict, Forbidden, KeyRefused, ServerFault, Throttled
from tests.scheduler.harness import NOTICE_S, RATE, T0, Rig, program, server

HOUR_S = 3_600
MOST_CALLS = 12
"""Of an hour: a minute after the first failure, then twice as long each time, up to 15."""


def raising(error: Exception) -> Callable[[Rig], None]:
    """Every poweroff ends in this error."""

    def spoil(rig: Rig) -> None:
        def refuse(_: str) -> None:
            raise error

        rig.cloud.on_stop = refuse

    return spoil


def locked(rig: Rig) -> None:
    """Scaleway locked the server: billed, and no action is allowed."""
    held = replace(rig.cloud.servers["s1"], state="locked", allowed_actions=("reboot",))
    rig.cloud.servers["s1"] = held


DAYS: list[tuple[str, Callable[[Rig], None], int, int]] = [
    ("locked, no poweroff among its actions", locked, 0, 0),
    ("a precondition fails (400)", raising(Conflict("precondition failed")), 2, MOST_CALLS),
    ("the key lacks the permission", raising(Forbidden("insufficient permissions")), 2, MOST_CALLS),
    ("the key is refused", raising(KeyRefused("denied")), 2, MOST_CALLS),
    ("Scaleway fails", raising(ServerFault("an HTML page")), 2, MOST_CALLS),
]


@pytest.mark.parametrize(("day", "spoil", "fewest", "most"), DAYS, ids=[day[0] for day in DAYS])
def test_a_server_that_cannot_be_stopped_is_seen_and_left_in_peace(
    day: str, spoil: Callable[[Rig], None], fewest: int, most: int
) -> None:
    """An alarm that names it, the metric above zero, few calls an hour; it is charged all along."""
    rig, metrics = Rig(program(limit=4)), Metrics()
    rig.cloud.add(server())
    rig.run(30)
    spoil(rig)
    rig.run_until(T0 + NOTICE_S + HOUR_S)
    view = rig.views[-1]
    assert fewest <= len(rig.cloud.stops) <= most, day
    assert any("s1" in alarm and "cannot be stopped" in alarm for alarm in view.alarms)
    metrics.publish(view)
    assert view.stops_failing == 1 and b"cohortd_stops_failing 1.0" in metrics.render()
    assert [notice.state for notice in view.notices] == ["executing"]
    assert rig.charged_ucr() >= RATE, "the first hour is posted"


def test_a_throttled_stop_is_tried_in_each_cycle_and_expires() -> None:
    """429 says nothing of the server: once a cycle, no more, and the intent ends by itself."""
    rig = Rig(program(limit=4))
    rig.cloud.add(server())
    raising(Throttled("429"))(rig)
    rig.run_until(T0 + NOTICE_S + HOUR_S)
    assert len(rig.cloud.stops) <= HOUR_S // 30 + 1
    assert {row["state"] for row in rig.all("intent")} <= {"expired", "pending"}


def test_a_deleted_project_ends_the_promise() -> None:
    """The server is gone with its project: the notice ends, nothing is called."""
    rig = Rig(program(limit=4))
    rig.cloud.add(server())
    rig.run(30)
    rig.cloud.servers.clear()
    rig.run_until(T0 + NOTICE_S + HOUR_S)
    assert rig.cloud.stops == []
    assert [row["state"] for row in rig.all("notice") if row["server_id"]] == ["cancelled"]


def test_once_the_obstacle_is_gone_the_stop_is_done() -> None:
    """The permission comes back: the next try ends the notice, the alarm and the metric."""
    rig = Rig(program(limit=4))
    rig.cloud.add(server())
    raising(Forbidden("insufficient permissions"))(rig)
    rig.run_until(T0 + NOTICE_S + 900)
    rig.cloud.on_stop = lambda _: None
    rig.run_until(T0 + NOTICE_S + 2 * HOUR_S)
    assert rig.cloud.servers["s1"].state == "stopping"
    assert rig.views[-1].stops_failing == 0 and rig.views[-1].alarms == ()

"""Odd servers: created again, of nobody, without a GPU, stale or stuck after a stop."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.verify.verify import verify
from quotas.model.units import HOUR_S

from ..harness import (
    DAY_S,
    NOTICE_S,
    OTHER,
    T0,
    Harness,
    program,
    server,
)
from .charges import ran_ucr


def test_a_server_made_again_under_its_old_name_is_another_server() -> None:
    """A server deleted and created again between two sweeps is two runs, neither too long."""
    harness = Harness(program(mode="shadow"))
    harness.cloud.add(replace(server("id-1"), name="trainer"))
    harness.run()
    harness.run_until(T0 + HOUR_S, 600)
    del harness.cloud.servers["id-1"]
    harness.cloud.add(replace(server("id-2", T0 + HOUR_S + 200), name="trainer"))
    harness.run_until(T0 + 2 * HOUR_S, 600)
    spans = {run["server_id"]: (run["start_s"], run["end_s"]) for run in harness.all("run")}
    assert spans == {"id-1": (T0, T0 + HOUR_S), "id-2": (T0 + HOUR_S + 200, None)}
    assert verify(harness.book).fault is None


def test_what_is_of_nobody_or_has_no_gpu_is_never_touched() -> None:
    """If acme may run nothing, only its GPU server has a notice, a stop and a charge (I13)."""
    harness = Harness(program(limit=0))
    strangers = replace(server("x"), project_id=OTHER)
    harness.cloud.add(server(), strangers, replace(server("cpu"), commercial_type="DEV1-S"))
    harness.run()
    harness.run_until(T0 + HOUR_S, 30)
    assert harness.cloud.stops == ["s1"]
    for table in ("run", "notice", "intent"):
        assert {row["server_id"] for row in harness.all(table)} <= {"s1", ""}
    assert harness.charged_ucr() == ran_ucr(NOTICE_S)


def stopping() -> Harness:
    """A harness with a server over its limit, whose notice has ended and whose stop was sent."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    harness.run_until(T0 + 60)
    assert harness.cloud.stops == ["s1"]
    return harness


def test_a_read_that_is_stale_after_a_stop_asks_for_no_second_one() -> None:
    """While the list says running for two minutes, one call is made; then the true end counts."""
    harness = stopping()
    true = harness.cloud.servers["s1"]
    harness.cloud.servers["s1"] = replace(true, state="running", modified_s=T0)
    harness.run_until(T0 + 180)
    assert harness.cloud.stops == ["s1"]
    harness.cloud.servers["s1"] = true
    harness.run(30)
    assert [intent["state"] for intent in harness.all("intent")] == ["confirmed"]
    (run,) = harness.all("run")
    assert run["end_s"] == T0 + 180, "seen off late: dated at the last sweep that saw it on"
    assert harness.charged_ucr() == ran_ucr(180)


def test_a_server_stuck_in_stopping_is_free_and_its_promise_is_kept() -> None:
    """A server in stopping is free: cohortd neither charges it, nor calls again, nor alarms."""
    harness = stopping()
    harness.run_until(T0 + DAY_S, 600)
    assert harness.cloud.stops == ["s1"] and harness.cloud.servers["s1"].state == "stopping"
    assert harness.charged_ucr() == ran_ucr(60)
    assert [notice["state"] for notice in harness.all("notice")] == ["executed"]
    assert not harness.views[-1].alarms

"""Cycles whose decisions break an invariant: they charge, send nothing and raise an alarm."""

from __future__ import annotations

import pytest

from exporters.metrics import Metrics
from quotas.enforcement.decide import DecideResult
from quotas.enforcement.invariants import InvariantBroken
from quotas.model.units import HOUR_S, Period, cost_ucr
from quotas.state.snapshot import Snapshot
from scheduler import cycle
from scheduler.jobs import cycle_log

from ..harness import NOTICE_S, RATE, T0, Harness, program, server

FAULT = "a stop of s1 has no older notice"


class FakeLog:
    """A log that keeps errors."""

    def __init__(self, logged: list[tuple[str, str]]) -> None:
        self._logged = logged

    def error(self, event: str, invariant: str) -> None:
        """Keep an error."""
        self._logged.append((event, invariant))

    def warning(self, *_: object, **__: object) -> None:
        """Drop a warning."""


def broken(_: Snapshot) -> DecideResult:
    """A planted fault: `decide` refuses its own result."""
    raise InvariantBroken([FAULT])


def test_a_broken_invariant_charges_and_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The due stop waits while every second is charged, and the next good cycle sends it."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    kept = {name: harness.all(name) for name in ("notice", "intent", "decision")}
    monkeypatch.setattr(cycle, "decide", broken)
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(cycle_log, "log", FakeLog(logged))
    report = harness.run(HOUR_S)
    assert (report.outcome, report.sent, harness.cloud.stops) == ("undecided", 0, [])
    assert {name: harness.all(name) for name in kept} == kept
    assert {row["confirmed_until_s"] for row in harness.all("zone")} == {T0 + HOUR_S}
    assert harness.charged_ucr() == cost_ucr(RATE, T0, Period(T0, T0 + HOUR_S))
    assert ("decide.invariant_broken", FAULT) in logged
    monkeypatch.undo()
    assert harness.run(NOTICE_S).outcome == "done"
    assert harness.cloud.stops == ["s1"]


def test_a_broken_invariant_is_an_alarm_and_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alarm ends with the next good cycle; until then the age of the last success grows."""
    harness, metrics = Harness(), Metrics()
    harness.run()
    monkeypatch.setattr(cycle, "decide", broken)
    report = harness.run(30)
    view = harness.views[-1]
    assert view.alarms == (f"nothing is decided: {FAULT}",)
    assert view.status.startup("acme").level == "open", "levels follow from the books alone"
    metrics.publish(view)
    metrics.cycle(report.outcome, 0.1, harness.clock.now_s())
    text = metrics.render().decode()
    assert 'cohortd_cycles_total{outcome="undecided"} 1.0' in text
    assert "cohortd_active_alarms 1.0" in text
    assert "cohortd_last_successful_cycle_timestamp_seconds 0.0" in text
    monkeypatch.undo()
    assert harness.run(30).outcome == "done" and not harness.views[-1].alarms

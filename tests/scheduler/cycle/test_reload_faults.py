"""Faults of settings: a rotated key, and settings that a reload cannot read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from quotas.model.observation import Unknown
from quotas.model.units import HOUR_S
from scheduler.cli.setup import run
from scheduler.clouds.base import KeyRefused

from ..harness import (
    T0,
    ZONE,
    FakeCloud,
    Harness,
    program,
    server,
)
from .charges import ran_ucr


class NoAnswer:
    """Stands in for metrics and deliveries, which this reload does not use."""

    settings = None

    def request(self, *_: object) -> None: ...


def reload(harness: Harness) -> None:
    """Reload the settings, as SIGHUP does."""
    run._reload(harness.cycle, NoAnswer(), NoAnswer())  # type: ignore[arg-type]  # neither is used


def test_a_key_that_was_rotated_is_refused_until_the_settings_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 401 stops and charges nothing; after SIGHUP the new key charges all the time since."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    old = FakeCloud(harness.clock)
    old.answers[ZONE] = lambda at_s: Unknown(ZONE, at_s, KeyRefused.cause, "401")
    harness.cycle.reconnect(old)
    harness.run_until(T0 + 2 * HOUR_S, 600)
    assert harness.cloud.stops == old.stops == [] and harness.charged_ucr() == 0
    monkeypatch.setattr(run, "connect", lambda _: harness.cloud)
    monkeypatch.setattr(run, "connect_permissions", lambda _: None)
    reload(harness)
    harness.run(600)
    assert harness.cloud.stops == ["s1"]
    assert harness.charged_ucr() == ran_ucr(2 * HOUR_S + 600)


def test_settings_that_cannot_be_read_leave_the_old_ones_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A SIGHUP with half a key logs a refusal, and the cycle keeps its connection."""
    harness = Harness(program())
    before = harness.cycle.cloud
    monkeypatch.delenv("SCW_SECRET_KEY", raising=False)
    monkeypatch.setenv("SCW_ACCESS_KEY", "nonsense")
    monkeypatch.setenv("SCW_CONFIG_PATH", "/nonexistent")
    said: list[str] = []
    log = SimpleNamespace(error=lambda event, **_: said.append(event))
    monkeypatch.setattr(run, "log", log)
    reload(harness)
    assert said == ["settings.refused"]
    assert harness.cycle.cloud is before

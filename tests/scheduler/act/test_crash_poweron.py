"""kill -9 around the poweron of an undone stop: the end equals that of a run without a crash."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quotas.book import Book
from quotas.book.actions.overrides import set_override, undo
from quotas.book.verify.verify import verify
from quotas.state.overrides import Override
from tests.scheduler.harness import T0, Harness, program, server
from tests.scheduler.scenarios import stopped_harness, undo_last_stop

from .test_crash_stop import Daemon, Hook, killed_at, numbered

OFFSETS = (300, 330, 360, 3_900)
"""Cycles: poweron is decided and sent, its server is seen on, quiet, an hourly charge."""


class PoweronDaemon(Daemon):
    """The life of a daemon after an undo; the cloud's truth is in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.harness = Harness(program(), Book.open(folder))
        self.harness.cloud.add(server(state="stopped", modified_s=T0 + 150))
        self.harness.cloud.on_start = self._started
        file = folder / "started_s"
        if file.exists():
            at_s = int(file.read_text())
            self.harness.cloud.add(server(state="starting", modified_s=at_s))

    def _started(self, _: str) -> None:
        file = self._folder / "started_s"
        if not file.exists():
            file.write_text(str(self.harness.clock.now_s()))

    def watch(self, hook: Hook) -> None:
        """Also call the hook around the call that powers on."""
        super().watch(hook)
        power_on = self.harness.cloud.power_on

        def call(zone: str, server_id: str) -> None:
            hook("before power_on")
            power_on(zone, server_id)
            hook("after power_on")

        self.harness.cloud.power_on = call  # type: ignore[method-assign]  # a wrapped call

    def state(self) -> dict[str, Any]:
        """The parts of the state that a crash must not change."""
        harness = self.harness
        return {
            "balances": harness.rows("balance"),
            "notices": [(row["state"], row["off_s"]) for row in harness.all("notice")],
            "decisions": [[row["verb"], row["inputs"]] for row in harness.all("decision")],
            "intents": [[row["action"], row["state"]] for row in harness.all("intent")],
            "server": harness.cloud.servers["s1"].state,
            "started_s": (self._folder / "started_s").read_text(),
        }


def undone(folder: Path) -> None:
    """A book whose only stop an operator has just undone."""
    harness = Harness(program(), Book.open(folder))
    harness.cloud.add(server())
    set_override(
        harness.book, Override("level", "acme", "stopped", T0, None, "ann", "the wrong startup")
    )
    harness.run_until(T0 + 150)
    assert harness.cloud.stops == ["s1"]
    harness.cloud.add(replace(harness.cloud.servers["s1"], state="stopped", modified_s=T0 + 150))
    harness.run(30)
    stop = next(row for row in harness.all("decision") if row["verb"] == "stop")
    undo(harness.book, int(str(stop["id"])), "ann", "a mistake", harness.clock.now_s())
    harness.book.close()


def test_a_kill_at_any_point_around_poweron_changes_nothing_in_the_end(tmp_path: Path) -> None:
    """Killed at any write, commit or call, the server is powered on once; the books are equal."""
    blank = tmp_path / "blank"
    undone(blank)
    shutil.copytree(blank, tmp_path / "uncrashed")
    whole = PoweronDaemon(tmp_path / "uncrashed")
    hook, names = numbered(-1, lambda: None)
    whole.watch(hook)
    whole.run(OFFSETS)
    points, expected = list(names), whole.state()
    assert {"before power_on", "after power_on", "COMMIT"} <= set(points)
    assert expected["intents"][-1] == ["poweron", "confirmed"]
    assert expected["notices"][0][0] == "restarted"
    for point, name in enumerate(points):
        folder = tmp_path / f"point-{point}"
        shutil.copytree(blank, folder)
        died_at = killed_at(folder, point, PoweronDaemon, OFFSETS)
        daemon = PoweronDaemon(folder)
        daemon.run(tuple(offset for offset in OFFSETS if offset >= died_at))
        where = f"killed at point {point} ({name}) of the cycle at {died_at} s"
        assert verify(daemon.harness.book).fault is None, where
        assert json.dumps(daemon.state()) == json.dumps(expected), where
        daemon.harness.book.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_crash_around_poweron_ends_as_without_it(cut: str) -> None:
    """If the daemon dies before or after the call, another one finds the intent and continues."""
    harness = stopped_harness()
    undo_last_stop(harness)

    def die(_: str) -> None:
        if cut == "after":
            harness.cloud.servers["s1"] = replace(harness.cloud.servers["s1"], state="starting")
        harness.cloud.on_start = lambda _: None
        raise KeyboardInterrupt

    harness.cloud.on_start = die
    with pytest.raises(KeyboardInterrupt):
        harness.run(30)
    harness.cycle = harness.daemon("a")
    harness.run_until(harness.clock.now_s() + 300)
    assert harness.cloud.servers["s1"].state == "starting"
    assert [n["state"] for n in harness.all("notice") if n["server_id"]] == ["restarted"]

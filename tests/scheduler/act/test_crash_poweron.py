"""kill -9 around the poweron of an undone stop: it ends as a run without a crash does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from quotas.book import Book
from quotas.book.actions.overrides import say
from quotas.book.actions.undo import undo
from quotas.book.verify.verify import verify
from quotas.decisions.overrides import Word

from ..harness import T0, Rig, program, server
from .test_crash_stop import Daemon, Hook, killed_at, numbered

OFFSETS = (300, 330, 360, 3_900)
"""Cycles: poweron is decided and sent, its server seen on, rest, an hourly charge."""


class Returner(Daemon):
    """A daemon's life after a stop was undone; the cloud's truth is a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rig = Rig(program(), Book.open(folder))
        self.rig.cloud.add(server(state="stopped", modified_s=T0 + 150))
        self.rig.cloud.on_start = self._started
        file = folder / "started_s"
        if file.exists():
            at_s = int(file.read_text())
            self.rig.cloud.add(server(state="starting", modified_s=at_s))

    def _started(self, _: str) -> None:
        file = self._folder / "started_s"
        if not file.exists():
            file.write_text(str(self.rig.clock.now_s()))

    def watch(self, hook: Hook) -> None:
        """Also around the call that powers on."""
        super().watch(hook)
        power_on = self.rig.cloud.power_on

        def call(zone: str, server_id: str) -> None:
            hook("before power_on")
            power_on(zone, server_id)
            hook("after power_on")

        self.rig.cloud.power_on = call  # type: ignore[method-assign]  # a wrapped call

    def state(self) -> dict[str, Any]:
        """What a crash must not change."""
        rig = self.rig
        return {
            "balances": rig.rows("balance"),
            "notices": [(row["state"], row["off_s"]) for row in rig.all("notice")],
            "decisions": [[row["verb"], row["reason"]] for row in rig.all("decision")],
            "intents": [[row["action"], row["state"]] for row in rig.all("intent")],
            "server": rig.cloud.servers["s1"].state,
            "started_s": (self._folder / "started_s").read_text(),
        }


def undone(folder: Path) -> None:
    """A book whose one stop an operator has just taken back."""
    rig = Rig(program(), Book.open(folder))
    rig.cloud.add(server())
    say(rig.book, Word("level", "acme", "stopped", T0, None, "ann", "the wrong startup"))
    rig.run_until(T0 + 150)
    assert rig.cloud.stops == ["s1"]
    rig.cloud.add(replace(rig.cloud.servers["s1"], state="stopped", modified_s=T0 + 150))
    rig.run(30)
    stop = next(row for row in rig.all("decision") if row["verb"] == "stop")
    undo(rig.book, int(str(stop["id"])), "ann", "a mistake", rig.clock.now_s())
    rig.book.close()


def test_a_kill_at_any_point_around_poweron_changes_nothing_in_the_end(tmp_path: Path) -> None:
    """At each write, commit and call: powered on once, restored once, the same books."""
    blank = tmp_path / "blank"
    undone(blank)
    shutil.copytree(blank, tmp_path / "uncrashed")
    whole = Returner(tmp_path / "uncrashed")
    hook, names = numbered(-1, lambda: None)
    whole.watch(hook)
    whole.run(OFFSETS)
    points, expected = list(names), whole.state()
    assert {"before power_on", "after power_on", "COMMIT"} <= set(points)
    assert expected["intents"][-1] == ["poweron", "confirmed"]
    assert expected["notices"][0][0] == "restored"
    for point, name in enumerate(points):
        folder = tmp_path / f"point-{point}"
        shutil.copytree(blank, folder)
        died_at = killed_at(folder, point, Returner, OFFSETS)
        daemon = Returner(folder)
        daemon.run(tuple(offset for offset in OFFSETS if offset >= died_at))
        where = f"killed at point {point} ({name}) of the cycle at {died_at} s"
        assert verify(daemon.rig.book).fault is None, where
        assert json.dumps(daemon.state()) == json.dumps(expected), where
        daemon.rig.book.close()

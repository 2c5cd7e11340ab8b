"""kill -9 at each commit and each call: the end equals that of a run without a crash.

A child process runs the daemon on a book on disk and kills itself at one point; the
parent then runs the same cycles on from the one that died. The cloud's truth is a
file, since it outlives the daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from quotas.book import Book
from quotas.book.cycle.commit import commit
from quotas.book.verify.verify import verify
from scheduler import cycle as cycle_module

from ..harness import T0, Harness, program, server

OFFSETS = (0, 30, 3_700, 3_760, 3_790, 3_820)
"""Cycles: before the server, its start and notice, an hourly charge, the stop, its end, quiet."""
NOTICE_S = 3_720
Hook = Callable[[str], None]


class Daemon:
    """The life of one process: a harness on the book in a folder and on the cloud in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.harness = Harness(program(limit=0, notice_s=NOTICE_S), Book.open(folder))
        self.harness.cloud.on_stop = self._stopped
        self.harness.cloud.add(server(since_s=T0 + 10))
        file = folder / "stopped_s"
        if file.exists():
            self.harness.clock.move_to(int(file.read_text()))
            self.harness.cloud.turn_off("s1")

    def _stopped(self, _: str) -> None:
        file = self._folder / "stopped_s"
        if not file.exists():
            file.write_text(str(self.harness.clock.now_s()))

    def run(self, offsets: tuple[int, ...]) -> None:
        """Run the cycles, and write the number of the current one into a file."""
        for offset in offsets:
            (self._folder / "at").write_text(str(offset))
            self.harness.clock.move_to(T0 + offset)
            if offset == 0:
                hidden = dict(self.harness.cloud.servers)
                self.harness.cloud.servers.clear()
                self.harness.cycle.run()
                self.harness.cloud.servers = hidden
            else:
                self.harness.cycle.run()

    def state(self) -> dict[str, Any]:
        """The state that a crash must not change: ledger, runs, notices, intents, cloud."""
        harness = self.harness
        names = ("key", "kind", "startup", "at_s", "reason", "detail")
        return {
            "transfers": [[row[n] for n in names] for row in harness.all("transfer")],
            "entries": harness.all("entry"),
            "balances": harness.rows("balance"),
            "runs": harness.all("run"),
            # When a server was first seen off depends on when a daemon looked.
            "notices": [
                {k: v for k, v in row.items() if k != "off_s"} for row in harness.all("notice")
            ],
            "decisions": [[row["verb"], row["inputs"]] for row in harness.all("decision")],
            "intents": [[row["server_id"], row["state"]] for row in harness.all("intent")],
            "server": harness.cloud.servers["s1"].state,
            "stopped_s": (self._folder / "stopped_s").read_text(),
        }

    def watch(self, hook: Hook) -> None:
        """Call the hook at each point: around each write, each commit and each call."""

        def statement(_c: object, _cursor: object, text: str, *_: object) -> None:
            if not text.startswith(("SELECT", "PRAGMA")):
                hook(text.split("(")[0].strip())

        event.listen(self.harness.book.engine, "before_cursor_execute", statement)
        event.listen(self.harness.book.engine, "commit", lambda _: hook("COMMIT"))
        power_off = self.harness.cloud.power_off

        def call(zone: str, server_id: str) -> None:
            hook("before power_off")
            power_off(zone, server_id)
            hook("after power_off")

        self.harness.cloud.power_off = call  # type: ignore[method-assign]  # a wrapped call
        run = self.harness.cycle.run

        def whole() -> Any:
            report = run()
            hook("after the cycle")
            return report

        self.harness.cycle.run = whole  # type: ignore[method-assign]  # a wrapped cycle


def numbered(act_at: int, then: Callable[[], None]) -> tuple[Hook, list[str]]:
    """A hook that lists its points and acts at one of them."""
    names: list[str] = []

    def hook(name: str) -> None:
        names.append(name)
        if len(names) - 1 == act_at:
            then()

    return hook, names


def killed_at(
    folder: Path,
    point: int,
    made: Callable[[Path], Daemon] | None = None,
    offsets: tuple[int, ...] = OFFSETS,
) -> int:
    """Run the daemon in a child that kills itself at a point; return the dead cycle's offset."""
    child = os.fork()
    if child == 0:
        try:
            daemon = (made or Daemon)(folder)
            hook, _ = numbered(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
            daemon.watch(hook)
            daemon.run(offsets)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    return int((folder / "at").read_text())


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a book that contains its program and nothing else."""
    folder = tmp_path_factory.mktemp("crash") / "blank"
    Daemon(folder).harness.book.close()
    return folder


def uncrashed(blank: Path) -> tuple[dict[str, Any], list[str]]:
    """State at the end of a run without a crash, and the names of its points."""
    folder = blank.parent / "uncrashed"
    shutil.copytree(blank, folder)
    daemon = Daemon(folder)
    hook, names = numbered(-1, lambda: None)
    daemon.watch(hook)
    daemon.run(OFFSETS)
    points = list(names)
    state = daemon.state()
    daemon.harness.book.close()
    return state, points


def test_a_kill_at_any_point_changes_nothing_in_the_end(blank: Path) -> None:
    """Killed at any write, commit or call, the books verify and equal an uncrashed run's."""
    expected, names = uncrashed(blank)
    assert expected["server"] == "stopping" and expected["intents"] == [["s1", "confirmed"]]
    assert {"COMMIT", "before power_off", "after power_off"} <= set(names) and len(names) > 50
    for point, name in enumerate(names):
        folder = blank.parent / f"point-{point}"
        shutil.copytree(blank, folder)
        died_at = killed_at(folder, point)
        daemon = Daemon(folder)
        daemon.run(tuple(offset for offset in OFFSETS if offset >= died_at))
        where = f"killed at point {point} ({name}) of the cycle at {died_at} s"
        assert verify(daemon.harness.book).fault is None, where
        state = daemon.state()
        assert json.dumps(state, default=str) == json.dumps(expected, default=str), where
        daemon.harness.book.close()


def test_a_commit_that_succeeded_with_an_error_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the database reports a failure after a commit succeeded, the next cycle finds it done."""
    plain, torn = (Harness(program(limit=0)) for _ in range(2))
    for harness in (plain, torn):
        harness.cloud.add(server())
        harness.run()

    def ambiguous(*args: Any) -> None:
        commit(*args)
        raise OperationalError("COMMIT", {}, Exception("connection lost"))

    for pause_s in (30, 30, 30, 3_600):
        plain.run(pause_s)
        monkeypatch.setattr(cycle_module, "commit", ambiguous)
        with pytest.raises(OperationalError):
            torn.run(pause_s)
        monkeypatch.setattr(cycle_module, "commit", commit)
        torn.run()
    assert torn.cloud.stops == ["s1"]
    for table in ("entry", "balance", "run", "notice"):
        assert torn.all(table) == plain.all(table)
    assert verify(torn.book).fault is None

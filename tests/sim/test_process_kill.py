"""A daemon that is really killed leaves the same book as one that only drops its objects.

Thousands of plays use cheap crashes: an exception at a point of the cycle. This test sends
SIGKILL at the same points of one play, with a book on disk. The region outlives the daemon: at
the point the process forks, one half is killed, and the other half continues with the region
and with the book that it finds on disk.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quotas.book import Book
from quotas.book.verify.verify import verify

from .audit.auditor import faults_of
from .audit.evidence import evidence_of
from .play.play import Died, Play
from .scenario.script import POINTS, Script, draw

pytestmark = pytest.mark.usefixtures("deterministic")  # a fork copies only one thread
SEED, DAYS = 3, 5
"""A play in which servers are stopped, so that every point is reached."""


class KillablePlay(Play):
    """A play whose daemon dies once, at the n-th visit of a point."""

    def __init__(self, script: Script, book: Book, point: str = "", nth: int = 0) -> None:
        super().__init__(script, book=book)
        self.met: Counter[str] = Counter()
        self.point, self.nth = point, nth
        self.die: Callable[[KillablePlay], None] = lambda _: None

    def at_point(self, name: str) -> None:
        """Do as in any play, and die at the point."""
        super().at_point(name)
        self.met[name] += 1
        if name == self.point and self.met[name] == self.nth:
            self.die(self)
            raise Died(name)


def script() -> Script:
    """A script in which the daemon has no other fault."""
    return replace(draw(SEED, DAYS), dice={}, daemons=1)


def outcome(play: KillablePlay) -> str:
    """The result of the play: the book's rows, the calls, and the faults."""
    play.run()
    found = evidence_of(play)
    rows = [found.transfers, found.runs, found.notices, found.intents, found.decisions]
    calls = [[call.at_s, call.server_id, call.action, call.answer] for call in found.calls]
    wrong = [*faults_of(play), verify(play.book).fault]
    return json.dumps([rows, calls, found.balances, wrong], default=str)


def killed(folder: Path, point: str, nth: int) -> str:
    """The outcome of a play on disk whose daemon dies of SIGKILL."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            play = KillablePlay(script(), Book.open(folder), point, nth)
            play.die = lambda play: outlived(play, folder)
            with os.fdopen(write, "w") as answer:
                answer.write(outcome(play))
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    with os.fdopen(read) as answer:
        return answer.read()


def outlived(play: KillablePlay, folder: Path) -> None:
    """Kill this process; its copy continues with the region, and opens the book again."""
    read, write = os.pipe()
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.read(read, 1)  # ends when the killed process is gone, and its locks with it
    os.close(read)
    play.book.engine.dispose(close=False)
    play.book = play.program_operator.book = Book.open(folder)


@pytest.fixture(scope="module")
def visits(deterministic: None) -> Counter[str]:
    """How often an undisturbed play reaches each point."""
    play = KillablePlay(script(), Book.in_memory())
    play.run()
    return play.met


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_each_point_ends_as_a_cheap_crash_there(
    tmp_path: Path, visits: Counter[str], point: str
) -> None:
    """The books are the same row by row and correct, and the region saw the same calls."""
    assert visits[point] > 2, f"no daemon comes to {point!r} often enough"
    nth = visits[point] * 2 // 3
    really = killed(tmp_path, point, nth)
    cheaply = outcome(KillablePlay(script(), Book.in_memory(), point, nth))
    assert really == cheaply
    wrong: list[Any] = json.loads(cheaply)[-1]
    assert wrong == [None]

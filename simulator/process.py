"""Runs a region as a process of its own, for demos and tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from simulator.world.model import Project

_END_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Running:
    """A simulated region that listens."""

    url: str
    organization_id: str
    access_key: str
    secret_key: str = field(repr=False)
    start: str
    ends: str
    projects: tuple[Project, ...]
    zones: tuple[str, ...]
    pid: int

    @property
    def control_url(self) -> str:
        """The address of the controls."""
        return f"{self.url}/_control"


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    """Run `python -m simulator` with these arguments, on a free port by default.

    It ends with the block. A simulator that does not start raises RuntimeError.
    """
    command = [sys.executable, "-m", "simulator", *arguments]
    # A session of its own: ^C goes to its parent, and the block ends the process.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield _announced(process)
        finally:
            process.terminate()
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _announced(process: subprocess.Popen[str]) -> Running:
    """The line that the process prints when it listens."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"the simulator did not start: it ended with {process.wait()}")
    announced = json.loads(line)
    projects = tuple(Project(**project) for project in announced.pop("projects"))
    zones = tuple(announced.pop("zones"))
    return Running(**announced, projects=projects, zones=zones, pid=process.pid)

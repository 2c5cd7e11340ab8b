"""Fixtures of the command line: an operator's folder, and a simulated region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.process import Running, running

from .operator_env import PROGRAM, OperatorEnv


@pytest.fixture
def operator_env(tmp_path: Path) -> OperatorEnv:
    """An operator's folder whose program is in force."""
    made = OperatorEnv(tmp_path)
    made.write(PROGRAM)
    ran = made.run("apply")
    assert ran.code == 0, ran.err
    return made


@pytest.fixture(scope="module")
def region() -> Iterator[Running]:
    """A region at this machine's time, with projects and no servers of its own."""
    with running("--clock", "real", "--no-workload") as region:
        yield region

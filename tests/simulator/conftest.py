"""A region as a process, whose clock only the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.process import Running, running

from .client import Client


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    """A region with five projects and no servers in them."""
    with running("--clock", "controller", "--seed", "7", "--no-workload") as region:
        yield region


@pytest.fixture
def client(process: Running) -> Iterator[Client]:
    """Requests with the operator's key; every server and fault is gone afterwards."""
    asking = Client(process)
    yield asking
    asking.clear()

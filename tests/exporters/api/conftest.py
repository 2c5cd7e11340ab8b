"""A site for each test that asks for one, and one for those that only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .api_fixture import Site, site


@pytest.fixture
def fresh_site(tmp_path: Path) -> Iterator[Site]:
    """A site that a test may change."""
    with site(tmp_path / "state") as made:
        yield made


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that the tests of a module read."""
    with site(tmp_path_factory.mktemp("api") / "state") as made:
        yield made

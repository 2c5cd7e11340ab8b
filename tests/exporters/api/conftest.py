"""A site for each test that asks for one, and one for those that only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .api_fixture import ApiFixture, api_fixture


@pytest.fixture
def fresh_api(tmp_path: Path) -> Iterator[ApiFixture]:
    """A site that a test may change."""
    with api_fixture(tmp_path / "state") as made:
        yield made


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiFixture]:
    """A site that the tests of a module read."""
    with api_fixture(tmp_path_factory.mktemp("api") / "state") as made:
        yield made

"""What a module of plays asks for: cycles without threads, and without their log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from .soak import quiet
from .wiring import wired


@pytest.fixture(scope="module")
def deterministic() -> Iterator[None]:
    """Thousands of cycles log too much to keep; and they run without threads."""
    before = structlog.get_config()
    quiet()
    with wired():
        yield
    structlog.configure(**before)

"""What can be asked of the API, and how does a command end that got no answer?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

REFUSED, BAD_INPUT, UNREACHABLE = 1, 2, 3


class ApiError(Exception):
    """Why there is no answer: a sentence, and the exit code that goes with it."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class Api(Protocol):
    """What asks: GETs that are answered, writes that are kept for the next cycle."""

    def get(self, path: str, wait_s: int = 0, **query: str | int) -> Any:
        """The answer to a GET, read from JSON. Raises ApiError."""

    def post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """The answer to a write. Raises ApiError."""

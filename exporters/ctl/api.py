"""The port to the API that the commands use, and the error that ends a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

REFUSED, BAD_INPUT, UNREACHABLE = 1, 2, 3


class ApiError(Exception):
    """A failed call: a sentence, and the exit code of the command."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class Api(Protocol):
    """The API: GETs, and writes that the next cycle decides."""

    def get(self, path: str, wait_s: int = 0, **query: str | int) -> Any:
        """The answer to a GET, read from JSON. Raises ApiError."""

    def post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """The answer to a write. Raises ApiError."""

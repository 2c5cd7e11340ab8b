"""The patch with which a mutant is planted: it counts how often the planted code is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

OPERATORS = "add radd sub rsub mul rmul floordiv rfloordiv lt le gt ge contains iter or and"
READS = [f"__{name}__" for name in OPERATORS.split()]
"""Operations by which the product reads a planted constant."""


class CountingPatch(pytest.MonkeyPatch):  # type: ignore[misc]  # it only adds a count
    """A MonkeyPatch whose functions and constants count their uses by name."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: Counter[str] = Counter()

    def setattr(self, target: Any, name: Any, *rest: Any, **named: Any) -> None:
        """Plant a value, wrapped so that each use of it is counted."""
        if rest:
            super().setattr(target, name, self._counted(name, rest[0]), **named)
        else:  # a dotted path and its value
            super().setattr(target, self._counted(target, name), **named)

    def _counted(self, name: str, value: Any) -> Any:
        if callable(value):
            return self._called(name, value)
        kind = type(value)
        assert kind in (int, tuple, frozenset), f"no way to count the uses of {name}, a {kind}"
        reads = {
            each: self._called(name, getattr(kind, each)) for each in READS if each in dir(kind)
        }
        return type(f"Counted{kind.__name__}", (kind,), reads)(value)

    def _called(self, name: str, of: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(of)
        def through(*args: Any, **named: Any) -> Any:
            self.uses[name] += 1
            return of(*args, **named)

        return through

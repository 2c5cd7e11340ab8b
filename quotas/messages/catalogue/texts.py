"""Texts by message id: a fixed text, or a function that makes the text of typed facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Texts = Mapping[str, str | Callable[[Any], str]]


def render(texts: Texts, id: str, facts: Any = None) -> str:
    """The text of a message for its facts. Raises KeyError for an unknown id."""
    text = texts[id]
    return text if isinstance(text, str) else text(facts)

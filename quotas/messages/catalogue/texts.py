"""Texts by message id: a template over the facts, or a function where words depend on the facts.

A template names fields of the facts: "{startup} has {left_ucr:credits} credits left".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from quotas.model.units import format_credits, format_duration, format_instant

Texts = Mapping[str, str | Callable[[Any], str]]
_FORMATS: Mapping[str, Callable[[int], str]] = {
    "credits": format_credits,
    "duration": format_duration,
    "instant": format_instant,
}


class _Template(Formatter):
    """Templates whose fields are attributes of one value."""

    def get_value(self, key: int | str, args: Any, kwargs: Any) -> Any:
        return getattr(args[0], str(key))

    def format_field(self, value: Any, format_spec: str) -> str:
        return _FORMATS[format_spec](value) if format_spec else str(value)


_TEMPLATE = _Template()


def render(texts: Texts, id: str, facts: Any = None) -> str:
    """The text of a message for its facts. Raises KeyError for an unknown id."""
    text = texts[id]
    return _TEMPLATE.vformat(text, (facts,), {}) if isinstance(text, str) else text(facts)

"""Facts: the typed inputs of a decision, and their form in the book.

Each kind of decision has a frozen dataclass of amounts, instants, names and codes. The book
stores the facts as canonical JSON without the fields that are None. The only sentences among
them are reasons that people gave. The texts that name the facts are in `quotas.messages`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, TypeVar

FactsJson = Mapping[str, int | str]
F = TypeVar("F")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
"""Built once: `json.dumps` with these options makes a new encoder for each of many rows."""


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return _ENCODER.encode(value)


@dataclass(frozen=True, slots=True)
class TypedMessage:
    """A message to people before it is rendered: its id in the catalogue, and its typed facts."""

    id: str
    facts: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideFacts:
    """What an operator ordered: who gave the override, when, why and until when."""

    actor: str
    override_s: int
    override_reason: str
    until_s: int | None = None


def to_json(facts: Any) -> dict[str, int | str]:
    """The facts as a flat mapping; a dataclass inside contributes its own fields."""
    found: dict[str, int | str] = {}
    for field in fields(facts):
        value = getattr(facts, field.name)
        if is_dataclass(value):
            found |= to_json(value)
        elif value is not None:
            found[field.name] = value
    return found


def from_json(kind: type[F], stored: FactsJson) -> F:
    """Facts of a kind from their stored form. Raises KeyError where one is missing."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        if field.name in stored:
            values[field.name] = stored[field.name]
        elif field.default is MISSING:
            raise KeyError(field.name)
    return kind(**values)

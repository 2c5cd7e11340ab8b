"""Facts: the typed inputs of a decision, and their form in the book.

Each kind of decision has a frozen dataclass of amounts, instants, names and codes. The book
stores the facts as canonical JSON without the fields that are None. The only sentences among
them are reasons that people gave. The texts that name the facts are in `quotas.messages`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Self, TypeVar

FactsJson = Mapping[str, int | str]
F = TypeVar("F")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
"""Built once: `json.dumps` with these options makes a new encoder for each of many rows."""


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return _ENCODER.encode(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """The typed inputs of one kind of decision."""

    def holds(self) -> bool:
        """Whether they lead to the decision. What only records an observation always holds."""
        return True

    @classmethod
    def of(cls, source: object, **given: Any) -> Self:
        """The facts that are given; every other one is the source's attribute of its name."""
        names = {f.name for f in fields(cls) if hasattr(source, f.name)} - given.keys()
        return cls(**{name: getattr(source, name) for name in names}, **given)


@dataclass(frozen=True, slots=True)
class TypedMessage:
    """A message to people before it is rendered: its id in the catalogue, and its typed facts."""

    id: str
    facts: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideFacts(DecisionFacts):
    """What an operator ordered: who gave the override, when, why and until when."""

    actor: str
    override_s: int
    override_reason: str
    until_s: int | None = None


OVERRIDE_PART = {"part": OverrideFacts}
"""The metadata of a field for an override or None. Its facts are stored beside the others."""


def to_json(facts: Any) -> dict[str, int | str]:
    """The facts as a flat mapping; a dataclass inside contributes its own fields."""
    found: dict[str, int | str] = {}
    for each in fields(facts):
        value = getattr(facts, each.name)
        if is_dataclass(value):
            found |= to_json(value)
        elif value is not None:
            found[each.name] = value
    return found


def from_json(kind: type[F], stored: Mapping[str, Any]) -> F:
    """Facts of a kind from their stored form. Raises KeyError where one is missing."""
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]  # a dataclass
        part = each.metadata.get("part")
        if part is not None:
            is_stored = any(f.name in stored for f in fields(part) if f.default is MISSING)
            values[each.name] = from_json(part, stored) if is_stored else None
        elif each.name in stored:
            values[each.name] = stored[each.name]
        elif each.default is MISSING:
            raise KeyError(each.name)
    return kind(**values)

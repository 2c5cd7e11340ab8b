"""Fields of dataclasses and rows as JSON. The suffix of a field's name is its unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quotas.model.units import format_credits, format_instant

UNITS: Mapping[str, tuple[str, Callable[[int], str]]] = {
    "_ucr_per_h": ("_per_hour", format_credits),
    "_ucr": ("", format_credits),
    "_s": ("", format_instant),
}
"""How a field with such a suffix is named and written. A duration in `_s` needs its own line."""


def json_fields(source: Any, names: str, **renamed: str) -> dict[str, Any]:
    """The named fields of a dataclass or a row; `shown="field_s"` shows one by another name."""
    found = {}
    for shown, name in [*((each, each) for each in names.split()), *renamed.items()]:
        value = source[name] if isinstance(source, Mapping) else getattr(source, name)
        suffix = next((each for each in UNITS if name.endswith(each)), None)
        if suffix is not None:
            in_name, write = UNITS[suffix]
            shown = shown.removesuffix(suffix) + in_name if shown == name else shown
            value = None if value is None else write(value)
        found[shown] = value
    return found

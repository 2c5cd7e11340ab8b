"""The newest recording of a kind, and the differences in shape between two JSON values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("COHORTD_SHARED", REPOSITORY.parent / "shared"))
RECORDED = SHARED / "scaleway" / "recorded"

NULLABLE = frozenset({"image", "location", "public_ip", "gpu_info", "placement_group"})
"""Keys whose value may be null in one answer and an object in another."""


@dataclass(frozen=True)
class Recording:
    """One recorded interaction."""

    name: str
    at: str
    method: str
    url: str
    status: int
    headers: dict[str, str]
    sent: Any
    body: Any


def load(path: Path) -> Recording:
    """Read one recording."""
    raw = json.loads(path.read_text())
    return from_raw(path.name, raw)


def from_raw(name: str, raw: dict[str, Any]) -> Recording:
    """One interaction as a recording."""
    return Recording(
        name,
        raw["recorded_at"],
        raw["method"],
        raw["url"],
        raw["status"],
        raw["response_headers"],
        raw["request_body"],
        raw["response_body"],
    )


def recordings(pattern: str) -> list[Recording]:
    """All recordings that match, oldest first; the test skips (fails in CI) if there are none."""
    found = sorted(map(load, RECORDED.glob(pattern)), key=lambda each: (each.at, each.name))
    if not found:
        pytest.skip(f"service: no recordings {pattern} under {RECORDED}")
    return found


def newest(pattern: str, wanted: Callable[[Recording], bool] = lambda each: True) -> Recording:
    """The newest recording of a kind."""
    return [each for each in recordings(pattern) if wanted(each)][-1]


def kind(value: object) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def differences(ours: object, theirs: object, path: str = "") -> list[str]:
    """The differences of two shapes: keys and types at every depth."""
    key = path.rpartition(".")[2]
    if kind(ours) != kind(theirs):
        is_allowed = key in NULLABLE and "null" in (kind(ours), kind(theirs))
        return [] if is_allowed else [f"{path}: {kind(ours)}, recorded {kind(theirs)}"]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return _object_differences(ours, theirs, path)
    if isinstance(ours, list) and isinstance(theirs, list) and ours and theirs:
        return differences(ours[0], theirs[0], path + "[]")
    return []


def _object_differences(ours: dict[str, Any], theirs: dict[str, Any], path: str) -> list[str]:
    if path.endswith("volumes"):
        return _volume_differences(ours, theirs, path)
    missing = [f"{path}.{key}: missing" for key in sorted(theirs.keys() - ours.keys())]
    extra = [f"{path}.{key}: not recorded" for key in sorted(ours.keys() - theirs.keys())]
    deeper = [
        difference
        for key in sorted(ours.keys() & theirs.keys())
        for difference in differences(ours[key], theirs[key], f"{path}.{key}")
    ]
    return missing + extra + deeper


def _volume_differences(ours: dict[str, Any], theirs: dict[str, Any], path: str) -> list[str]:
    """Volumes are numbered, so compare one of each type."""
    by_type = {volume["volume_type"]: volume for volume in theirs.values()}
    return [
        difference
        for number, volume in ours.items()
        if volume["volume_type"] in by_type
        for difference in differences(volume, by_type[volume["volume_type"]], f"{path}.{number}")
    ]


def load_lifecycle(name: str) -> list[Recording]:
    """A whole recorded exchange, in order."""
    raw = json.loads((RECORDED / "lifecycles" / name).read_text())
    return [from_raw(name, each) for each in raw["interactions"]]

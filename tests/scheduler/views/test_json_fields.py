"""Fields as JSON: units by suffix, names, and rows as well as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scheduler.views.json_fields import json_fields


@dataclass(frozen=True)
class Account:
    """A value with a field of each unit."""

    name: str = "acme"
    left_ucr: int = 1_500_000
    burn_ucr_per_h: int = 250_000
    opened_s: int = 0
    closed_s: int | None = None


@pytest.mark.parametrize(
    ("names", "renamed", "shown"),
    [
        ("name", {}, {"name": "acme"}),
        ("left_ucr", {}, {"left": "1.50"}),
        ("burn_ucr_per_h", {}, {"burn_per_hour": "0.25"}),
        ("opened_s closed_s", {}, {"opened": "1970-01-01T00:00:00Z", "closed": None}),
        ("", {"at": "opened_s", "who": "name"}, {"at": "1970-01-01T00:00:00Z", "who": "acme"}),
    ],
)
def test_the_suffix_of_a_field_is_its_unit(
    names: str, renamed: dict[str, str], shown: dict[str, str | None]
) -> None:
    """Credits and instants become text without the suffix; None and other values stay."""
    assert json_fields(Account(), names, **renamed) == shown
    assert json_fields(vars(Account()), names, **renamed) == shown

"""Chain heads: the newest transfer of each cohort, to be kept outside the book and compared later.

Somebody who rewrites the book, or cuts off its newest transfers, cannot rewrite a head that was
logged or mailed. `cohortd verify --chain-head` compares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class ChainHead:
    """A cohort's newest transfer on a day, how many it has, and what all of them moved."""

    day: str
    cohort: str
    transfer_id: int
    transfers: int
    moved_ucr: int
    hash: str


def hashes_in(text: str) -> frozenset[str]:
    """Every hash that a kept message, log line or JSON names."""
    return frozenset(_HASH.findall(text))

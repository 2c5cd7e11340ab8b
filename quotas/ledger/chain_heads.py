"""The head of a chain, in words that can be kept elsewhere and compared later.

A head that is logged or mailed lies outside the book: who rewrites the book, or cuts off
its newest transfers, cannot rewrite what was sent. `cohortd verify --head` compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from quotas.model.units import format_credits

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


def chain_head_message(program: str, chain_heads: Sequence[ChainHead]) -> tuple[str, str]:
    """Subject and text of the message that carries a day's heads."""
    days = sorted({chain_head.day for chain_head in chain_heads})
    lines = [
        f"{chain_head.cohort}: {chain_head.transfers} transfers, "
        f"{format_credits(chain_head.moved_ucr)} credits moved, "
        f"the newest is transfer {chain_head.transfer_id}\n  {chain_head.hash}"
        for chain_head in chain_heads
    ]
    text = (
        f"The books of {program}, as they stood:\n\n"
        + "\n".join(lines)
        + "\n\nKeep this message. 'cohortd verify --head FILE', with it as FILE, shows that "
        "nothing before these transfers was changed or taken away.\n"
    )
    return f"{program}: heads of the books, {', '.join(days)}", text


def hashes_in(text: str) -> frozenset[str]:
    """Every hash that a kept message, log line or JSON names."""
    return frozenset(_HASH.findall(text))

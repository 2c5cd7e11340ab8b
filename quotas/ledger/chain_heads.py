"""Chain heads: the newest transfer of a cohort, in a text that can be kept outside the book.

Somebody who rewrites the book, or cuts off its newest transfers, cannot rewrite a head that was
logged or mailed. `cohortd verify --head` compares.
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
    days = sorted({head.day for head in chain_heads})
    lines = [
        f"{head.cohort}: {head.transfers} transfers, {format_credits(head.moved_ucr)} credits "
        f"moved, the newest is transfer {head.transfer_id}\n  {head.hash}"
        for head in chain_heads
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

"""Transfers as the book has them: frozen rows with their entries, and the startups they concern."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

CREDITS_IN = ("grant", "held")
"""Accounts of these kinds, KIND:STARTUP:…, are a startup's credits."""
USAGE = "usage"
OF_STARTUPS = frozenset({*CREDITS_IN, USAGE, "settled"})


class PostedTransfer(NamedTuple):
    """A transfer as the book has it. `detail` is canonical JSON; entries are in order."""

    id: int
    key: str
    kind: str
    cohort: str
    startup: str
    at_s: int
    recorded_s: int
    epoch: int
    actor: str
    reason: str
    detail: str
    previous_hash: str
    hash: str
    entries: tuple[tuple[str, int], ...]

    @property
    def details(self) -> Mapping[str, Any]:
        """The detail, parsed."""
        found: Mapping[str, Any] = json.loads(self.detail)
        return found

    @property
    def fields(self) -> dict[str, object]:
        """The hashed fields, beside the predecessor's hash and the entries."""
        return dict(zip(HASHED, self[1:11], strict=True))

    @property
    def holders(self) -> frozenset[str]:
        """Every startup whose accounts the transfer moves."""
        found = (holder(account) for account, _ in self.entries)
        return frozenset(name for name in found if name is not None)


HASHED = PostedTransfer._fields[1:11]


def holder(account: str) -> str | None:
    """The startup that an account belongs to; None for an account of a cohort."""
    kind, _, rest = account.partition(":")
    return rest.partition(":")[0] if kind in OF_STARTUPS else None


def credits_ucr(startup: str, entries: Iterable[tuple[str, int]]) -> int:
    """By how much entries change a startup's credits."""
    own = tuple(f"{kind}:{startup}:" for kind in CREDITS_IN)
    return sum(amount for account, amount in entries if account.startswith(own))

"""Verify expiries and rollovers of the credits that a grant had at its end.

The right amount follows from the sum of the grant's entries before the transfer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from quotas.book.cycle.state import read_grants
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.transfers import GrantBalance, expired_account, grant_account
from quotas.model.units import format_instant

EXPIRY_KINDS = frozenset({"expiry", "rollover"})


class ExpiryAudit:
    """Checks expiries and rollovers; memory grows with the number of grants.

    `sums` is what each account has, the transfer that is checked included.
    """

    def __init__(self, connection: Connection, sums: Mapping[str, int]) -> None:
        self._grants = {grant.account: grant for grant in read_grants(connection)}
        self._sums = sums
        self._rolled: set[str] = set()
        self._moved: dict[tuple[str, str | None], int] = defaultdict(int)

    def fault(self, posted: PostedTransfer) -> str | None:
        """The first thing that is wrong with such a transfer, or None."""
        (account, moved_ucr), (other, _) = posted.entries
        grant = self._grants.get(account)
        if grant is None or (grant.startup, grant.cohort) != (posted.startup, posted.cohort):
            return f"moves what is left of {account}, which is no grant of {posted.startup}"
        grant = replace(grant, left_ucr=self._sums[account] - moved_ucr)
        if posted.kind == "expiry":
            return self._expiry(posted, grant, other)
        return self._rollover(posted, grant, other)

    def _expiry(self, posted: PostedTransfer, grant: GrantBalance, other: str) -> str | None:
        if other != expired_account(grant.cohort):
            return f"expires {grant.account} to {other}"
        if posted.key != f"expiry:{grant.startup}:{grant.id}":
            return None if posted.at_s >= grant.expires_s else _expired_early(grant)
        if posted.at_s != grant.expires_s:
            return _expired_early(grant)
        rolling_ucr = self._rolling_ucr(grant)
        if grant.account not in self._rolled and rolling_ucr:
            return f"expires {rolling_ucr} ucr of {grant.account} that were to roll over"
        if self._sums[grant.account] != 0:
            return f"leaves {self._sums[grant.account]} ucr in {grant.account} after its end"
        return None

    def _rollover(self, posted: PostedTransfer, grant: GrantBalance, other: str) -> str | None:
        if grant.rolls_to is None or other != grant_account(grant.startup, grant.rolls_to):
            return f"rolls {grant.account} over to {other}, which is not its next tranche"
        if posted.at_s != grant.expires_s:
            return f"rolls {grant.account} over at another instant than its end"
        moved_ucr, rolling_ucr = posted.entries[1][1], self._rolling_ucr(grant)
        if moved_ucr != rolling_ucr:
            return f"rolls over {moved_ucr} ucr of {grant.account} where {rolling_ucr} may"
        self._rolled.add(grant.account)
        self._moved[grant.startup, grant.rolls_to] += moved_ucr
        return None

    def _rolling_ucr(self, grant: GrantBalance) -> int:
        """The credits that may roll over, less those of the same tranche that did already."""
        return grant.rolling_ucr(self._moved[grant.startup, grant.rolls_to])


def _expired_early(grant: GrantBalance) -> str:
    return f"expires {grant.account} before its end at {format_instant(grant.expires_s)}"

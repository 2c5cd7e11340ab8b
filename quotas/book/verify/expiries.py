"""Is what became of a grant's rest, and what a tranche repaid, what the rules say?

Each is a function of what the grants had and what was owed just before, which the
transfers tell: the sums of the entries so far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from quotas.book.cycle.state import read_grants
from quotas.ledger.between import repayments
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.transfers import GrantBalance, between_account, expired_account, grant_account
from quotas.model.units import format_instant

EXPIRY_KINDS = frozenset({"expiry", "rollover", "repayment"})


class ExpiryAudit:
    """Checks expiries, rollovers and repayments; memory grows with the number of grants.

    `sums` is what each account has, the transfer that is checked included.
    """

    def __init__(self, connection: Connection, sums: Mapping[str, int]) -> None:
        self._grants = {grant.account: grant for grant in read_grants(connection)}
        self._of: dict[str, list[GrantBalance]] = defaultdict(list)
        for grant in self._grants.values():
            self._of[grant.startup].append(grant)
        self._sums = sums
        self._rolled: set[str] = set()

    def fault(self, posted: PostedTransfer) -> str | None:
        """The first thing that is wrong with such a transfer, or None."""
        (account, moved_ucr), (other, _) = posted.entries
        grant = self._grants.get(account)
        if grant is None or (grant.startup, grant.cohort) != (posted.startup, posted.cohort):
            return f"moves what is left of {account}, which is no grant of {posted.startup}"
        grant = replace(grant, left_ucr=self._sums[account] - moved_ucr)
        if posted.kind == "expiry":
            return self._expiry(posted, grant, other)
        if posted.kind == "rollover":
            return self._rollover(posted, grant, other)
        return self._repayment(posted, grant, other)

    def _expiry(self, posted: PostedTransfer, grant: GrantBalance, other: str) -> str | None:
        if other != expired_account(grant.cohort):
            return f"forfeits {grant.account} to {other}"
        if posted.key != f"expiry:{grant.startup}:{grant.id}":
            return None if posted.at_s >= grant.expires_s else _expired_early(grant)
        if posted.at_s != grant.expires_s:
            return _expired_early(grant)
        if grant.account not in self._rolled and grant.rolling_ucr:
            return f"forfeits {grant.rolling_ucr} ucr of {grant.account} that were to roll over"
        if self._sums[grant.account] != 0:
            return f"leaves {self._sums[grant.account]} ucr in {grant.account} after its end"
        return None

    def _rollover(self, posted: PostedTransfer, grant: GrantBalance, other: str) -> str | None:
        if grant.rolls_to is None or other != grant_account(grant.startup, grant.rolls_to):
            return f"rolls {grant.account} over to {other}, which is not its next tranche"
        if posted.at_s != grant.expires_s:
            return f"rolls {grant.account} over at another instant than its end"
        if posted.entries[1][1] != grant.rolling_ucr:
            moved_ucr = posted.entries[1][1]
            return f"rolls over {moved_ucr} ucr of {grant.account} where {grant.rolling_ucr} may"
        self._rolled.add(grant.account)
        return None

    def _repayment(self, posted: PostedTransfer, grant: GrantBalance, other: str) -> str | None:
        lent = between_account(grant.cohort, grant.startup)
        paid_ucr = posted.entries[1][1]
        if other != lent:
            return f"repays {other}, which lends {grant.startup} nothing"
        owed_ucr = paid_ucr - self._sums[lent]
        own = [replace(g, left_ucr=self._sums.get(g.account, 0)) for g in self._of[grant.startup]]
        own = [grant if each.account == grant.account else each for each in own]
        due = repayments(owed_ucr, own, posted.at_s, "")[:1]
        if [[(e.account, e.amount_ucr) for e in each.entries] for each in due] != [
            list(posted.entries)
        ]:
            return f"repays {paid_ucr} ucr out of {grant.account}, where {owed_ucr} were owed"
        return None


def _expired_early(grant: GrantBalance) -> str:
    return f"forfeits {grant.account} before its end at {format_instant(grant.expires_s)}"

"""Verify charges: their seconds, their price, and the grants that they drew on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from quotas.book.schema.tables import GRANT
from quotas.ledger.recorded import PostedTransfer
from quotas.ledger.transfers import grant_account, overdraft_account, usage_account
from quotas.model.units import Period, cost_ucr, format_instant, month_start_s


class ChargeAudit:
    """Checks charges in the order of writing; memory grows with servers and runs.

    That is not the order of time: a run without a price is charged when it has one, which may
    be after later runs of its server were charged.
    """

    def __init__(self, connection: Connection) -> None:
        self.terms = {
            grant_account(row.startup, row.grant_id): (row.effective_s, row.expires_s)
            for row in connection.execute(select(GRANT))
        }
        self._charged_until: dict[str, int] = {}
        self._charged: dict[str, list[int]] = defaultdict(list)
        """Charged periods of each server, as rising edges: start, end, start, …; no two touch."""
        self._month = (0, 0)

    def fault(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> str | None:
        """The first thing that is wrong with a charge, or None."""
        period = Period(detail["start_s"], detail["end_s"])
        return (
            self._price(posted, detail, period)
            or self._position(detail, period)
            or self._draws(posted, period)
        )

    def _price(
        self, posted: PostedTransfer, detail: Mapping[str, Any], period: Period
    ) -> str | None:
        cost = cost_ucr(detail["rate_ucr_per_h"], detail["run_start_s"], period)
        account, amount_ucr = posted.entries[-1]
        if (account, amount_ucr) != (usage_account(posted.startup), cost):
            return f"charges {amount_ucr} ucr where {cost} were due"
        return None

    def _position(self, detail: Mapping[str, Any], period: Period) -> str | None:
        """I3: contiguous within its run, disjoint from others, within one UTC month."""
        server, run = detail["server"], detail["run"]
        if not _add_period(self._charged[server], period):
            return f"charges seconds of server {server} that are charged already"
        expected_s = self._charged_until.get(run, detail["run_start_s"])
        # A period that costs less than a micro-credit posts nothing: a short gap is right.
        if period.start_s != expected_s and cost_ucr(
            detail["rate_ucr_per_h"], detail["run_start_s"], Period(expected_s, period.start_s)
        ):
            return f"leaves a gap in run {run} from {expected_s} to {period.start_s}"
        if not self._month[0] <= period.start_s < self._month[1]:
            self._month = (month_start_s(period.start_s), month_start_s(period.start_s, 1))
        if period.end_s > self._month[1]:
            return f"charges seconds before and after {format_instant(self._month[1])}"
        self._charged_until[run] = period.end_s
        return None

    def _draws(self, posted: PostedTransfer, period: Period) -> str | None:
        """I18: only grants that were in force for the whole period, or the overdraft."""
        overdraft = overdraft_account(posted.cohort)
        for account, _ in posted.entries[:-1]:
            terms = self.terms.get(account)
            if terms is not None and not (terms[0] <= period.start_s and period.end_s <= terms[1]):
                return f"draws on {account} for seconds at which it could not be spent"
            if terms is None and account != overdraft:
                return f"draws on {account}, which is no grant"
        return None


def _add_period(edges: list[int], period: Period) -> bool:
    """Add a period to those that rising edges bound, unless it shares a second with one."""
    at = bisect_right(edges, period.start_s)
    if at % 2 or at != bisect_left(edges, period.end_s):
        return False
    touches_before = at > 0 and edges[at - 1] == period.start_s
    touches_after = at < len(edges) and edges[at] == period.end_s
    begins = [] if touches_before else [period.start_s]
    ends = [] if touches_after else [period.end_s]
    edges[at - touches_before : at + touches_after] = begins + ends
    return True

"""Transfers that sum to zero, between accounts that are named by strings.

Every grant is an account of its own, so a charge's entries name the grants that it drew from, and
a refund returns to exactly those. `quotas.book` stores transfers; none is ever changed afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from quotas.metering.runs import Run
from quotas.model.program import Rollover
from quotas.model.units import Period, cost_ucr, format_credits

Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transfer: an amount in ucr, negative where it leaves the account."""

    account: str
    amount_ucr: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Entries that sum to zero. `key` is written once at most; `at_s` is the instant of effect."""

    key: str
    kind: str
    cohort: str
    startup: str
    at_s: int
    entries: tuple[Entry, ...]
    reason: str
    detail: Mapping[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if sum(entry.amount_ucr for entry in self.entries) != 0:
            raise ValueError(f"transfer {self.key} does not sum to zero")
        if any(entry.amount_ucr == 0 for entry in self.entries):
            raise ValueError(f"transfer {self.key} moves nothing in one of its entries")


@dataclass(frozen=True, slots=True)
class GrantBalance:
    """A grant with what is left of it; it may be spent in [effective_s, expires_s)."""

    startup: str
    cohort: str
    id: str
    priority: int
    effective_s: int
    expires_s: int
    created: int
    granted_ucr: int
    left_ucr: int
    rolls_to: str | None = None
    rollover: Rollover | None = None

    def rolling_ucr(self, moved_ucr: int = 0) -> int:
        """The part that moves to the next tranche at the grant's end; the rest expires.

        `moved_ucr` moved there already of the same tranche, or of what was advanced from it.
        """
        if self.rolls_to is None or self.rollover is None:
            return 0
        return self.rollover.allowed_ucr(self.left_ucr, moved_ucr)

    @property
    def account(self) -> str:
        """The grant's own account."""
        return grant_account(self.startup, self.id)

    def covers(self, period: Period) -> bool:
        """Whether the grant was in force for the whole period."""
        return self.effective_s <= period.start_s and period.end_s <= self.expires_s


def grant_account(startup: str, grant_id: str) -> str:
    """Account that holds what is left of a grant."""
    return f"grant:{startup}:{grant_id}"


def sponsor_account(cohort: str) -> str:
    """Account that grants come from; its balance is minus all that was granted."""
    return f"sponsor:{cohort}"


def usage_account(startup: str) -> str:
    """Account that charges go to: what the startup's servers have cost."""
    return f"usage:{startup}"


def overdraft_account(cohort: str) -> str:
    """The sponsor's account for usage that no grant covered."""
    return f"overdraft:{cohort}"


def expired_account(cohort: str) -> str:
    """Account that receives what was left of a grant at its end."""
    return f"expired:{cohort}"


def moving(source: str, to: str, amount_ucr: int) -> tuple[Entry, Entry]:
    """The entries that move an amount from one account to another."""
    return Entry(source, -amount_ucr), Entry(to, amount_ucr)


def take_in_order(
    sources: Iterable[tuple[Source, int]], amount_ucr: int
) -> tuple[list[tuple[Source, int]], int]:
    """Take an amount from sources in their order, from each at most what it has.

    Returns the sources that give something with what they give, and what none of them gave.
    """
    taken = []
    for source, most_ucr in sources:
        part_ucr = min(most_ucr, amount_ucr)
        if part_ucr:
            taken.append((source, part_ucr))
            amount_ucr -= part_ucr
    return taken, amount_ucr


def grant_transfer(
    cohort: str, startup: str, grant_id: str, amount_ucr: int, effective_s: int
) -> Transfer:
    """Credit a grant from its sponsor, once for each grant id."""
    key, detail = f"grant:{startup}:{grant_id}", {"grant": grant_id}
    entries = moving(sponsor_account(cohort), grant_account(startup, grant_id), amount_ucr)
    reason = f"grant {grant_id} of {format_credits(amount_ucr)} credits"
    return Transfer(key, "grant", cohort, startup, effective_s, entries, reason, detail)


def burn_order(grants: Iterable[GrantBalance], period: Period) -> list[GrantBalance]:
    """Grants in force over the period with credit left: priority, expiry, creation, id."""
    usable = (grant for grant in grants if grant.left_ucr > 0 and grant.covers(period))
    return sorted(usable, key=lambda g: (g.priority, g.expires_s, g.created, g.id))


def payments(
    cohort: str, grants: Iterable[GrantBalance], period: Period, amount_ucr: int
) -> list[Entry]:
    """What each grant pays of an amount, in burn order; the cohort's overdraft pays the rest."""
    usable = ((grant.account, grant.left_ucr) for grant in burn_order(grants, period))
    paid, overdraft_ucr = take_in_order(usable, amount_ucr)
    paid += [(overdraft_account(cohort), overdraft_ucr)] if overdraft_ucr else []
    return [Entry(account, -part_ucr) for account, part_ucr in paid]


def charge_transfer(
    cohort: str, run: Run, period: Period, grants: Sequence[GrantBalance]
) -> Transfer | None:
    """Charge a period of a run to the startup's grants in burn order, the rest to overdraft.

    None if the period costs less than a micro-credit. The key is the run's id and the period's
    start, so that no second is ever charged twice.
    """
    if run.rate_ucr_per_h is None:
        raise ValueError(f"run {run.id} has no accepted rate")
    amount_ucr = cost_ucr(run.rate_ucr_per_h, run.start_s, period)
    if amount_ucr == 0:
        return None
    paid = payments(cohort, grants, period, amount_ucr)
    return Transfer(
        key=f"charge:{run.id}:{period.start_s}",
        kind="charge",
        cohort=cohort,
        startup=run.startup,
        at_s=period.end_s,
        entries=(*paid, Entry(usage_account(run.startup), amount_ucr)),
        reason=f"{run.server_name} ({run.flavor}) ran {period.seconds} s",
        detail={
            "run": run.id,
            "server": run.server_id,
            "flavor": run.flavor,
            "gpus": run.gpus,
            "start_s": period.start_s,
            "end_s": period.end_s,
            "run_start_s": run.start_s,
            "rate_ucr_per_h": run.rate_ucr_per_h,
        },
    )


def rolling(ending: Iterable[GrantBalance]) -> list[tuple[GrantBalance, int]]:
    """The grants of a startup that end at one instant, each with the part that moves on.

    A tranche and the grants advanced from it together move no more than the tranche may.
    """
    moved: dict[str | None, int] = defaultdict(int)
    found = []
    for grant in sorted(ending, key=lambda each: (each.created, each.id)):
        part_ucr = grant.rolling_ucr(moved[grant.rolls_to])
        moved[grant.rolls_to] += part_ucr
        found.append((grant, part_ucr))
    return found


def end_transfers(ending: Iterable[GrantBalance]) -> list[Transfer]:
    """For grants that end at one instant: the allowed part moves on, then the rest expires."""
    transfers = []
    for grant, rolling_ucr in rolling(ending):
        rest = replace(grant, left_ucr=grant.left_ucr - rolling_ucr)
        transfers += [_rollover_transfer(grant, rolling_ucr)] if rolling_ucr else []
        transfers += [expiry_transfer(rest)] if rest.left_ucr else []
    return transfers


def _rollover_transfer(grant: GrantBalance, amount_ucr: int) -> Transfer:
    to = grant.rolls_to
    assert to is not None, "only a tranche with a next one rolls over"
    amount, detail = format_credits(amount_ucr), {"grant": grant.id, "to": to}
    entries = moving(grant.account, grant_account(grant.startup, to), amount_ucr)
    reason = f"{amount} credits of tranche {grant.id} roll over to {to}"
    return _at_end(grant, "rollover", entries, reason, detail)


def expiry_transfer(grant: GrantBalance) -> Transfer:
    """Expire exactly what is left of a grant at its end, once."""
    entries = moving(grant.account, expired_account(grant.cohort), grant.left_ucr)
    reason = f"grant {grant.id} ended with {format_credits(grant.left_ucr)} credits left"
    return _at_end(grant, "expiry", entries, reason, {"grant": grant.id})


def _at_end(
    grant: GrantBalance, kind: str, entries: tuple[Entry, ...], reason: str, detail: dict[str, str]
) -> Transfer:
    key = f"{kind}:{grant.startup}:{grant.id}"
    startup, at_s = grant.startup, grant.expires_s
    return Transfer(key, kind, grant.cohort, startup, at_s, entries, reason, detail)


def apply_transfer(grants: Iterable[GrantBalance], transfer: Transfer) -> list[GrantBalance]:
    """The grants after a transfer moved some of them."""
    moved = {entry.account: entry.amount_ucr for entry in transfer.entries}
    return [
        replace(g, left_ucr=g.left_ucr + moved[g.account]) if g.account in moved else g
        for g in grants
    ]

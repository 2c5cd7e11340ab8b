"""What may a person do to the books? Grant, void, refund and transfer, as new transfers.

Nothing posted is ever changed: a correction is a later transfer. Each rule here is pure;
`quotas.book.deeds` reads what they need and persists what they answer.

* A void returns what is left of a grant to the sponsor.
* A refund returns seconds of a charge, by F(end) - F(start) of its run, to the accounts
  that the charge drew from: the last drawn first, none more than it gave. No second is
  returned twice. Where the grant has ended, the credit is forfeited right after.
* A transfer draws on the giver's grants in burn order. Each part arrives as a grant of
  its own with the category, priority and end of the grant that it came from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quotas.ledger import (
    Entry,
    GrantBalance,
    Transfer,
    burn_order,
    expired_account,
    grant_account,
    sponsor_account,
    usage_account,
)
from quotas.units import Period, cost_ucr, format_credits


class Refused(Exception):
    """A deed that the books do not allow: one sentence with the fix."""


@dataclass(frozen=True, slots=True)
class Refunded:
    """Seconds of a charge that were returned, and what each account got."""

    period: Period
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge in the book: what it drew from whom, in draw order, and its refunds so far."""

    key: str
    cohort: str
    startup: str
    run: str
    server: str
    period: Period
    run_start_s: int
    rate_ucr_per_h: int
    draws: tuple[Entry, ...]
    refunds: tuple[Refunded, ...] = ()

    def open_periods(self, window: Period) -> list[Period]:
        """The charge's seconds within a window that are not refunded yet, in order."""
        start_s = max(self.period.start_s, window.start_s)
        end_s = min(self.period.end_s, window.end_s)
        found = []
        for taken in sorted(refund.period for refund in self.refunds):
            if start_s < min(taken.start_s, end_s):
                found.append(Period(start_s, min(taken.start_s, end_s)))
            start_s = max(start_s, taken.end_s)
        if start_s < end_s:
            found.append(Period(start_s, end_s))
        return found

    def returned(self, period: Period) -> tuple[Entry, ...]:
        """What each account gets back for open seconds: the last drawn first."""
        given: dict[str, int] = defaultdict(int)
        for refund in self.refunds:
            for entry in refund.entries:
                given[entry.account] += entry.amount_ucr
        left_ucr = cost_ucr(self.rate_ucr_per_h, self.run_start_s, period)
        entries = []
        for draw in reversed(self.draws):
            back_ucr = min(left_ucr, draw.amount_ucr - given[draw.account])
            if back_ucr:
                entries.append(Entry(draw.account, back_ucr))
                left_ucr -= back_ucr
        if left_ucr:
            raise ValueError(f"charge {self.key} drew less than {period} cost")
        return tuple(entries)


def refund_transfers(charge: Charge, window: Period, at_s: int, reason: str) -> list[Transfer]:
    """Return every open second of a charge within a window; seconds that cost nothing stay."""
    transfers = []
    for period in charge.open_periods(window):
        back = charge.returned(period)
        if not back:
            continue
        amount_ucr = sum(entry.amount_ucr for entry in back)
        transfers.append(
            Transfer(
                key=f"refund:{charge.key}:{period.start_s}",
                kind="refund",
                cohort=charge.cohort,
                startup=charge.startup,
                at_s=at_s,
                entries=(Entry(usage_account(charge.startup), -amount_ucr), *back),
                reason=reason,
                detail={
                    "charge": charge.key,
                    "run": charge.run,
                    "server": charge.server,
                    "start_s": period.start_s,
                    "end_s": period.end_s,
                },
            )
        )
        charge = replace(charge, refunds=(*charge.refunds, Refunded(period, back)))
    return transfers


def forfeits(refund: Transfer, grants: Mapping[str, GrantBalance], now_s: int) -> list[Transfer]:
    """Forfeit at once what a refund returned to grants that have ended."""
    back = [(grants[e.account], e.amount_ucr) for e in refund.entries if e.account in grants]
    return [
        Transfer(
            key=f"expiry:{grant.startup}:{grant.id}:{refund.key}",
            kind="expiry",
            cohort=grant.cohort,
            startup=grant.startup,
            at_s=now_s,
            entries=(
                Entry(grant.account, -amount_ucr),
                Entry(expired_account(grant.cohort), amount_ucr),
            ),
            reason=f"grant {grant.id} had ended when {format_credits(amount_ucr)} came back",
            detail={"grant": grant.id},
        )
        for grant, amount_ucr in back
        if grant.expires_s <= now_s
    ]


def void_transfer(grant: GrantBalance, deed: str, at_s: int, reason: str) -> Transfer:
    """Return to the sponsor what is left of a grant. Raises Refused where nothing is."""
    if grant.left_ucr <= 0:
        raise Refused(
            f"grant {grant.id} of {grant.startup} has nothing left to void; all "
            f"{format_credits(grant.granted_ucr)} credits are used, voided or forfeited"
        )
    return Transfer(
        key=f"void:{grant.startup}:{grant.id}:{deed}",
        kind="void",
        cohort=grant.cohort,
        startup=grant.startup,
        at_s=at_s,
        entries=(
            Entry(grant.account, -grant.left_ucr),
            Entry(sponsor_account(grant.cohort), grant.left_ucr),
        ),
        reason=reason,
        detail={"grant": grant.id},
    )


@dataclass(frozen=True, slots=True)
class Move:
    """A part of a transfer between startups: what a grant gives, and the grant it becomes."""

    source: GrantBalance
    arrives: GrantBalance


def moves(
    grants: Iterable[GrantBalance], to: str, amount_ucr: int, now_s: int, number: int
) -> list[Move]:
    """Draw an amount on grants in burn order. Raises Refused where they hold less.

    Each part becomes the grant ID.NUMBER of the receiver: a dot is in no grant id of a
    program file, so that the two never meet.
    """
    usable = burn_order(grants, Period(now_s, now_s + 1))
    held_ucr = sum(grant.left_ucr for grant in usable)
    if held_ucr < amount_ucr:
        raise Refused(
            f"{format_credits(amount_ucr)} credits are more than the "
            f"{format_credits(held_ucr)} in the giver's grants now; transfer at most that"
        )
    found, left_ucr = [], amount_ucr
    for source in usable:
        part_ucr = min(source.left_ucr, left_ucr)
        if not part_ucr:
            break
        arrives = replace(
            source,
            startup=to,
            id=f"{source.id}.{number}",
            effective_s=now_s,
            granted_ucr=part_ucr,
            left_ucr=part_ucr,
        )
        found.append(Move(source, arrives))
        left_ucr -= part_ucr
    return found


def move_transfer(parts: Sequence[Move], deed: str, at_s: int, reason: str) -> Transfer:
    """One transfer for all parts, so that they move together or not at all."""
    giver, receiver = parts[0].source, parts[0].arrives
    out = tuple(Entry(part.source.account, -part.arrives.granted_ucr) for part in parts)
    into = tuple(
        Entry(grant_account(receiver.startup, part.arrives.id), part.arrives.granted_ucr)
        for part in parts
    )
    return Transfer(
        key=f"transfer:{giver.startup}:{deed}",
        kind="transfer",
        cohort=giver.cohort,
        startup=giver.startup,
        at_s=at_s,
        entries=(*out, *into),
        reason=reason,
        detail={"to": receiver.startup},
    )

"""Corrections by people: void, refund and move credits, as new transfers.

Nothing posted is ever changed: a correction is a later transfer. The functions here are pure;
the families of `quotas.book.actions` read what they need, and `execute` writes the results.

* A void returns what is left of a grant to the sponsor.
* A refund returns seconds of a charge, by F(end) - F(start) of its run, to the accounts
  that the charge drew from: the last drawn first, and to none more than it gave. No second
  is returned twice. If the grant has ended, the returned credits expire at once.
* A transfer draws on the giver's grants in burn order. Each part arrives as a grant of
  its own with the category, priority and end of the grant that it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from quotas.ledger.transfers import (
    Entry,
    GrantBalance,
    Transfer,
    burn_order,
    expired_account,
    grant_account,
    sponsor_account,
    usage_account,
)
from quotas.model.units import Period, cost_ucr, format_credits


class Refused(Exception):
    """The books do not allow an action: one sentence with the fix."""


@dataclass(frozen=True, slots=True)
class RefundedPeriod:
    """Seconds of a charge that were refunded, and what each account got back."""

    period: Period
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class CorrectedPeriod:
    """Seconds of a charge at another rate, with F counted from `origin_s`; what that moved."""

    period: Period
    rate_ucr_per_h: int
    origin_s: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge in the book: its draws on accounts in order, and what amended it so far."""

    key: str
    cohort: str
    startup: str
    run: str
    server: str
    period: Period
    run_start_s: int
    rate_ucr_per_h: int
    draws: tuple[Entry, ...]
    refunds: tuple[RefundedPeriod, ...] = ()
    corrections: tuple[CorrectedPeriod, ...] = ()
    flavor: str = ""

    def refundable_periods(self, window: Period) -> list[Period]:
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

    def rate_at(self, instant_s: int) -> tuple[int, int]:
        """The rate of a second of the charge, and from where F counts, after all corrections."""
        for each in reversed(self.corrections):
            if each.period.start_s <= instant_s < each.period.end_s:
                return each.rate_ucr_per_h, each.origin_s
        return self.rate_ucr_per_h, self.run_start_s

    def split_at_corrections(self, period: Period) -> list[Period]:
        """A period of the charge, cut where corrections begin and end."""
        edges = {e for c in self.corrections for e in (c.period.start_s, c.period.end_s)}
        inner = {edge for edge in edges if period.start_s < edge < period.end_s}
        points = sorted({period.start_s, period.end_s} | inner)
        return [Period(a, b) for a, b in pairwise(points)]

    def cost_ucr(self, period: Period) -> int:
        """What seconds of the charge cost, as corrected so far."""
        return sum(cost_ucr(*self.rate_at(p.start_s), p) for p in self.split_at_corrections(period))

    def refund_entries(self, period: Period) -> tuple[Entry, ...]:
        """What each account gets back for seconds not refunded yet: the last drawn first."""
        return self.return_entries(self.cost_ucr(period))

    def return_entries(self, amount_ucr: int) -> tuple[Entry, ...]:
        """What each account gets back of an amount: the last drawn first, none above its part."""
        drawn: dict[str, int] = {}
        moved = [entry for amended in self.corrections for entry in amended.entries]
        moved += [entry for amended in self.refunds for entry in amended.entries]
        later = [Entry(e.account, -e.amount_ucr) for e in moved if e.amount_ucr < 0]
        for draw in (*self.draws, *later):
            drawn[draw.account] = drawn.pop(draw.account, 0) + draw.amount_ucr
        for entry in moved:
            if entry.amount_ucr > 0:
                drawn[entry.account] -= entry.amount_ucr
        entries, left_ucr = [], amount_ucr
        for account, given_ucr in reversed(drawn.items()):
            back_ucr = min(left_ucr, given_ucr)
            if back_ucr:
                entries.append(Entry(account, back_ucr))
                left_ucr -= back_ucr
        if left_ucr:
            raise ValueError(f"charge {self.key} drew less than is to be returned")
        return tuple(entries)


def refund_transfers(charge: Charge, window: Period, at_s: int, reason: str) -> list[Transfer]:
    """Return every second of a charge within a window that cost credits and is not refunded yet."""
    transfers = []
    for period in charge.refundable_periods(window):
        return_entries = charge.refund_entries(period)
        if not return_entries:
            continue
        amount_ucr = sum(entry.amount_ucr for entry in return_entries)
        transfers.append(
            Transfer(
                key=f"refund:{charge.key}:{period.start_s}",
                kind="refund",
                cohort=charge.cohort,
                startup=charge.startup,
                at_s=at_s,
                entries=(Entry(usage_account(charge.startup), -amount_ucr), *return_entries),
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
        charge = replace(charge, refunds=(*charge.refunds, RefundedPeriod(period, return_entries)))
    return transfers


def expire_refunds(
    refund: Transfer, grants: Mapping[str, GrantBalance], now_s: int
) -> list[Transfer]:
    """Expire at once what a refund returned to grants that have ended."""
    return_entries = [
        (grants[e.account], e.amount_ucr) for e in refund.entries if e.account in grants
    ]
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
        for grant, amount_ucr in return_entries
        if grant.expires_s <= now_s
    ]


def void_transfer(
    name: str, grants: Sequence[GrantBalance], operator_action: str, at_s: int, reason: str
) -> Transfer:
    """Return to the sponsor what is left of a grant's parts. Raises Refused if nothing is."""
    startup, cohort = grants[0].startup, grants[0].cohort
    unused = [grant for grant in grants if grant.left_ucr > 0]
    if not unused:
        raise Refused(
            f"grant {name} of {startup} has nothing left to void; all "
            f"{format_credits(sum(grant.granted_ucr for grant in grants))} credits are used, "
            "voided or expired"
        )
    back_ucr = sum(grant.left_ucr for grant in unused)
    return Transfer(
        key=f"void:{startup}:{name}:{operator_action}",
        kind="void",
        cohort=cohort,
        startup=startup,
        at_s=at_s,
        entries=(
            *(Entry(grant.account, -grant.left_ucr) for grant in unused),
            Entry(sponsor_account(cohort), back_ucr),
        ),
        reason=reason,
        detail={"grant": name},
    )


@dataclass(frozen=True, slots=True)
class TransferPart:
    """A part of a transfer between startups: what a grant gives, and the grant it becomes."""

    source: GrantBalance
    destination: GrantBalance


def transfer_parts(
    grants: Iterable[GrantBalance], to: str, amount_ucr: int, now_s: int, number: int
) -> list[TransferPart]:
    """Draw an amount on grants in burn order. Raises Refused if they hold less.

    Each part becomes the grant ID.NUMBER of the receiver. No grant id of a program file has a
    dot, so the ids never collide.
    """
    usable = burn_order(grants, Period(now_s, now_s + 1))
    held_ucr = sum(grant.left_ucr for grant in usable)
    if held_ucr < amount_ucr:
        raise Refused(
            f"{format_credits(amount_ucr)} credits are more than the "
            f"{format_credits(held_ucr)} in the giver's grants now; transfer at most that"
        )
    return split_grants(usable, to, amount_ucr, now_s, number)


def split_grants(
    usable: Iterable[GrantBalance], to: str, amount_ucr: int, now_s: int, number: int
) -> list[TransferPart]:
    """Draw an amount on grants in the order given; each part is a grant ID.NUMBER from now on."""
    found, left_ucr = [], amount_ucr
    for source in usable:
        part_ucr = min(source.left_ucr, left_ucr)
        if not part_ucr:
            break
        destination = replace(
            source,
            startup=to,
            id=f"{source.id}.{number}",
            effective_s=now_s,
            granted_ucr=part_ucr,
            left_ucr=part_ucr,
            rolls_to=source.rolls_to if source.startup == to else None,
            rollover=source.rollover if source.startup == to else None,
        )
        found.append(TransferPart(source, destination))
        left_ucr -= part_ucr
    return found


def move_transfer(
    parts: Sequence[TransferPart],
    operator_action: str,
    at_s: int,
    reason: str,
    kind: str = "transfer",
) -> Transfer:
    """One transfer of all parts, so that they move together or not at all."""
    sender, receiver = parts[0].source, parts[0].destination
    out = tuple(Entry(part.source.account, -part.destination.granted_ucr) for part in parts)
    into = tuple(
        Entry(grant_account(receiver.startup, part.destination.id), part.destination.granted_ucr)
        for part in parts
    )
    return Transfer(
        key=f"{kind}:{sender.startup}:{operator_action}",
        kind=kind,
        cohort=sender.cohort,
        startup=sender.startup,
        at_s=at_s,
        entries=(*out, *into),
        reason=reason,
        detail={"to": receiver.startup},
    )

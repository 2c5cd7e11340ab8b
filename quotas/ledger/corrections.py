"""Corrections by people: void, refund and move credits, as new transfers.

Nothing posted is ever changed: a correction is a later transfer.

* A void returns what is left of a grant to the sponsor.
* A refund returns seconds of a charge, by F(end) - F(start) of its run, to the accounts that the
  charge drew from: the last drawn first, and to none more than it gave. No second is returned
  twice. If the grant has ended, the returned credits expire at once.
* A transfer draws on the giver's grants in burn order. Each part arrives as a grant of its own,
  with the category, priority and end of its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from quotas.ledger.transfers import (
    Entry,
    GrantBalance,
    Transfer,
    burn_order,
    expired_account,
    moving,
    sponsor_account,
    take_in_order,
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
        end_s = max(start_s, min(self.period.end_s, window.end_s))
        taken = [refund.period for refund in self.refunds]
        parts = Period(start_s, end_s).split(_edges(taken))
        return [part for part in parts if not any(each.holds(part.start_s) for each in taken)]

    def rate_at(self, instant_s: int) -> tuple[int, int]:
        """The rate of a second of the charge, and from where F counts, after all corrections."""
        for each in reversed(self.corrections):
            if each.period.holds(instant_s):
                return each.rate_ucr_per_h, each.origin_s
        return self.rate_ucr_per_h, self.run_start_s

    def split_at_corrections(self, period: Period) -> list[Period]:
        """A period of the charge, cut where corrections begin and end."""
        return period.split(_edges(each.period for each in self.corrections))

    def cost_ucr(self, period: Period) -> int:
        """What seconds of the charge cost, as corrected so far."""
        return sum(cost_ucr(*self.rate_at(p.start_s), p) for p in self.split_at_corrections(period))

    def return_entries(self, amount_ucr: int) -> tuple[Entry, ...]:
        """What each account gets back of an amount: the last drawn first, none above its part."""
        drawn: dict[str, int] = {}
        amended: Iterable[CorrectedPeriod | RefundedPeriod] = (*self.corrections, *self.refunds)
        moved = [entry for each in amended for entry in each.entries]
        later = [Entry(e.account, -e.amount_ucr) for e in moved if e.amount_ucr < 0]
        for draw in (*self.draws, *later):
            drawn[draw.account] = drawn.pop(draw.account, 0) + draw.amount_ucr
        for entry in moved:
            if entry.amount_ucr > 0:
                drawn[entry.account] -= entry.amount_ucr
        back, left_ucr = take_in_order(reversed(drawn.items()), amount_ucr)
        if left_ucr:
            raise ValueError(f"charge {self.key} drew less than is to be returned")
        return tuple(Entry(account, part_ucr) for account, part_ucr in back)

    @property
    def references(self) -> dict[str, int | str]:
        """The charge, its run and its server, for the detail of a transfer that amends it."""
        return {"charge": self.key, "run": self.run, "server": self.server}


def charge_from(transfer: Any, detail: Mapping[str, Any], sides: Iterable[Entry]) -> Charge:
    """A charge before anything amended it, from its transfer, or from the row of that one."""
    return Charge(
        key=transfer.key,
        cohort=transfer.cohort,
        startup=transfer.startup,
        run=detail["run"],
        server=detail["server"],
        period=Period(detail["start_s"], detail["end_s"]),
        run_start_s=detail["run_start_s"],
        rate_ucr_per_h=detail["rate_ucr_per_h"],
        draws=tuple(Entry(e.account, -e.amount_ucr) for e in sides if e.amount_ucr < 0),
        flavor=detail["flavor"],
    )


def _edges(periods: Iterable[Period]) -> Iterable[int]:
    return (edge for each in periods for edge in (each.start_s, each.end_s))


def refund_transfers(charge: Charge, window: Period, at_s: int, reason: str) -> list[Transfer]:
    """Return every second of a charge within a window that cost credits and is not refunded yet."""
    transfers = []
    for period in charge.refundable_periods(window):
        returned = charge.return_entries(charge.cost_ucr(period))
        if not returned:
            continue
        usage = Entry(usage_account(charge.startup), -sum(entry.amount_ucr for entry in returned))
        key, entries = f"refund:{charge.key}:{period.start_s}", (usage, *returned)
        detail = {**charge.references, **asdict(period)}
        owner = (charge.cohort, charge.startup)
        transfers.append(Transfer(key, "refund", *owner, at_s, entries, reason, detail))
        charge = replace(charge, refunds=(*charge.refunds, RefundedPeriod(period, returned)))
    return transfers


def expire_refunds(
    refund: Transfer, grants: Mapping[str, GrantBalance], now_s: int
) -> list[Transfer]:
    """Expire at once what a refund returned to grants that have ended."""
    transfers = []
    for entry in refund.entries:
        grant, amount_ucr = grants.get(entry.account), entry.amount_ucr
        if grant is None or grant.expires_s > now_s:
            continue
        key = f"expiry:{grant.startup}:{grant.id}:{refund.key}"
        entries = moving(grant.account, expired_account(grant.cohort), amount_ucr)
        reason = f"grant {grant.id} had ended when {format_credits(amount_ucr)} came back"
        owner, detail = (grant.cohort, grant.startup), {"grant": grant.id}
        transfers.append(Transfer(key, "expiry", *owner, now_s, entries, reason, detail))
    return transfers


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
    out = (Entry(grant.account, -grant.left_ucr) for grant in unused)
    back = Entry(sponsor_account(cohort), sum(grant.left_ucr for grant in unused))
    key = f"void:{startup}:{name}:{operator_action}"
    return Transfer(key, "void", cohort, startup, at_s, (*out, back), reason, {"grant": name})


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
    found = []
    for source, part_ucr in take_in_order(((g, g.left_ucr) for g in usable), amount_ucr)[0]:
        # A tranche of the giver rolls over to a tranche of the giver, never of another startup.
        stays = source.startup == to
        destination = replace(
            source,
            startup=to,
            id=f"{source.id}.{number}",
            effective_s=now_s,
            granted_ucr=part_ucr,
            left_ucr=part_ucr,
            rolls_to=source.rolls_to if stays else None,
            rollover=source.rollover if stays else None,
        )
        found.append(TransferPart(source, destination))
    return found


def move_transfer(
    parts: Sequence[TransferPart], action: str, at_s: int, reason: str, kind: str = "transfer"
) -> Transfer:
    """One transfer of all parts, so that they move together or not at all."""
    sender, detail = parts[0].source, {"to": parts[0].destination.startup}
    out = (Entry(part.source.account, -part.destination.granted_ucr) for part in parts)
    into = (Entry(part.destination.account, part.destination.granted_ucr) for part in parts)
    key, owner = f"{kind}:{sender.startup}:{action}", (sender.cohort, sender.startup)
    return Transfer(key, kind, *owner, at_s, (*out, *into), reason, detail)

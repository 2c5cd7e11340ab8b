"""Repricing: correct charges to another rate, and post what the program pays above charges.

A price correction brings each charged second that is not refunded to its right rate. If that is
cheaper, the difference returns to the accounts that the charge drew from, the last drawn first. If
it is dearer, the startup's grants pay only if the operator says so. F counts as if the run had been
cut at the change, so the sum is what a price known in time would have charged.

The sponsor bears what the program pays (at the newest accepted or believably listed price) above
what the startup is charged: price-difference:COHORT, against provider:COHORT.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from quotas.ledger.corrections import Charge, CorrectedPeriod, charge_from
from quotas.ledger.transfers import (
    Entry,
    GrantBalance,
    Transfer,
    apply_transfer,
    moving,
    payments,
    usage_account,
)
from quotas.metering.prices import Prices, Step, split_at_steps
from quotas.model.units import Period, cost_ucr, format_credits


def price_difference_account(cohort: str) -> str:
    """The sponsor's account for what the program pays above what startups are charged."""
    return f"price-difference:{cohort}"


def provider_account(cohort: str) -> str:
    """The counter account of price differences, on the provider's side."""
    return f"provider:{cohort}"


@dataclass(frozen=True, slots=True)
class RepricedCharge:
    """A charge after a correction, its transfers, and the grants after them."""

    charge: Charge
    transfers: tuple[Transfer, ...]
    grants: tuple[GrantBalance, ...]
    seconds: int
    old_ucr: int
    new_ucr: int


def correct_charge(
    charge: Charge, window: Period, step: Step, grants: Sequence[GrantBalance], change: PriceChange
) -> RepricedCharge:
    """Bring the seconds of a charge within a window that are not refunded to a step's rate."""
    origin_s = max(charge.run_start_s, step.from_s)
    transfers: list[Transfer] = []
    left, seconds, old_ucr, new_ucr = tuple(grants), 0, 0, 0
    for period in charge.refundable_periods(window):
        for part in charge.split_at_corrections(period):
            rate_ucr_per_h, _ = charge.rate_at(part.start_s)
            if rate_ucr_per_h == step.rate_ucr_per_h:
                continue
            was_ucr = charge.cost_ucr(part)
            due_ucr = cost_ucr(step.rate_ucr_per_h, origin_s, part)
            seconds += part.seconds
            old_ucr, new_ucr = old_ucr + was_ucr, new_ucr + due_ucr
            if due_ucr > was_ucr and not change.to_startup:
                continue
            sides = _sides(charge, part, due_ucr - was_ucr, left)
            made = CorrectedPeriod(part, step.rate_ucr_per_h, origin_s, sides)
            charge = replace(charge, corrections=(*charge.corrections, made))
            if due_ucr != was_ucr:
                transfers.append(_transfer(charge, made, change))
                left = tuple(apply_transfer(left, transfers[-1]))
    return RepricedCharge(charge, tuple(transfers), left, seconds, old_ucr, new_ucr)


@dataclass(frozen=True, slots=True)
class PriceChange:
    """The change of price that a correction follows: its version, instant and reason."""

    version: int
    at_s: int
    reason: str
    to_startup: bool = False


def _sides(
    charge: Charge, part: Period, more_ucr: int, grants: Iterable[GrantBalance]
) -> tuple[Entry, ...]:
    """The accounts that get back what a period costs less, or pay what it costs more."""
    if more_ucr <= 0:
        return charge.return_entries(-more_ucr)
    return tuple(payments(charge.cohort, grants, part, more_ucr))


def _transfer(charge: Charge, made: CorrectedPeriod, change: PriceChange) -> Transfer:
    usage = Entry(usage_account(charge.startup), -sum(e.amount_ucr for e in made.entries))
    key = f"correction:{charge.key}:{made.period.start_s}:{change.version}"
    owner, entries = (charge.cohort, charge.startup), (usage, *made.entries)
    detail = {
        **charge.references,
        "flavor": charge.flavor,
        **asdict(made.period),
        "rate_ucr_per_h": made.rate_ucr_per_h,
        "origin_s": made.origin_s,
        "version": change.version,
    }
    return Transfer(key, "correction", *owner, change.at_s, entries, change.reason, detail)


def difference_ucr(charge: Charge, paid: Sequence[Step]) -> int:
    """What the program pays for the whole charge above what it is charged, refunds aside."""
    if not paid:
        return 0
    total_ucr = 0
    for part in charge.split_at_corrections(charge.period):
        rate_ucr_per_h, origin_s = charge.rate_at(part.start_s)
        for piece, step in split_at_steps(paid, part):
            # Equal rates are equal costs, wherever F begins to count.
            if step.rate_ucr_per_h != rate_ucr_per_h:
                from_s = max(charge.run_start_s, min(step.from_s, piece.start_s))
                total_ucr += cost_ucr(step.rate_ucr_per_h, from_s, piece)
                total_ucr -= cost_ucr(rate_ucr_per_h, origin_s, piece)
    return total_ucr


def difference_transfer(
    charge: Charge, more_ucr: int, at_s: int, prices: Prices, version: int | None = None
) -> Transfer:
    """Post to the sponsor's account what the program pays above (or below) a charge.

    `prices` are those it was computed from, for later checks. `version` is the accepted one if
    that version, and not the charge, is the cause.
    """
    key = f"difference:{charge.key}" + ("" if version is None else f":{version}")
    cohort, more = charge.cohort, format_credits(more_ucr)
    entries = moving(price_difference_account(cohort), provider_account(cohort), more_ucr)
    reason = f"the program pays {more} more than is charged for {charge.flavor}"
    detail = {"charge": charge.key, **asdict(charge.period), "version": prices.newest}
    detail["listed_s"] = prices.listed_s(charge.flavor)
    return Transfer(key, "difference", cohort, charge.startup, at_s, entries, reason, detail)


def with_differences(transfers: Sequence[Transfer], prices: Prices) -> tuple[Transfer, ...]:
    """Transfers that are posted now, and after them the price differences of their charges."""
    found = []
    for transfer in transfers:
        if transfer.kind == "charge":
            charge = charge_from(transfer, transfer.detail, transfer.entries)
            more_ucr = difference_ucr(charge, prices.paid(charge.flavor))
            if more_ucr:
                found.append(difference_transfer(charge, more_ucr, transfer.at_s, prices))
    return (*transfers, *found)

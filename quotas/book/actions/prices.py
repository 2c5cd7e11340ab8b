"""What does a price that an operator accepts change, of what is charged and of what it costs?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from quotas.book.actions.commands import OperatorAction, PriceCommand
from quotas.book.cycle.state import read_grants, read_prices
from quotas.book.schema.tables import OFFER, RUN
from quotas.book.verify.refunds import read_charges, read_differences
from quotas.ledger.corrections import Refused, expire_refunds
from quotas.ledger.repricing import (
    PriceChange,
    RepricedCharge,
    correct_charge,
    difference_transfer,
    difference_ucr,
)
from quotas.ledger.transfers import GrantBalance, Transfer
from quotas.metering.prices import (
    FACTOR_MAX,
    STARTUP,
    Prices,
    Step,
    Version,
    is_absurd,
    split_at_steps,
    step_at,
)
from quotas.metering.rating import fixed_at
from quotas.model.program import Program
from quotas.model.units import Period, format_credits, format_instant


@dataclass(frozen=True, slots=True)
class AcceptedPrice:
    """The version that an order puts in force, what it posts, and the answer to it."""

    version: Version
    transfers: tuple[Transfer, ...]
    answer: dict[str, Any]


def accept_price(
    connection: Connection, program: Program, operator_action: OperatorAction, command: PriceCommand
) -> AcceptedPrice:
    """What accepting a price comes to. Raises Refused."""
    prices = read_prices(connection)
    _refuse(connection, program, operator_action, command, prices)
    version = Version(
        prices.newest + 1,
        command.from_s,
        command.rate_ucr_per_h,
        operator_action.now_s,
        command.bearer,
        operator_action.actor,
    )
    own = (*prices.versions.get(command.flavor, ()), version)
    after = replace(prices, versions={**prices.versions, command.flavor: own})
    transfers, sums, sponsor_ucr = _corrections(
        connection, program, operator_action, command, version, after
    )
    if not transfers and _prices_equal(program, command.flavor, prices, after):
        raise Refused(
            f"{command.flavor} is at {format_credits(command.rate_ucr_per_h)} credits an hour from "
            f"{format_instant(command.from_s)} already, and nothing is left to correct; give "
            "another price or instant"
        )
    return AcceptedPrice(
        version, tuple(transfers), _answer(program, command, version, sums, sponsor_ucr)
    )


def _refuse(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: PriceCommand,
    prices: Prices,
) -> None:
    sold = set(connection.scalars(select(OFFER.c.flavor).where(OFFER.c.gpus > 0)))
    known = sold | set(prices.versions)
    if command.flavor not in known:
        listed = ", ".join(sorted(known)) or "none yet: start 'cohortd run' once"
        raise Refused(f"no flavor {command.flavor!r} is known; known are {listed}")
    earliest_s = min([operator_action.now_s, *(cohort.starts_s for cohort in program.cohorts)])
    if command.from_s < earliest_s:
        raise Refused(
            f"--from {format_instant(command.from_s)} is before any cohort starts; give "
            f"{format_instant(earliest_s)} or later"
        )
    last = prices.in_force(command.flavor, command.from_s)
    if (
        last is not None
        and is_absurd(command.rate_ucr_per_h, last.rate_ucr_per_h)
        and command.confirm != command.flavor
    ):
        raise Refused(
            f"{format_credits(command.rate_ucr_per_h)} credits an hour is more than {FACTOR_MAX} "
            f"times away from the {format_credits(last.rate_ucr_per_h)} in force; check it, then "
            f"give --confirm {command.flavor}"
        )


@dataclass(frozen=True, slots=True)
class _Sums:
    """What changes for one startup."""

    seconds: int = 0
    old_ucr: int = 0
    new_ucr: int = 0
    posted_ucr: int = 0
    expired_ucr: int = 0


def _corrections(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: PriceCommand,
    version: Version,
    prices: Prices,
) -> tuple[list[Transfer], dict[str, _Sums], int]:
    """The transfers that amend what is charged already, sums by startup, and the sponsor's."""
    window = Period(command.from_s, max(command.from_s, operator_action.now_s))
    ran = select(RUN.c.startup).where(RUN.c.flavor == command.flavor).distinct()
    startups = sorted(connection.scalars(ran))
    charges = [
        each for each in read_charges(connection, startups, window) if each.flavor == command.flavor
    ]
    posted = read_differences(connection, startups) if charges else {}
    grants = {grant.account: grant for grant in read_grants(connection)}
    change = PriceChange(
        version.id, operator_action.now_s, operator_action.reason, command.bearer == STARTUP
    )
    transfers: list[Transfer] = []
    sums: dict[str, _Sums] = defaultdict(_Sums)
    sponsor_ucr = 0
    for charge in charges:
        steps = prices.charged(command.flavor, fixed_at(program, charge.cohort))
        for part in _affected_periods(prices, steps, version, window):
            own = [grant for grant in grants.values() if grant.startup == charge.startup]
            step = Step(version.from_s, version.rate_ucr_per_h, version.id)
            made = correct_charge(charge, part, step, own, change)
            charge = made.charge
            grants |= {grant.account: grant for grant in made.grants}
            lost = _expire_returned(made, grants, operator_action.now_s)
            transfers += [*made.transfers, *lost]
            sums[charge.startup] = _add_sums(sums[charge.startup], made, lost)
        more_ucr = difference_ucr(charge, prices.paid(command.flavor)) - posted.get(charge.key, 0)
        if more_ucr:
            transfers.append(
                difference_transfer(charge, more_ucr, operator_action.now_s, prices, version.id)
            )
            sponsor_ucr += more_ucr
    return (
        transfers,
        {name: each for name, each in sorted(sums.items()) if each.seconds},
        (sponsor_ucr),
    )


def _affected_periods(
    prices: Prices, charged: Sequence[Step], version: Version, window: Period
) -> list[Period]:
    """Where the version changes what is charged, or else where it only is in force."""
    for steps in (charged, prices.accepted(version)):
        if not window.seconds:
            return []
        found = [part for part, step in split_at_steps(steps, window) if step.version == version.id]
        if found:
            return found
    return []


def _expire_returned(
    made: RepricedCharge, grants: dict[str, GrantBalance], now_s: int
) -> list[Transfer]:
    """What came back to grants that have ended is forfeited at once."""
    cheaper = [each for each in made.transfers if each.entries[0].amount_ucr < 0]
    return [lost for each in cheaper for lost in expire_refunds(each, grants, now_s)]


def _add_sums(sums: _Sums, made: RepricedCharge, lost: Sequence[Transfer]) -> _Sums:
    return _Sums(
        sums.seconds + made.seconds,
        sums.old_ucr + made.old_ucr,
        sums.new_ucr + made.new_ucr,
        sums.posted_ucr + sum(each.entries[0].amount_ucr for each in made.transfers),
        sums.expired_ucr + sum(each.entries[1].amount_ucr for each in lost),
    )


def _prices_equal(program: Program, flavor: str, before: Prices, after: Prices) -> bool:
    """Whether no second, of any cohort or of one to come, is priced otherwise than before."""
    starts = {fixed_at(program, cohort.name) for cohort in program.cohorts} | {None}
    edges = {step.from_s for step in after.paid(flavor)}
    edges |= {s.from_s for at in starts for s in after.charged(flavor, at)}
    pairs = [(before.charged(flavor, at), after.charged(flavor, at)) for at in starts]
    pairs.append((before.paid(flavor), after.paid(flavor)))
    return all(
        bool(old) and step_at(old, edge).rate_ucr_per_h == step_at(new, edge).rate_ucr_per_h
        for old, new in pairs
        for edge in edges
    )


def _answer(
    program: Program,
    command: PriceCommand,
    version: Version,
    sums: dict[str, _Sums],
    sponsor_ucr: int,
) -> dict[str, Any]:
    rate, from_ = format_credits(command.rate_ucr_per_h), format_instant(command.from_s)
    startups = {
        name: {
            "seconds": each.seconds,
            "old": format_credits(each.old_ucr),
            "new": format_credits(each.new_ucr),
            "difference": format_credits(each.new_ucr - each.old_ucr),
            "posted": format_credits(each.posted_ucr),
            "expired": format_credits(each.expired_ucr),
        }
        for name, each in sums.items()
    }
    parts = [
        f"{name}: {each['seconds']} s, {each['old']} charged, {each['new']} due, "
        f"{each['posted']} posted"
        for name, each in startups.items()
    ]
    if not version.is_correction and program.prices == "fixed" and command.bearer != STARTUP:
        parts.append("cohorts that have started by then keep their fixed rate")
    if sponsor_ucr:
        parts.append(f"{format_credits(sponsor_ucr)} to the sponsor's price difference")
    return {
        "flavor": command.flavor,
        "credits_per_hour": rate,
        "from": from_,
        "correction": version.is_correction,
        "startups": startups,
        "price_difference": format_credits(sponsor_ucr),
        "sentence": f"{command.flavor} is at {rate} credits an hour from {from_}"
        + "".join(f"; {part}" for part in parts),
    }

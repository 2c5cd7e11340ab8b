"""Prices: put a rate in force, and correct what was charged at another rate since then."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select

from quotas.book.actions.action import ActionAnswer, ActionContext, ActionEffects
from quotas.book.cycle.state import read_grants, read_prices
from quotas.book.reads.charges import read_charges, read_differences
from quotas.book.schema.tables import OFFER, RUN
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
class PriceCommand:
    """Put a flavor's rate in force from an instant on.

    `bearer` pays what the rate adds to time that was charged already.
    """

    flavor: str
    rate_ucr_per_h: int
    from_s: int
    bearer: str = "sponsor"
    confirm: str | None = None

    def effects(self, context: ActionContext) -> ActionEffects:
        """A price version, and transfers that correct earlier charges. Raises Refused."""
        prices, action = read_prices(context.connection), context.action
        self._refuse_unlikely(context, prices)
        terms = (self.from_s, self.rate_ucr_per_h, context.now_s, self.bearer, action.actor)
        version = Version(prices.newest + 1, *terms)
        own = (*prices.versions.get(self.flavor, ()), version)
        after = replace(prices, versions={**prices.versions, self.flavor: own})
        made = _corrections(context, self, version, after)
        if not made.transfers and _prices_equal(context.program, self.flavor, prices, after):
            raise Refused(
                f"{self.flavor} is at {format_credits(self.rate_ucr_per_h)} credits an hour from "
                f"{format_instant(self.from_s)} already, and nothing is left to correct; give "
                "another price or instant"
            )
        row = {**asdict(version), "flavor": self.flavor, "reason": context.reason}
        answer = _answer(context.program, self, version, made)
        return ActionEffects(tuple(made.transfers), answer, price=row)

    def _refuse_unlikely(self, context: ActionContext, prices: Prices) -> None:
        """Raises Refused for an unknown flavor, a too early instant, or a rate that looks wrong."""
        sold = select(OFFER.c.flavor).where(OFFER.c.gpus > 0)
        known = {*context.connection.scalars(sold), *prices.versions}
        if self.flavor not in known:
            listed = ", ".join(sorted(known)) or "none yet: start 'cohortd run' once"
            raise Refused(f"no flavor {self.flavor!r} is known; known are {listed}")
        starts = (cohort.starts_s for cohort in context.program.cohorts)
        earliest_s = min([context.now_s, *starts])
        if self.from_s < earliest_s:
            raise Refused(
                f"--from {format_instant(self.from_s)} is before any cohort starts; give "
                f"{format_instant(earliest_s)} or later"
            )
        last = prices.in_force(self.flavor, self.from_s)
        if last is None or self.confirm == self.flavor:
            return
        if is_absurd(self.rate_ucr_per_h, last.rate_ucr_per_h):
            raise Refused(
                f"{format_credits(self.rate_ucr_per_h)} credits an hour is more than {FACTOR_MAX} "
                f"times away from the {format_credits(last.rate_ucr_per_h)} in force; check it, "
                f"then give --confirm {self.flavor}"
            )


@dataclass(frozen=True, slots=True)
class _Corrections:
    """Transfers that amend charges, seconds and amounts by startup, and the sponsor's part."""

    transfers: list[Transfer]
    startups: dict[str, Counter[str]]
    sponsor_ucr: int


def _corrections(
    context: ActionContext, command: PriceCommand, version: Version, prices: Prices
) -> _Corrections:
    now_s, connection = context.now_s, context.connection
    window = Period(command.from_s, max(command.from_s, now_s))
    ran = select(RUN.c.startup).where(RUN.c.flavor == command.flavor).distinct()
    startups = sorted(connection.scalars(ran))
    found = read_charges(connection, startups, window)
    charges = [each for each in found if each.flavor == command.flavor]
    posted = read_differences(connection, startups) if charges else {}
    grants = {grant.account: grant for grant in read_grants(connection)}
    change = PriceChange(version.id, now_s, context.reason, command.bearer == STARTUP)
    step = Step(version.from_s, version.rate_ucr_per_h, version.id)
    transfers: list[Transfer] = []
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    sponsor_ucr = 0
    for charge in charges:
        steps = prices.charged(command.flavor, fixed_at(context.program, charge.cohort))
        for part in _affected_periods(prices, steps, version, window):
            own = [grant for grant in grants.values() if grant.startup == charge.startup]
            made = correct_charge(charge, part, step, own, change)
            charge = made.charge
            grants |= {grant.account: grant for grant in made.grants}
            lost = _expire_returned(made, grants, now_s)
            transfers += [*made.transfers, *lost]
            sums[charge.startup].update(
                seconds=made.seconds,
                old=made.old_ucr,
                new=made.new_ucr,
                difference=made.new_ucr - made.old_ucr,
                posted=sum(each.entries[0].amount_ucr for each in made.transfers),
                expired=sum(each.entries[1].amount_ucr for each in lost),
            )
        more_ucr = difference_ucr(charge, prices.paid(command.flavor)) - posted.get(charge.key, 0)
        if more_ucr:
            transfers.append(difference_transfer(charge, more_ucr, now_s, prices, version.id))
            sponsor_ucr += more_ucr
    changed = {name: each for name, each in sorted(sums.items()) if each["seconds"]}
    return _Corrections(transfers, changed, sponsor_ucr)


def _affected_periods(
    prices: Prices, charged: Sequence[Step], version: Version, window: Period
) -> list[Period]:
    """When the version changes what startups are charged, or else when it is in force at all."""
    if not window.seconds:
        return []
    for steps in (charged, prices.accepted(version)):
        found = [part for part, step in split_at_steps(steps, window) if step.version == version.id]
        if found:
            return found
    return []


def _expire_returned(
    made: RepricedCharge, grants: dict[str, GrantBalance], now_s: int
) -> list[Transfer]:
    """What returns to grants that have ended expires at once."""
    cheaper = [each for each in made.transfers if each.entries[0].amount_ucr < 0]
    return [lost for each in cheaper for lost in expire_refunds(each, grants, now_s)]


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
    program: Program, command: PriceCommand, version: Version, made: _Corrections
) -> ActionAnswer:
    rate, from_ = format_credits(command.rate_ucr_per_h), format_instant(command.from_s)
    startups = {
        name: {what: n if what == "seconds" else format_credits(n) for what, n in own.items()}
        for name, own in made.startups.items()
    }
    parts = [
        f"{name}: {each['seconds']} s, {each['old']} charged, {each['new']} due, "
        f"{each['posted']} posted"
        for name, each in startups.items()
    ]
    if not version.is_correction and program.prices == "fixed" and command.bearer != STARTUP:
        parts.append("cohorts that have started by then keep their fixed rate")
    if made.sponsor_ucr:
        parts.append(f"{format_credits(made.sponsor_ucr)} to the sponsor's price difference")
    return {
        "flavor": command.flavor,
        "credits_per_hour": rate,
        "from": from_,
        "correction": version.is_correction,
        "startups": startups,
        "price_difference": format_credits(made.sponsor_ucr),
        "sentence": f"{command.flavor} is at {rate} credits an hour from {from_}"
        + "".join(f"; {part}" for part in parts),
    }

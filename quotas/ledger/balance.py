"""Balances: what a startup has at one instant, posted, accrued, held, reserved, available."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from quotas.ledger.expiry import (
    Expiry,
    apply_rollovers,
    draw_down,
    expire_grants,
    forecast_expiries,
    stop_run,
)
from quotas.ledger.holds import Hold
from quotas.ledger.tranches import is_tranche
from quotas.ledger.transfers import GrantBalance
from quotas.metering.runs import Run
from quotas.model.units import HOUR_S, Period, cost_ucr, spent_after_s

CYCLE_S = 30
"""The default time between cycles, which is part of every reserve."""


class Owned(Protocol):
    """A row that belongs to one startup."""

    @property
    def startup(self) -> str:
        """The name of the startup."""


Row = TypeVar("Row", bound=Owned)


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits of one startup at `as_of_s`, in ucr.

    `available_ucr` reaches 0 at `exhausted_s`: `as_of_s` if it did before, None if nothing burns.
    `expiries` are those at the present burn, `idle_expiries` those if nothing more burned.
    `later_ucr` is in grants that begin after `as_of_s`; the next tranche begins at `later_s`.
    """

    startup: str
    as_of_s: int
    granted_ucr: int
    posted_ucr: int
    accrued_ucr: int
    held_ucr: int
    reserve_ucr: int
    burn_ucr_per_h: int
    exhausted_s: int | None
    later_ucr: int = 0
    later_s: int | None = None
    expiries: tuple[Expiry, ...] = ()
    idle_expiries: tuple[Expiry, ...] = ()
    next_edge_s: int | None = None

    @property
    def available_ucr(self) -> int:
        """The credits that may still be spent, after the cost of an orderly stop."""
        return self.posted_ucr - self.accrued_ucr - self.held_ucr - self.reserve_ucr

    @property
    def expiring(self) -> Expiry | None:
        """All credits that expire at the next instant of expiry, if nothing more burned."""
        if not self.idle_expiries:
            return None
        first = self.idle_expiries[0]
        same = [each for each in self.idle_expiries if each.at_s == first.at_s]
        names = ", ".join(each.grant for each in same)
        return replace(first, grant=names, amount_ucr=sum(each.amount_ucr for each in same))


def balances_of(
    reserve_s: Mapping[str, int],
    now_s: int,
    grants: Iterable[GrantBalance],
    runs: Iterable[Run],
    confirmed: Mapping[str, int],
    holds: Iterable[Hold] = (),
) -> dict[str, Balance]:
    """The balance of each startup that has a reserve, from one reading of the books."""
    own_grants, own_runs, own_holds = by_startup(grants), by_startup(runs), by_startup(holds)
    return {
        name: balance(
            name, now_s, own_grants[name], own_runs[name], confirmed, for_s, own_holds[name]
        )
        for name, for_s in sorted(reserve_s.items())
    }


def balance(
    startup: str,
    now_s: int,
    grants: Iterable[GrantBalance],
    runs: Iterable[Run],
    confirmed: Mapping[str, int],
    reserve_s: int,
    holds: Iterable[Hold] = (),
) -> Balance:
    """Balance of a startup now; `reserve_s` = minimum notice + cycle + stop latency.

    Usage is accrued up to each zone's confirmed instant: unknown time is not charged. Credits that
    wait to roll over are counted in the next tranche.
    """
    own = sorted((g for g in grants if g.startup == startup), key=lambda g: (g.created, g.id))
    mine = [run for run in runs if run.startup == startup]
    set_aside = [hold for hold in holds if hold.startup == startup]
    held = sum(hold.amount_ucr for hold in set_aside)
    usable, paid = apply_rollovers(own, mine, confirmed, now_s)
    in_force = [g for g in usable if g.effective_s <= now_s < g.expires_s]
    accrued = sum(run.accrued_ucr(confirmed.get(run.zone, run.start_s)) for run in mine) - paid
    burn = sum(run.rate_ucr_per_h or 0 for run in mine if run.end_s is None)
    reserve = -(-burn * reserve_s // HOUR_S)
    later = [g for g in own if g.left_ucr > 0 and g.effective_s > now_s]
    edges = {e for g in own if g.left_ucr > 0 for e in (g.effective_s, g.expires_s)}
    edges |= {hold.expires_s for hold in set_aside}
    expiries = idle = forecast_expiries(now_s, own, mine)
    if any(run.end_s is None for run in mine):
        off = [stop_run(run, confirmed) for run in mine]
        idle = forecast_expiries(now_s, own, off)
    return Balance(
        startup=startup,
        as_of_s=now_s,
        granted_ucr=_granted_ucr(own, now_s),
        posted_ucr=sum(g.left_ucr for g in in_force) + held,
        accrued_ucr=accrued,
        held_ucr=held,
        reserve_ucr=reserve,
        burn_ucr_per_h=burn,
        exhausted_s=exhaustion_s(now_s, usable, accrued + reserve, burn),
        later_ucr=sum(g.left_ucr for g in later),
        later_s=min((g.effective_s for g in later if is_tranche(g.id)), default=None),
        expiries=expiries,
        idle_expiries=idle,
        next_edge_s=min((edge for edge in edges if edge > now_s), default=None),
    )


def by_startup(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    """Rows grouped by their startup, each in its order."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.startup].append(row)
    return found


def _granted_ucr(own: Sequence[GrantBalance], now_s: int) -> int:
    """All credits that took effect. The part advanced from a tranche counts once."""
    begun = {g.id for g in own if g.effective_s <= now_s}
    return sum(
        g.granted_ucr
        for g in own
        if g.id in begun and not (is_tranche(g.id) and g.id.rpartition(".")[0] in begun)
    )


def exhaustion_s(
    now_s: int, grants: Sequence[GrantBalance], set_aside_ucr: int, burn_ucr_per_h: int
) -> int | None:
    """The first instant at which the grants no longer cover the burn and `set_aside_ucr`.

    This is the only forecast of an exhaustion. It spends in burn order from edge to edge of the
    grants. At each edge a tranche may begin, credits may roll over, and the rest expires.
    """
    if burn_ucr_per_h == 0:
        return None
    edges = sorted({e for g in grants for e in (g.effective_s, g.expires_s) if e > now_s})
    left = list(grants)
    start_s = now_s
    for end_s in [*edges, None]:
        usable_ucr = sum(g.left_ucr for g in left if g.effective_s <= start_s < g.expires_s)
        spare_ucr = usable_ucr - set_aside_ucr
        if spare_ucr <= 0:
            return start_s
        # Counted from now, as a charge is from its run's start: edges drop no fraction.
        spent_ucr = burn_ucr_per_h * (start_s - now_s) // HOUR_S
        empty_s = now_s + spent_after_s(burn_ucr_per_h, spent_ucr + spare_ucr)
        if end_s is None or empty_s < end_s:
            return empty_s
        period = Period(start_s, end_s)
        left, _ = draw_down(left, cost_ucr(burn_ucr_per_h, now_s, period), period)
        left, _ = expire_grants(left, end_s)
        start_s = end_s
    raise AssertionError("the last stretch has no end, so it always returns")

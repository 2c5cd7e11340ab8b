"""What does a startup have, from one instant: posted, accrued, held, reserve, available?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from quotas.ledger import GrantBalance, burn_order
from quotas.metering import Run
from quotas.units import HOUR_S, Period, cost_ucr, spent_after_s


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits of one startup at `as_of_s`, in ucr; `exhausted_s` is when available is 0.

    available = posted - accrued - held - reserve. `exhausted_s` is None where nothing
    burns, and `as_of_s` where available is already used up.
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
    """Granted, and not in force yet."""

    @property
    def available_ucr(self) -> int:
        """What may still be spent, the cost of an orderly stop set aside."""
        return self.posted_ucr - self.accrued_ucr - self.held_ucr - self.reserve_ucr


def balance(
    startup: str,
    now_s: int,
    grants: Iterable[GrantBalance],
    runs: Iterable[Run],
    confirmed: dict[str, int],
    reserve_s: int,
) -> Balance:
    """Balance of a startup now; `reserve_s` = minimum notice + cycle + stop latency.

    Accrued is counted to each zone's confirmed instant: what is not known is not charged.
    """
    own = sorted((g for g in grants if g.startup == startup), key=lambda g: (g.created, g.id))
    mine = [run for run in runs if run.startup == startup]
    in_force = [g for g in own if g.effective_s <= now_s < g.expires_s]
    accrued = sum(run.accrued_ucr(confirmed.get(run.zone, run.start_s)) for run in mine)
    burn = sum(run.rate_ucr_per_h or 0 for run in mine if run.end_s is None)
    reserve = -(-burn * reserve_s // HOUR_S)
    return Balance(
        startup=startup,
        as_of_s=now_s,
        granted_ucr=sum(g.granted_ucr for g in own if g.effective_s <= now_s),
        posted_ucr=sum(g.left_ucr for g in in_force),
        accrued_ucr=accrued,
        held_ucr=0,
        reserve_ucr=reserve,
        burn_ucr_per_h=burn,
        exhausted_s=exhaustion_s(now_s, own, accrued + reserve, burn),
        later_ucr=sum(g.left_ucr for g in own if g.effective_s > now_s),
    )


def exhaustion_s(
    now_s: int, grants: Sequence[GrantBalance], set_aside_ucr: int, burn_ucr_per_h: int
) -> int | None:
    """First instant at which the grants no longer cover the burn and what is set aside.

    Burn is constant until the next change, and grants begin and end at known instants:
    walk from edge to edge, spending in burn order, forfeiting what is left at each end.
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
        left = _spend(left, cost_ucr(burn_ucr_per_h, now_s, period), period)
        start_s = end_s
    raise AssertionError("the last stretch has no end, so it always returns")


def _spend(grants: list[GrantBalance], amount_ucr: int, period: Period) -> list[GrantBalance]:
    drawn: dict[str, int] = {}
    for grant in burn_order(grants, period):
        drawn[grant.id] = min(grant.left_ucr, amount_ucr)
        amount_ucr -= drawn[grant.id]
    return [replace(g, left_ucr=g.left_ucr - drawn.get(g.id, 0)) for g in grants]

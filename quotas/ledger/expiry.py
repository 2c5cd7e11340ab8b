"""Forecasts of expiry: the credits that will expire if the running servers go on.

The burn order is walked from edge to edge to the end of every grant, with the sums that charging
uses. If nothing changes, the forecast is what is posted later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quotas.ledger.transfers import GrantBalance, burn_order, rolling, take_in_order
from quotas.metering.runs import Run
from quotas.model.units import Period


@dataclass(frozen=True, slots=True)
class Expiry:
    """Credits of a grant, or of a tranche, that would be unused at its end."""

    grant: str
    at_s: int
    amount_ucr: int
    effective_s: int


def forecast_expiries(
    now_s: int, grants: Sequence[GrantBalance], runs: Sequence[Run]
) -> tuple[Expiry, ...]:
    """Every expiry to come at the present burn, in order of time, without credits in holds."""
    left = [grant for grant in grants if grant.expires_s > now_s and grant.left_ucr > 0]
    rolled = {grant.rolls_to for grant in left}
    left += [g for g in grants if g.left_ucr == 0 and g.id in rolled]
    edges = sorted({e for g in left for e in (g.effective_s, g.expires_s) if e > now_s})
    found: list[Expiry] = []
    start_s, so_far_ucr = now_s, 0
    for end_s in edges:
        cost_so_far_ucr = sum(run.accrued_ucr(end_s) for run in runs)
        left, _ = draw_down(left, cost_so_far_ucr - so_far_ucr, Period(start_s, end_s))
        left, over = expire_grants(left, end_s)
        found += over
        start_s, so_far_ucr = end_s, cost_so_far_ucr
    return tuple(found)


def stop_run(run: Run, confirmed: Mapping[str, int]) -> Run:
    """The run as if its server had stopped at the instant up to which it is known."""
    known_s = max(confirmed.get(run.zone, run.start_s), run.posted_until_s)
    return run if run.end_s is not None else replace(run, end_s=known_s)


def draw_down(
    grants: Sequence[GrantBalance], amount_ucr: int, period: Period
) -> tuple[list[GrantBalance], int]:
    """The grants after a cost over a period, and what of it none of them covered."""
    if not amount_ucr:
        return list(grants), 0
    usable = ((grant.id, grant.left_ucr) for grant in burn_order(grants, period))
    taken, uncovered_ucr = take_in_order(usable, amount_ucr)
    drawn = dict(taken)
    return [_adjust(g, -drawn.get(g.id, 0)) for g in grants], uncovered_ucr


def expire_grants(
    grants: Sequence[GrantBalance], at_s: int
) -> tuple[list[GrantBalance], list[Expiry]]:
    """The grants after those that end at an instant rolled over, and what of these expires."""
    over = [grant for grant in grants if grant.expires_s == at_s and grant.left_ucr > 0]
    if not over:
        return list(grants), []
    parts = rolling(over)
    moved: dict[str | None, int] = defaultdict(int)
    for grant, rolling_ucr in parts:
        moved[grant.rolls_to] += rolling_ucr
    over_ids = {grant.id for grant in over}
    after = [_adjust(g, -g.left_ucr if g.id in over_ids else moved.get(g.id, 0)) for g in grants]
    rests = [(g, g.left_ucr - rolling_ucr) for g, rolling_ucr in parts]
    return after, [Expiry(g.id, at_s, rest, g.effective_s) for g, rest in rests if rest > 0]


def apply_rollovers(
    grants: Sequence[GrantBalance], runs: Sequence[Run], confirmed: Mapping[str, int], now_s: int
) -> tuple[list[GrantBalance], int]:
    """The grants as if ended tranches had rolled over, and the accrued cost paid before that.

    The rollover is posted only when every zone is known past the end and all earlier usage is
    charged. The credits are the startup's meanwhile too.
    """
    left, paid_ucr = list(grants), 0
    waiting = (g for g in grants if g.rolls_to is not None and g.left_ucr > 0)
    for at_s in sorted({grant.expires_s for grant in waiting if grant.expires_s <= now_s}):
        cost_ucr = sum(_before_ucr(run, at_s, confirmed) for run in runs) - paid_ucr
        left, uncovered_ucr = draw_down(left, cost_ucr, Period(at_s - 1, at_s))
        paid_ucr += cost_ucr - uncovered_ucr
        left, _ = expire_grants(left, at_s)
    return left, paid_ucr


def _before_ucr(run: Run, at_s: int, confirmed: Mapping[str, int]) -> int:
    """What the unposted part of a run before an instant costs, as far as it is known."""
    known_s = confirmed.get(run.zone, run.start_s) if run.end_s is None else run.end_s
    until_s = min(known_s, at_s)
    return replace(run, end_s=until_s).accrued_ucr(until_s)


def _adjust(grant: GrantBalance, by_ucr: int) -> GrantBalance:
    """The grant with more or less left; most walks leave most grants as they are."""
    return replace(grant, left_ucr=grant.left_ucr + by_ucr) if by_ucr else grant

"""What pays for servers that go on between two tranches, and who pays it back?

The sponsor lends it: an account `overdraft:COHORT:STARTUP` goes below zero. As soon as a
tranche is in force it repays, before anything else is drawn from it, so that nobody gains
by running on. A refund of what was repaid goes back to the tranche then in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quotas.ledger.tranches import is_tranche
from quotas.ledger.transfers import Entry, GrantBalance, Transfer, between_account, burn_order
from quotas.model.units import Period, format_credits


def awaits_tranche(grants: Iterable[GrantBalance], period: Period) -> bool:
    """Whether a tranche begins after the period, or has rolled over and not arrived yet."""
    return any(
        grant.left_ucr > 0
        and (
            (is_tranche(grant.id) and grant.effective_s >= period.end_s)
            or (grant.rolls_to is not None and grant.expires_s <= period.start_s)
        )
        for grant in grants
    )


def repayments(
    owed_ucr: int, grants: Sequence[GrantBalance], at_s: int, cause: str
) -> list[Transfer]:
    """Repay what is owed from the tranches in force, in burn order; or return what is too much.

    `cause` tells two repayments of one tranche at one instant apart.
    """
    found = []
    instant = Period(at_s, at_s + 1)
    for grant in burn_order(grants, instant) if owed_ucr > 0 else _surplus_to(grants, instant):
        if not is_tranche(grant.id) or owed_ucr == 0:
            continue
        part_ucr = min(owed_ucr, grant.left_ucr)
        found.append(_repayment(grant, part_ucr, at_s, cause))
        owed_ucr -= part_ucr
    return found


def _surplus_to(grants: Sequence[GrantBalance], instant: Period) -> list[GrantBalance]:
    """The tranche that a surplus returns to: the first to burn of those in force."""
    usable = (grant for grant in grants if is_tranche(grant.id) and grant.covers(instant))
    return sorted(usable, key=lambda g: (g.priority, g.expires_s, g.created, g.id))[:1]


def _repayment(grant: GrantBalance, amount_ucr: int, at_s: int, cause: str) -> Transfer:
    verb = "repays what ran before it" if amount_ucr > 0 else "gets back what it repaid"
    return Transfer(
        key=f"repay:{grant.startup}:{grant.id}:{at_s}:{cause}",
        kind="repayment",
        cohort=grant.cohort,
        startup=grant.startup,
        at_s=at_s,
        entries=(
            Entry(grant.account, -amount_ucr),
            Entry(between_account(grant.cohort, grant.startup), amount_ucr),
        ),
        reason=f"tranche {grant.id} {verb}: {format_credits(abs(amount_ucr))} credits",
        detail={"grant": grant.id},
    )

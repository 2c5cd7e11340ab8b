"""Holds: credits set aside for a purpose, until they are settled, voided or expired, once.

A hold draws in burn order on grants that outlive it, so its credits cannot expire meanwhile. One
transfer ends it: the settled part is spent, and the rest returns to its grants, the last drawn
first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from quotas.ledger.transfers import Entry, GrantBalance, Transfer, burn_order, take_in_order
from quotas.model.machine import Machine
from quotas.model.units import Period, format_credits


class HoldState(StrEnum):
    """The state of a hold."""

    OPEN = "open"
    SETTLED = "settled"
    VOIDED = "voided"
    EXPIRED = "expired"


class HoldEnding(StrEnum):
    """The end of a hold: the kind of the transfer that ends it."""

    SETTLE = "settle"
    VOID = "hold-void"
    EXPIRY = "hold-expiry"


ENDED_BY = {
    HoldEnding.SETTLE: HoldState.SETTLED,
    HoldEnding.VOID: HoldState.VOIDED,
    HoldEnding.EXPIRY: HoldState.EXPIRED,
}
HOLDS = Machine(
    "a hold",
    HoldState,
    {HoldState.OPEN: "hold"},
    {HoldState.OPEN: {state: ending.value for ending, state in ENDED_BY.items()}}
    | {state: {} for state in ENDED_BY.values()},
)
"""A hold ends once. Each change is one transfer, and the table names its kind."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Credits set aside in [placed_s, expires_s), with what was drawn from which account."""

    id: str
    startup: str
    cohort: str
    placed_s: int
    expires_s: int
    draws: tuple[Entry, ...]

    @property
    def amount_ucr(self) -> int:
        """All credits that the hold has."""
        return sum(draw.amount_ucr for draw in self.draws)

    @property
    def account(self) -> str:
        """The hold's own account."""
        return held_account(self.startup, self.id)

    @property
    def end_key(self) -> str:
        """The key of the transfer that ends the hold. One key for every ending allows one end."""
        return f"hold-end:{self.startup}:{self.id}"


def held_account(startup: str, hold_id: str) -> str:
    """The account of the credits that a hold sets aside."""
    return f"held:{startup}:{hold_id}"


def settled_account(startup: str) -> str:
    """The account of settled holds: credits spent, but not on metered servers."""
    return f"settled:{startup}"


def grants_outliving(
    grants: Iterable[GrantBalance], now_s: int, until_s: int
) -> list[GrantBalance]:
    """The grants in force with credit left that last until an instant, in burn order."""
    return burn_order(grants, Period(now_s, max(until_s, now_s + 1)))


def draws(grants: Iterable[GrantBalance], amount_ucr: int) -> tuple[Entry, ...]:
    """What each grant gives to a hold, in the order given; they hold enough together."""
    taken, missing_ucr = take_in_order(((g.account, g.left_ucr) for g in grants), amount_ucr)
    assert missing_ucr == 0, "a hold is refused above what the grants have"
    return tuple(Entry(account, part_ucr) for account, part_ucr in taken)


def hold_transfer(hold: Hold, reason: str) -> Transfer:
    """Set the credits aside."""
    key, owner = f"hold:{hold.startup}:{hold.id}", (hold.cohort, hold.startup)
    out = (Entry(draw.account, -draw.amount_ucr) for draw in hold.draws)
    entries = (*out, Entry(hold.account, hold.amount_ucr))
    detail: dict[str, int | str] = {"hold": hold.id, "expires_s": hold.expires_s}
    return Transfer(key, "hold", *owner, hold.placed_s, entries, reason, detail)


def end_hold(
    hold: Hold, ending: HoldEnding, at_s: int, reason: str = "", settled_ucr: int = 0
) -> Transfer:
    """End a hold: settle a part of it, or none, and return the rest."""
    assert 0 <= settled_ucr <= hold.amount_ucr, "no more is settled than is held"
    drawn = ((draw.account, draw.amount_ucr) for draw in reversed(hold.draws))
    returned, _ = take_in_order(drawn, hold.amount_ucr - settled_ucr)
    spent = [Entry(settled_account(hold.startup), settled_ucr)] if settled_ucr else []
    back = (Entry(account, part_ucr) for account, part_ucr in returned)
    entries = (Entry(hold.account, -hold.amount_ucr), *spent, *back)
    reason = reason or f"hold {hold.id} of {format_credits(hold.amount_ucr)} credits ran out"
    owner, detail = (hold.cohort, hold.startup), {"hold": hold.id}
    return Transfer(hold.end_key, ending.value, *owner, at_s, entries, reason, detail)

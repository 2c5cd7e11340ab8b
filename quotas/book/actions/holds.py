"""Holds: set credits aside, settle them in part or whole, or void them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from quotas.book.actions.action import ActionContext, ActionEffects, refuse_above
from quotas.book.cycle.state import read_grants
from quotas.book.reads.holds import read_holds
from quotas.book.schema.records import HoldRow
from quotas.book.session import rows_of
from quotas.ledger.corrections import Refused, expire_refunds
from quotas.ledger.holds import (
    Hold,
    HoldEnding,
    HoldState,
    draws,
    end_hold,
    grants_outliving,
    hold_transfer,
)
from quotas.ledger.transfers import Entry
from quotas.model.units import format_credits, format_instant


@dataclass(frozen=True, slots=True)
class HoldCommand:
    """Set available credits of a startup aside for a while."""

    startup: str
    amount_ucr: int
    length_s: int

    def effects(self, context: ActionContext) -> ActionEffects:
        """A hold on grants that last as long. Raises Refused."""
        own, now_s = context.grants_of(self.startup), context.now_s
        available_ucr = context.available_ucr(self.startup)
        amount = format_credits(self.amount_ucr)
        if self.amount_ucr > available_ucr:
            available = format_credits(max(0, available_ucr))
            raise Refused(
                f"a hold of {amount} is above the {available} available; hold at most that"
            )
        until_s = now_s + self.length_s
        lasting = grants_outliving(own, now_s, until_s)
        lasting_ucr = sum(grant.left_ucr for grant in lasting)
        if self.amount_ucr > lasting_ucr:
            raise Refused(
                f"a hold of {amount} until {format_instant(until_s)} is above the "
                f"{format_credits(lasting_ucr)} in grants that last as long; give a shorter --for"
            )
        id, drawn = f"h{context.next_transfer_id}", draws(lasting, self.amount_ucr)
        placed = Hold(id, self.startup, lasting[0].cohort, now_s, until_s, drawn)
        row = asdict(placed) | {"amount_ucr": placed.amount_ucr, "reason": context.reason}
        row |= {"state": HoldState.OPEN, "settled_ucr": 0}
        del row["draws"]  # the hold's transfer has them
        answer = {
            "hold": id,
            "startup": self.startup,
            "held": amount,
            "expires": format_instant(until_s),
            "from": _by_account(drawn),
            "sentence": f"hold {id}: {amount} credits of {self.startup} are set aside until "
            f"{format_instant(until_s)}",
        }
        return ActionEffects((hold_transfer(placed, context.reason),), answer, hold=row)


@dataclass(frozen=True, slots=True)
class SettleCommand:
    """Spend a hold, in part or whole, for usage that ended at `used_until_s`, or now."""

    hold: str
    amount_ucr: int | None = None
    used_until_s: int | None = None

    def effects(self, context: ActionContext) -> ActionEffects:
        """The hold's end: the amount is settled, and the rest returns. Raises Refused."""
        hold = _open_hold(context.connection, self.hold)
        settled_ucr = hold.amount_ucr if self.amount_ucr is None else self.amount_ucr
        refuse_above(settled_ucr, hold.amount_ucr, f"that hold {hold.id} has; settle at most that")
        used_s = context.now_s if self.used_until_s is None else self.used_until_s
        return _end(context, hold, HoldEnding.SETTLE, used_s, settled_ucr)


@dataclass(frozen=True, slots=True)
class VoidHoldCommand:
    """Return a hold whole to the grants that it came from."""

    hold: str

    def effects(self, context: ActionContext) -> ActionEffects:
        """The hold's end: everything returns. Raises Refused."""
        hold = _open_hold(context.connection, self.hold)
        return _end(context, hold, HoldEnding.VOID, context.now_s, 0)


def _open_hold(connection: Connection, hold_id: str) -> Hold:
    with rows_of(connection) as rows:
        row = rows.get(HoldRow, hold_id)
        if row is None:
            raise Refused(f"there is no hold {hold_id}; 'cohortd hold list' names them")
        if row.ended_s is not None:
            at = format_instant(row.ended_s)
            raise Refused(f"hold {hold_id} was {row.state} at {at}; a hold ends once")
    (hold,) = read_holds(connection, hold_id)
    return hold


def _end(
    context: ActionContext, hold: Hold, ending: HoldEnding, used_s: int, settled_ucr: int
) -> ActionEffects:
    """End a hold for usage until `used_s`. What returns to an ended grant expires at once."""
    _refuse_out_of_time(hold, context.now_s, used_s)
    ended = end_hold(hold, ending, context.now_s, context.reason, settled_ucr)
    grants = {grant.account: grant for grant in read_grants(context.connection)}
    lost = expire_refunds(ended, grants, context.now_s)
    back = [entry for entry in ended.entries if entry.account in grants]
    returned = format_credits(sum(entry.amount_ucr for entry in back))
    expired = format_credits(sum(each.entries[1].amount_ucr for each in lost))
    settled = format_credits(settled_ucr)
    answer = {
        "hold": hold.id,
        "startup": hold.startup,
        "settled": settled,
        "returned": returned,
        "expired": expired,
        "to": _by_account(back),
        "sentence": f"hold {hold.id} of {hold.startup}: {settled} credits are settled, "
        f"{returned} return to the grants they came from"
        + f"; {expired} of them expire, because their grants have ended"
        * bool(lost),
    }
    return ActionEffects((ended, *lost), answer)


def _refuse_out_of_time(hold: Hold, now_s: int, used_s: int) -> None:
    if hold.placed_s <= used_s < hold.expires_s and used_s <= now_s:
        return
    ran_out = format_instant(hold.expires_s)
    if used_s >= hold.expires_s and used_s == now_s:
        raise Refused(
            f"hold {hold.id} ran out at {ran_out}; for usage before that give --used-until"
        )
    raise Refused(
        f"--used-until {format_instant(used_s)} is not within hold {hold.id}; give "
        f"{format_instant(hold.placed_s)} or later, before "
        f"{format_instant(min(hold.expires_s, now_s + 1))}"
    )


def _by_account(entries: Iterable[Entry]) -> dict[str, str]:
    return {entry.account: format_credits(entry.amount_ucr) for entry in entries}

"""What do placing, settling and voiding a hold come to? Reads only; writes nothing."""

from __future__ import annotations

from sqlalchemy import Connection, select

from quotas.book.actions.balances import read_balance
from quotas.book.actions.commands import Deed, HoldOrder, HoldVoidOrder, SettleOrder
from quotas.book.actions.context import Answer, Outcome, grants_of, number_of
from quotas.book.cycle.state import read_grants
from quotas.book.reads.holds import read_holds
from quotas.book.schema import HOLD
from quotas.ledger.corrections import Refused, forfeits
from quotas.ledger.holds import Ending, Hold, draws, end_hold, hold_transfer, outliving
from quotas.ledger.transfers import Entry
from quotas.model.program import Program
from quotas.model.units import format_credits, format_instant


def hold(connection: Connection, program: Program, deed: Deed, order: HoldOrder) -> Outcome:
    """Set available credits aside, from grants that last as long as the hold."""
    own = grants_of(connection, program, order.startup)
    available_ucr = read_balance(connection, program, order.startup, deed.now_s).available_ucr
    amount = format_credits(order.amount_ucr)
    if order.amount_ucr > available_ucr:
        available = format_credits(max(0, available_ucr))
        raise Refused(f"a hold of {amount} is above the {available} available; hold at most that")
    until_s = deed.now_s + order.length_s
    lasting = outliving(own, deed.now_s, until_s)
    lasting_ucr = sum(grant.left_ucr for grant in lasting)
    if order.amount_ucr > lasting_ucr:
        raise Refused(
            f"a hold of {amount} until {format_instant(until_s)} is above the "
            f"{format_credits(lasting_ucr)} in grants that last as long; give a shorter --for"
        )
    id = f"h{number_of(connection)}"
    drawn = draws(lasting, order.amount_ucr)
    placed = Hold(id, order.startup, lasting[0].cohort, deed.now_s, until_s, drawn)
    row = {
        "id": id,
        "startup": order.startup,
        "cohort": placed.cohort,
        "amount_ucr": placed.amount_ucr,
        "placed_s": placed.placed_s,
        "expires_s": placed.expires_s,
        "state": "open",
        "settled_ucr": 0,
        "ended_s": None,
        "reason": deed.reason,
    }
    answer = {
        "hold": id,
        "startup": order.startup,
        "held": amount,
        "expires": format_instant(until_s),
        "from": _named(drawn),
        "sentence": f"hold {id}: {amount} credits of {order.startup} are set aside until "
        f"{format_instant(until_s)}",
    }
    return Outcome((hold_transfer(placed, deed.reason),), answer, hold=row)


def end(connection: Connection, deed: Deed, order: SettleOrder | HoldVoidOrder) -> Outcome:
    """Settle a hold, in part or whole, or void it; what returns to an ended grant is forfeited."""
    standing = _open(connection, order.hold)
    held_ucr, settled_ucr = standing.amount_ucr, 0
    if isinstance(order, SettleOrder):
        settled_ucr = held_ucr if order.amount_ucr is None else order.amount_ucr
        if settled_ucr > held_ucr:
            raise Refused(
                f"{format_credits(settled_ucr)} credits are more than the "
                f"{format_credits(held_ucr)} that hold {order.hold} has; settle at most that"
            )
    used_s = order.used_until_s if isinstance(order, SettleOrder) else None
    _refuse_out_of_time(standing, deed.now_s, deed.now_s if used_s is None else used_s)
    kind: Ending = "settle" if isinstance(order, SettleOrder) else "hold-void"
    ended = end_hold(standing, kind, deed.now_s, deed.reason, settled_ucr)
    grants = {grant.account: grant for grant in read_grants(connection)}
    lost = forfeits(ended, grants, deed.now_s)
    back = [e for e in ended.entries if e.account in grants]
    returned = format_credits(sum(entry.amount_ucr for entry in back))
    forfeited = format_credits(sum(each.entries[1].amount_ucr for each in lost))
    settled = format_credits(settled_ucr)
    answer = {
        "hold": order.hold,
        "startup": standing.startup,
        "settled": settled,
        "returned": returned,
        "forfeited": forfeited,
        "to": _named(back),
        "sentence": f"hold {order.hold} of {standing.startup}: {settled} credits are settled, "
        f"{returned} return to the grants they came from"
        + f"; {forfeited} of them have ended and are forfeited"
        * bool(lost),
    }
    return Outcome((ended, *lost), answer)


def _open(connection: Connection, hold_id: str) -> Hold:
    row = connection.execute(select(HOLD).where(HOLD.c.id == hold_id)).one_or_none()
    if row is None:
        raise Refused(f"there is no hold {hold_id}; 'cohortd hold list' names them")
    if row.state != "open":
        at = format_instant(row.ended_s)
        raise Refused(f"hold {hold_id} was {row.state} at {at}; a hold ends once")
    (standing,) = read_holds(connection, hold_id)
    return standing


def _refuse_out_of_time(standing: Hold, now_s: int, used_s: int) -> None:
    if standing.placed_s <= used_s < standing.expires_s and used_s <= now_s:
        return
    if used_s >= standing.expires_s and used_s == now_s:
        ran_out = format_instant(standing.expires_s)
        raise Refused(
            f"hold {standing.id} ran out at {ran_out}; for usage before that give --used-until"
        )
    raise Refused(
        f"--used-until {format_instant(used_s)} is not within hold {standing.id}; give "
        f"{format_instant(standing.placed_s)} or later, before "
        f"{format_instant(min(standing.expires_s, now_s + 1))}"
    )


def _named(entries: tuple[Entry, ...] | list[Entry]) -> Answer:
    return {entry.account: format_credits(entry.amount_ucr) for entry in entries}

"""What do placing, settling and voiding a hold come to? Reads only; writes nothing."""

from __future__ import annotations

from sqlalchemy import Connection

from quotas.book.actions.balances import read_balance
from quotas.book.actions.commands import HoldCommand, OperatorAction, SettleCommand, VoidHoldCommand
from quotas.book.actions.context import (
    ActionAnswer,
    ActionEffects,
    next_transfer_id,
    require_grants,
)
from quotas.book.cycle.state import read_grants
from quotas.book.reads.holds import read_holds
from quotas.book.schema.records import HoldRow
from quotas.book.session import rows_of
from quotas.ledger.corrections import Refused, expire_refunds
from quotas.ledger.holds import Hold, HoldEnding, draws, end_hold, grants_outliving, hold_transfer
from quotas.ledger.transfers import Entry
from quotas.model.program import Program
from quotas.model.units import format_credits, format_instant


def hold(
    connection: Connection, program: Program, operator_action: OperatorAction, command: HoldCommand
) -> ActionEffects:
    """Set available credits aside, from grants that last as long as the hold."""
    own = require_grants(connection, program, command.startup)
    available_ucr = read_balance(
        connection, program, command.startup, operator_action.now_s
    ).available_ucr
    amount = format_credits(command.amount_ucr)
    if command.amount_ucr > available_ucr:
        available = format_credits(max(0, available_ucr))
        raise Refused(f"a hold of {amount} is above the {available} available; hold at most that")
    until_s = operator_action.now_s + command.length_s
    lasting = grants_outliving(own, operator_action.now_s, until_s)
    lasting_ucr = sum(grant.left_ucr for grant in lasting)
    if command.amount_ucr > lasting_ucr:
        raise Refused(
            f"a hold of {amount} until {format_instant(until_s)} is above the "
            f"{format_credits(lasting_ucr)} in grants that last as long; give a shorter --for"
        )
    id = f"h{next_transfer_id(connection)}"
    drawn = draws(lasting, command.amount_ucr)
    placed = Hold(id, command.startup, lasting[0].cohort, operator_action.now_s, until_s, drawn)
    row = {
        "id": id,
        "startup": command.startup,
        "cohort": placed.cohort,
        "amount_ucr": placed.amount_ucr,
        "placed_s": placed.placed_s,
        "expires_s": placed.expires_s,
        "state": "open",
        "settled_ucr": 0,
        "ended_s": None,
        "reason": operator_action.reason,
    }
    answer = {
        "hold": id,
        "startup": command.startup,
        "held": amount,
        "expires": format_instant(until_s),
        "from": _amounts_by_account(drawn),
        "sentence": f"hold {id}: {amount} credits of {command.startup} are set aside until "
        f"{format_instant(until_s)}",
    }
    return ActionEffects((hold_transfer(placed, operator_action.reason),), answer, hold=row)


def handle_hold_end(
    connection: Connection,
    operator_action: OperatorAction,
    command: SettleCommand | VoidHoldCommand,
) -> ActionEffects:
    """Settle a hold, in part or whole, or void it; what returns to an ended grant is forfeited."""
    open_hold = _find_open_hold(connection, command.hold)
    held_ucr, settled_ucr = open_hold.amount_ucr, 0
    if isinstance(command, SettleCommand):
        settled_ucr = held_ucr if command.amount_ucr is None else command.amount_ucr
        if settled_ucr > held_ucr:
            raise Refused(
                f"{format_credits(settled_ucr)} credits are more than the "
                f"{format_credits(held_ucr)} that hold {command.hold} has; settle at most that"
            )
    used_s = command.used_until_s if isinstance(command, SettleCommand) else None
    _refuse_out_of_time(
        open_hold, operator_action.now_s, operator_action.now_s if used_s is None else used_s
    )
    kind: HoldEnding = "settle" if isinstance(command, SettleCommand) else "hold-void"
    ended = end_hold(open_hold, kind, operator_action.now_s, operator_action.reason, settled_ucr)
    grants = {grant.account: grant for grant in read_grants(connection)}
    lost = expire_refunds(ended, grants, operator_action.now_s)
    back = [e for e in ended.entries if e.account in grants]
    returned = format_credits(sum(entry.amount_ucr for entry in back))
    forfeited = format_credits(sum(each.entries[1].amount_ucr for each in lost))
    settled = format_credits(settled_ucr)
    answer = {
        "hold": command.hold,
        "startup": open_hold.startup,
        "settled": settled,
        "returned": returned,
        "expired": forfeited,
        "to": _amounts_by_account(back),
        "sentence": f"hold {command.hold} of {open_hold.startup}: {settled} credits are settled, "
        f"{returned} return to the grants they came from"
        + f"; {forfeited} of them have ended and are forfeited"
        * bool(lost),
    }
    return ActionEffects((ended, *lost), answer)


def _find_open_hold(connection: Connection, hold_id: str) -> Hold:
    with rows_of(connection) as rows:
        row = rows.get(HoldRow, hold_id)
        if row is None:
            raise Refused(f"there is no hold {hold_id}; 'cohortd hold list' names them")
        if row.ended_s is not None:
            at = format_instant(row.ended_s)
            raise Refused(f"hold {hold_id} was {row.state} at {at}; a hold ends once")
    (open_hold,) = read_holds(connection, hold_id)
    return open_hold


def _refuse_out_of_time(open_hold: Hold, now_s: int, used_s: int) -> None:
    if open_hold.placed_s <= used_s < open_hold.expires_s and used_s <= now_s:
        return
    if used_s >= open_hold.expires_s and used_s == now_s:
        ran_out = format_instant(open_hold.expires_s)
        raise Refused(
            f"hold {open_hold.id} ran out at {ran_out}; for usage before that give --used-until"
        )
    raise Refused(
        f"--used-until {format_instant(used_s)} is not within hold {open_hold.id}; give "
        f"{format_instant(open_hold.placed_s)} or later, before "
        f"{format_instant(min(open_hold.expires_s, now_s + 1))}"
    )


def _amounts_by_account(entries: tuple[Entry, ...] | list[Entry]) -> ActionAnswer:
    return {entry.account: format_credits(entry.amount_ucr) for entry in entries}

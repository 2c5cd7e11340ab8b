"""What would a deed write, and what is its answer? Reads only; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.balances import read_balance
from quotas.book.actions.commands import (
    AdvanceCommand,
    GrantCommand,
    HoldCommand,
    MilestoneCommand,
    OperatorAction,
    PriceCommand,
    RefundCommand,
    SelfAdvanceCommand,
    SettleCommand,
    TransferCommand,
    VoidCommand,
    VoidHoldCommand,
)
from quotas.book.actions.context import (
    ActionAnswer,
    ActionEffects,
    action_key,
    destination_rows,
    next_transfer_id,
    require_grants,
    require_startup,
)
from quotas.book.actions.grant_terms import future_grants_ucr, granted_total_ucr, startup_with_grant
from quotas.book.actions.grants import handle_advance, handle_milestone, handle_void, self_advance
from quotas.book.actions.holds import handle_hold_end, hold
from quotas.book.actions.prices import accept_price
from quotas.book.cycle.state import read_grants, read_program
from quotas.book.schema.tables import RUN
from quotas.book.verify.refunds import read_charges
from quotas.ledger.corrections import (
    Refused,
    expire_refunds,
    move_transfer,
    refund_transfers,
    transfer_parts,
)
from quotas.ledger.transfers import Transfer, grant_transfer
from quotas.model.program import Program, Startup
from quotas.model.units import Period, format_credits, format_instant


def handle_action(connection: Connection, operator_action: OperatorAction) -> ActionEffects:
    """What the deed comes to in the book as it stands. Raises Refused."""
    _, program = read_program(connection)
    if program is None:
        raise Refused("no program is in force; run 'cohortd apply' first")
    match operator_action.command:
        case GrantCommand():
            return _handle_grant(connection, program, operator_action, operator_action.command)
        case VoidCommand():
            return handle_void(connection, program, operator_action, operator_action.command)
        case RefundCommand():
            return _handle_refund(connection, program, operator_action, operator_action.command)
        case TransferCommand():
            return _handle_transfer(connection, program, operator_action, operator_action.command)
        case PriceCommand():
            return _handle_price(connection, program, operator_action, operator_action.command)
        case MilestoneCommand():
            return handle_milestone(connection, program, operator_action, operator_action.command)
        case AdvanceCommand():
            return handle_advance(connection, program, operator_action, operator_action.command)
        case SelfAdvanceCommand():
            return self_advance(connection, program, operator_action, operator_action.command)
        case HoldCommand():
            return hold(connection, program, operator_action, operator_action.command)
        case SettleCommand() | VoidHoldCommand():
            return handle_hold_end(connection, operator_action, operator_action.command)


def _handle_grant(
    connection: Connection, program: Program, operator_action: OperatorAction, command: GrantCommand
) -> ActionEffects:
    startup = require_startup(program, command.startup)
    holder = startup_with_grant(connection, program, command.id)
    if holder is not None:
        raise Refused(f"--id {command.id} is a grant of {holder} already; choose a new id")
    cohort = program.cohort(startup.cohort)
    wanted_s = operator_action.now_s if command.effective_s is None else command.effective_s
    effective_s = wanted_s if command.effective_s is not None else max(wanted_s, cohort.starts_s)
    expires_s = cohort.ends_s if command.expires_s is None else command.expires_s
    if effective_s < cohort.starts_s:
        raise Refused(
            _before_cohort_start(f"--effective {format_instant(effective_s)}", startup, program)
        )
    if expires_s <= max(effective_s, operator_action.now_s):
        raise Refused(
            f"the grant would end at {format_instant(expires_s)}, before anything can be spent "
            "from it; give a later --expires"
        )
    _refuse_above_budget(connection, program, command.amount_ucr, operator_action.now_s)
    made = grant_transfer(startup.cohort, startup.name, command.id, command.amount_ucr, effective_s)
    row = {
        "grant_id": command.id,
        "startup": startup.name,
        "cohort": startup.cohort,
        "category": command.category,
        "priority": command.priority,
        "amount_ucr": command.amount_ucr,
        "effective_s": effective_s,
        "expires_s": expires_s,
    }
    answer = {
        "startup": startup.name,
        "grant": command.id,
        "granted": format_credits(command.amount_ucr),
        "effective": format_instant(effective_s),
        "expires": format_instant(expires_s),
        "sentence": f"grant {command.id} of {format_credits(command.amount_ucr)} credits to "
        f"{startup.name}, from {format_instant(effective_s)} to {format_instant(expires_s)}",
    }
    return ActionEffects((replace(made, reason=operator_action.reason),), answer, (row,))


def _handle_refund(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: RefundCommand,
) -> ActionEffects:
    startups = _startups_to_refund(connection, program, command)
    members = [startup for name in startups if (startup := program.startup(name))]
    first = min(members, key=lambda m: program.cohort(m.cohort).starts_s, default=None)
    if first and command.from_s < program.cohort(first.cohort).starts_s:
        raise Refused(
            _before_cohort_start(f"--from {format_instant(command.from_s)}", first, program)
        )
    window = Period(command.from_s, command.to_s)
    grants = {grant.account: grant for grant in read_grants(connection)}
    refunds = [
        refund
        for charge in read_charges(connection, startups, window, command.server, command.zone)
        for refund in refund_transfers(
            charge, window, operator_action.now_s, operator_action.reason
        )
    ]
    what = (
        f"server {command.server}" if command.server else command.startup or f"zone {command.zone}"
    )
    if not refunds:
        raise Refused(
            f"nothing charged to {what} from {format_instant(command.from_s)} to "
            f"{format_instant(command.to_s)} is left to refund; seconds are refunded once, and "
            "only after they are charged"
        )
    lost = [
        each for refund in refunds for each in expire_refunds(refund, grants, operator_action.now_s)
    ]
    back: dict[str, int] = {}
    for entry in (entry for refund in refunds for entry in refund.entries[1:]):
        back[entry.account] = back.get(entry.account, 0) + entry.amount_ucr
    whole = _refund_sums(refunds, lost)
    each = {
        name: _refund_sums(
            [r for r in refunds if r.startup == name], [t for t in lost if t.startup == name]
        )
        for name in sorted({refund.startup for refund in refunds})
    }
    parts = ", ".join(f"{name} {sums['refunded']}" for name, sums in each.items())
    answer = {
        **whole,
        "startups": each,
        "to": {account: format_credits(ucr) for account, ucr in sorted(back.items())},
        "sentence": f"{whole['refunded']} credits for {whole['seconds']} s of {what} go back to "
        "where they were drawn"
        + (f"; {whole['expired']} of them to grants that have ended, which forfeit them")
        * bool(lost)
        + f": {parts}" * (command.zone is not None),
    }
    return ActionEffects((*refunds, *lost), answer)


def _refund_sums(refunds: Sequence[Transfer], lost: Sequence[Transfer]) -> ActionAnswer:
    """How many charges and seconds are refunded, how much comes back, how much of it is lost."""
    return {
        "charges": len({refund.detail["charge"] for refund in refunds}),
        "seconds": sum(int(r.detail["end_s"]) - int(r.detail["start_s"]) for r in refunds),
        "refunded": format_credits(-sum(refund.entries[0].amount_ucr for refund in refunds)),
        "expired": format_credits(sum(each.entries[1].amount_ucr for each in lost)),
    }


def _startups_to_refund(
    connection: Connection, program: Program, command: RefundCommand
) -> list[str]:
    """The startups that are refunded: the one named, or those that ran the server or the zone."""
    if command.startup is not None:
        require_grants(connection, program, command.startup)
        return [command.startup]
    named = RUN.c.server_id == command.server if command.server else RUN.c.zone == command.zone
    startups = sorted(connection.scalars(select(RUN.c.startup).where(named).distinct()))
    if not startups and command.server:
        raise Refused(f"no server {command.server} ever ran; 'cohortd explain STARTUP' names them")
    if not startups:
        zones = ", ".join(sorted(connection.scalars(select(RUN.c.zone).distinct()))) or "no zone"
        raise Refused(f"no server ever ran in zone {command.zone}; servers ran in {zones}")
    return startups


def _handle_transfer(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: TransferCommand,
) -> ActionEffects:
    own = require_grants(connection, program, command.sender)
    receiver = require_startup(program, command.to)
    if receiver.name == command.sender:
        raise Refused(f"{command.sender} cannot transfer credits to itself; name another startup")
    same = [grant for grant in own if grant.cohort == receiver.cohort]
    if len(same) < len(own):
        raise Refused(
            f"{command.to} is in cohort {receiver.cohort} and {command.sender} is not; void and "
            "grant instead"
        )
    spendable_ucr = read_balance(
        connection, program, command.sender, operator_action.now_s
    ).available_ucr
    if command.amount_ucr > spendable_ucr:
        raise Refused(
            f"{format_credits(command.amount_ucr)} credits are more than the "
            f"{format_credits(max(0, spendable_ucr))} that {command.sender} has available; usage "
            "not yet charged, holds and the reserve are set aside: transfer at most that"
        )
    parts = transfer_parts(
        same, receiver.name, command.amount_ucr, operator_action.now_s, next_transfer_id(connection)
    )
    moved = move_transfer(
        parts,
        action_key(connection, operator_action),
        operator_action.now_s,
        operator_action.reason,
    )
    rows = destination_rows(connection, parts)
    drawn = ", ".join(
        f"{format_credits(p.destination.granted_ucr)} of {p.source.id} as {p.destination.id}"
        for p in parts
    )
    answer = {
        "from": command.sender,
        "to": command.to,
        "moved": format_credits(command.amount_ucr),
        "parts": [
            {
                "from_grant": part.source.id,
                "to_grant": part.destination.id,
                "credits": format_credits(part.destination.granted_ucr),
                "expires": format_instant(part.destination.expires_s),
            }
            for part in parts
        ],
        "sentence": f"{format_credits(command.amount_ucr)} credits from {command.sender} to "
        f"{command.to}: {drawn}",
    }
    return ActionEffects((moved,), answer, rows)


def _handle_price(
    connection: Connection, program: Program, operator_action: OperatorAction, command: PriceCommand
) -> ActionEffects:
    made = accept_price(connection, program, operator_action, command)
    row = {
        "id": made.version.id,
        "flavor": command.flavor,
        "from_s": command.from_s,
        "rate_ucr_per_h": command.rate_ucr_per_h,
        "recorded_s": operator_action.now_s,
        "bearer": command.bearer,
        "source": operator_action.actor,
        "reason": operator_action.reason,
    }
    return ActionEffects(made.transfers, made.answer, price=row)


def _refuse_above_budget(
    connection: Connection, program: Program, amount_ucr: int, now_s: int
) -> None:
    coming = future_grants_ucr(connection, program, now_s)
    left_ucr = program.budget_ucr - granted_total_ucr(connection, program) - coming
    if amount_ucr > left_ucr:
        kept = f", with {format_credits(coming)} kept for milestones to come" if coming else ""
        raise Refused(
            f"{format_credits(amount_ucr)} more would bring the grants above the program's "
            f"budget of {format_credits(program.budget_ucr)}; at most "
            f"{format_credits(max(0, left_ucr))} remain{kept}"
        )


def _before_cohort_start(what: str, startup: Startup, program: Program) -> str:
    starts = format_instant(program.cohort(startup.cohort).starts_s)
    return f"{what} is before cohort {startup.cohort} starts; give {starts} or later"

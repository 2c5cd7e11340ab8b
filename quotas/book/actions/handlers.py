"""What would an operator's deed write, and what is its answer? Reads only; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.balances import read_balance
from quotas.book.actions.commands import (
    AdvanceOrder,
    Deed,
    GrantOrder,
    HoldOrder,
    HoldVoidOrder,
    MilestoneOrder,
    PriceOrder,
    RefundOrder,
    SettleOrder,
    TransferOrder,
    VoidOrder,
)
from quotas.book.actions.context import (
    Answer,
    Outcome,
    arrived,
    grants_of,
    key_of,
    member,
    number_of,
)
from quotas.book.actions.grant_terms import coming_ucr, granted_ucr, holder_of
from quotas.book.actions.grants import advance, milestone, void
from quotas.book.actions.holds import end, hold
from quotas.book.actions.prices import accepted
from quotas.book.cycle.state import read_grants, read_program
from quotas.book.schema import RUN
from quotas.book.verify.refunds import read_charges
from quotas.ledger.corrections import Refused, forfeits, move_transfer, moves, refund_transfers
from quotas.ledger.transfers import Transfer, grant_transfer
from quotas.model.program import Program, Startup
from quotas.model.units import Period, format_credits, format_instant


def outcome_of(connection: Connection, deed: Deed) -> Outcome:
    """What the deed comes to in the book as it stands. Raises Refused."""
    _, program = read_program(connection)
    if program is None:
        raise Refused("no program is in force; run 'cohortd apply' first")
    match deed.order:
        case GrantOrder():
            return _grant(connection, program, deed, deed.order)
        case VoidOrder():
            return void(connection, program, deed, deed.order)
        case RefundOrder():
            return _refund(connection, program, deed, deed.order)
        case TransferOrder():
            return _transfer(connection, program, deed, deed.order)
        case PriceOrder():
            return _price(connection, program, deed, deed.order)
        case MilestoneOrder():
            return milestone(connection, program, deed, deed.order)
        case AdvanceOrder():
            return advance(connection, program, deed, deed.order)
        case HoldOrder():
            return hold(connection, program, deed, deed.order)
        case SettleOrder() | HoldVoidOrder():
            return end(connection, deed, deed.order)


def _grant(connection: Connection, program: Program, deed: Deed, order: GrantOrder) -> Outcome:
    startup = member(program, order.startup)
    holder = holder_of(connection, program, order.id)
    if holder is not None:
        raise Refused(f"--id {order.id} is a grant of {holder} already; choose a new id")
    cohort = program.cohort(startup.cohort)
    wanted_s = deed.now_s if order.effective_s is None else order.effective_s
    effective_s = wanted_s if order.effective_s is not None else max(wanted_s, cohort.starts_s)
    expires_s = cohort.ends_s if order.expires_s is None else order.expires_s
    if effective_s < cohort.starts_s:
        raise Refused(_before(f"--effective {format_instant(effective_s)}", startup, program))
    if expires_s <= max(effective_s, deed.now_s):
        raise Refused(
            f"the grant would end at {format_instant(expires_s)}, before anything can be spent "
            "from it; give a later --expires"
        )
    _refuse_above_budget(connection, program, order.amount_ucr, deed.now_s)
    made = grant_transfer(startup.cohort, startup.name, order.id, order.amount_ucr, effective_s)
    row = {
        "grant_id": order.id,
        "startup": startup.name,
        "cohort": startup.cohort,
        "category": order.category,
        "priority": order.priority,
        "amount_ucr": order.amount_ucr,
        "effective_s": effective_s,
        "expires_s": expires_s,
    }
    answer = {
        "startup": startup.name,
        "grant": order.id,
        "granted": format_credits(order.amount_ucr),
        "effective": format_instant(effective_s),
        "expires": format_instant(expires_s),
        "sentence": f"grant {order.id} of {format_credits(order.amount_ucr)} credits to "
        f"{startup.name}, from {format_instant(effective_s)} to {format_instant(expires_s)}",
    }
    return Outcome((replace(made, reason=deed.reason),), answer, (row,))


def _refund(connection: Connection, program: Program, deed: Deed, order: RefundOrder) -> Outcome:
    startups = _refunded(connection, program, order)
    members = [startup for name in startups if (startup := program.startup(name))]
    first = min(members, key=lambda m: program.cohort(m.cohort).starts_s, default=None)
    if first and order.from_s < program.cohort(first.cohort).starts_s:
        raise Refused(_before(f"--from {format_instant(order.from_s)}", first, program))
    window = Period(order.from_s, order.to_s)
    grants = {grant.account: grant for grant in read_grants(connection)}
    refunds = [
        refund
        for charge in read_charges(connection, startups, window, order.server, order.zone)
        for refund in refund_transfers(charge, window, deed.now_s, deed.reason)
    ]
    what = f"server {order.server}" if order.server else order.startup or f"zone {order.zone}"
    if not refunds:
        raise Refused(
            f"nothing charged to {what} from {format_instant(order.from_s)} to "
            f"{format_instant(order.to_s)} is left to refund; seconds are refunded once, and "
            "only after they are charged"
        )
    lost = [each for refund in refunds for each in forfeits(refund, grants, deed.now_s)]
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
        + (f"; {whole['forfeited']} of them to grants that have ended, which forfeit them")
        * bool(lost)
        + f": {parts}" * (order.zone is not None),
    }
    return Outcome((*refunds, *lost), answer)


def _refund_sums(refunds: Sequence[Transfer], lost: Sequence[Transfer]) -> Answer:
    """How many charges and seconds are refunded, how much comes back, how much of it is lost."""
    return {
        "charges": len({refund.detail["charge"] for refund in refunds}),
        "seconds": sum(int(r.detail["end_s"]) - int(r.detail["start_s"]) for r in refunds),
        "refunded": format_credits(-sum(refund.entries[0].amount_ucr for refund in refunds)),
        "forfeited": format_credits(sum(each.entries[1].amount_ucr for each in lost)),
    }


def _refunded(connection: Connection, program: Program, order: RefundOrder) -> list[str]:
    """The startups that are refunded: the one named, or those that ran the server or the zone."""
    if order.startup is not None:
        grants_of(connection, program, order.startup)
        return [order.startup]
    named = RUN.c.server_id == order.server if order.server else RUN.c.zone == order.zone
    startups = sorted(connection.scalars(select(RUN.c.startup).where(named).distinct()))
    if not startups and order.server:
        raise Refused(f"no server {order.server} ever ran; 'cohortd explain STARTUP' names them")
    if not startups:
        zones = ", ".join(sorted(connection.scalars(select(RUN.c.zone).distinct()))) or "no zone"
        raise Refused(f"no server ever ran in zone {order.zone}; servers ran in {zones}")
    return startups


def _transfer(
    connection: Connection, program: Program, deed: Deed, order: TransferOrder
) -> Outcome:
    own = grants_of(connection, program, order.giver)
    receiver = member(program, order.to)
    if receiver.name == order.giver:
        raise Refused(f"{order.giver} cannot transfer credits to itself; name another startup")
    same = [grant for grant in own if grant.cohort == receiver.cohort]
    if len(same) < len(own):
        raise Refused(
            f"{order.to} is in cohort {receiver.cohort} and {order.giver} is not; void and "
            "grant instead"
        )
    spendable_ucr = read_balance(connection, program, order.giver, deed.now_s).available_ucr
    if order.amount_ucr > spendable_ucr:
        raise Refused(
            f"{format_credits(order.amount_ucr)} credits are more than the "
            f"{format_credits(max(0, spendable_ucr))} that {order.giver} has available; usage "
            "not yet charged, holds and the reserve are set aside: transfer at most that"
        )
    parts = moves(same, receiver.name, order.amount_ucr, deed.now_s, number_of(connection))
    moved = move_transfer(parts, key_of(connection, deed), deed.now_s, deed.reason)
    rows = arrived(connection, parts)
    drawn = ", ".join(
        f"{format_credits(p.arrives.granted_ucr)} of {p.source.id} as {p.arrives.id}" for p in parts
    )
    answer = {
        "from": order.giver,
        "to": order.to,
        "moved": format_credits(order.amount_ucr),
        "parts": [
            {
                "from_grant": part.source.id,
                "to_grant": part.arrives.id,
                "credits": format_credits(part.arrives.granted_ucr),
                "expires": format_instant(part.arrives.expires_s),
            }
            for part in parts
        ],
        "sentence": f"{format_credits(order.amount_ucr)} credits from {order.giver} to "
        f"{order.to}: {drawn}",
    }
    return Outcome((moved,), answer, rows)


def _price(connection: Connection, program: Program, deed: Deed, order: PriceOrder) -> Outcome:
    made = accepted(connection, program, deed, order)
    row = {
        "id": made.version.id,
        "flavor": order.flavor,
        "from_s": order.from_s,
        "rate_ucr_per_h": order.rate_ucr_per_h,
        "recorded_s": deed.now_s,
        "bearer": order.bearer,
        "source": deed.actor,
        "reason": deed.reason,
    }
    return Outcome(made.transfers, made.answer, price=row)


def _refuse_above_budget(
    connection: Connection, program: Program, amount_ucr: int, now_s: int
) -> None:
    coming = coming_ucr(connection, program, now_s)
    left_ucr = program.budget_ucr - granted_ucr(connection, program) - coming
    if amount_ucr > left_ucr:
        kept = f", with {format_credits(coming)} kept for milestones to come" if coming else ""
        raise Refused(
            f"{format_credits(amount_ucr)} more would bring the grants above the program's "
            f"budget of {format_credits(program.budget_ucr)}; at most "
            f"{format_credits(max(0, left_ucr))} remain{kept}"
        )


def _before(what: str, startup: Startup, program: Program) -> str:
    starts = format_instant(program.cohort(startup.cohort).starts_s)
    return f"{what} is before cohort {startup.cohort} starts; give {starts} or later"

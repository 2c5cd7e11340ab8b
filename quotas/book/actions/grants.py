"""What do a void, a confirmed milestone and an advance come to? Reads only; writes nothing."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.commands import AdvanceOrder, Deed, MilestoneOrder, VoidOrder
from quotas.book.actions.context import Outcome, arrived, grants_of, key_of, member, number_of
from quotas.book.schema import GRANT, TRANSFER
from quotas.ledger.corrections import Refused, move_transfer, parted, void_transfer
from quotas.ledger.tranches import belongs_to, milestones
from quotas.ledger.transfers import grant_transfer
from quotas.model.program import Grant, Program
from quotas.model.units import format_credits, format_instant


def void(connection: Connection, program: Program, deed: Deed, order: VoidOrder) -> Outcome:
    """What is left of a grant, or of all its tranches, back to the sponsor."""
    own = grants_of(connection, program, order.startup)
    parts = [each for each in own if belongs_to(each.id, order.grant)]
    if not parts:
        known = ", ".join(each.id for each in own) or "none"
        raise Refused(f"{order.startup} has no grant {order.grant}; it has {known}")
    key = key_of(connection, deed)
    made = void_transfer(order.grant, parts, key, deed.now_s, deed.reason)
    left_ucr = made.entries[-1].amount_ucr
    names = {part.id for part in parts}
    # What was advanced is in the tranche it came from already.
    granted_ucr = sum(p.granted_ucr for p in parts if p.id.rpartition(".")[0] not in names)
    used, voided = format_credits(granted_ucr - left_ucr), format_credits(left_ucr)
    answer = {
        "startup": order.startup,
        "grant": order.grant,
        "granted": format_credits(granted_ucr),
        "used": used,
        "voided": voided,
        "sentence": f"{voided} of grant {order.grant} of {order.startup} go back to "
        f"the sponsor; {used} of {format_credits(granted_ucr)} were used before",
    }
    return Outcome((made,), answer)


def milestone(
    connection: Connection, program: Program, deed: Deed, order: MilestoneOrder
) -> Outcome:
    """Credit the tranche of a milestone, effective now."""
    grant, cohort = _grant_of(program, order.startup, order.grant)
    known = milestones(grant)
    if order.milestone not in known:
        names = ", ".join(known) or "none"
        raise Refused(f"grant {grant.id} has no milestone {order.milestone!r}; it has {names}")
    part, tranche = known[order.milestone]
    if connection.scalar(select(GRANT.c.id).where(GRANT.c.grant_id == part)) is not None:
        raise Refused(f"milestone {order.milestone} of {grant.id} was confirmed already")
    voids = TRANSFER.c.key.startswith(f"void:{order.startup}:{grant.id}:", autoescape=True)
    if connection.scalar(select(TRANSFER.c.id).where(voids).limit(1)) is not None:
        raise Refused(f"grant {grant.id} was voided; grant {order.milestone} under a new id")
    ends_s = grant.expires_s if tranche.by_s is None else tranche.by_s
    if not grant.effective_s <= deed.now_s < ends_s:
        begins, ends = format_instant(grant.effective_s), format_instant(ends_s)
        raise Refused(
            f"milestone {order.milestone} can be confirmed from {begins} until {ends}; grant "
            "the credits under a new id instead"
        )
    made = grant_transfer(cohort, order.startup, part, tranche.amount_ucr, deed.now_s)
    row = {
        "grant_id": part,
        "startup": order.startup,
        "cohort": cohort,
        "category": grant.category,
        "priority": grant.priority,
        "amount_ucr": tranche.amount_ucr,
        "effective_s": deed.now_s,
        "expires_s": grant.expires_s,
    }
    credits = format_credits(tranche.amount_ucr)
    answer = {
        "startup": order.startup,
        "grant": part,
        "milestone": order.milestone,
        "granted": credits,
        "effective": format_instant(deed.now_s),
        "expires": format_instant(grant.expires_s),
        "sentence": f"milestone {order.milestone} of {order.startup} is confirmed: {credits} "
        f"credits as {part}, until {format_instant(grant.expires_s)}",
    }
    return Outcome((replace(made, reason=deed.reason),), answer, (row,))


def advance(connection: Connection, program: Program, deed: Deed, order: AdvanceOrder) -> Outcome:
    """Make the next tranche of a grant, or a part of it, usable now."""
    own = grants_of(connection, program, order.startup)
    named = [each for each in own if belongs_to(each.id, order.grant)]
    if not named:
        known = ", ".join(each.id for each in own) or "none"
        raise Refused(f"{order.startup} has no grant {order.grant}; it has {known}")
    later = [each for each in named if each.effective_s > deed.now_s and each.left_ucr > 0]
    if not later:
        raise Refused(
            f"grant {order.grant} has no tranche that begins later; 'cohortd milestone' "
            "confirms one that waits for a milestone"
        )
    source = min(later, key=lambda each: (each.effective_s, each.id))
    amount_ucr = source.left_ucr if order.amount_ucr is None else order.amount_ucr
    if amount_ucr > source.left_ucr:
        raise Refused(
            f"{format_credits(amount_ucr)} credits are more than the "
            f"{format_credits(source.left_ucr)} in tranche {source.id}; advance at most that"
        )
    number = number_of(connection)
    parts = parted([source], order.startup, amount_ucr, deed.now_s, number)
    key = key_of(connection, deed)
    moved = move_transfer(parts, key, deed.now_s, deed.reason, kind="advance")
    arrives = parts[0].arrives
    answer = {
        "startup": order.startup,
        "from_grant": source.id,
        "to_grant": arrives.id,
        "advanced": format_credits(amount_ucr),
        "expires": format_instant(arrives.expires_s),
        "sentence": f"{format_credits(amount_ucr)} credits of {source.id} of {order.startup} "
        f"can be spent now, as {arrives.id}, instead of from "
        f"{format_instant(source.effective_s)}",
    }
    return Outcome((moved,), answer, arrived(connection, parts))


def _grant_of(program: Program, startup: str, grant_id: str) -> tuple[Grant, str]:
    """The grant of that id in the program, and its cohort. Raises Refused."""
    entry = member(program, startup)
    for grant in entry.grants:
        if grant.id == grant_id:
            return grant, entry.cohort
    known = ", ".join(each.id for each in entry.grants) or "none"
    raise Refused(f"{startup} has no grant {grant_id} in the program; it has {known}")

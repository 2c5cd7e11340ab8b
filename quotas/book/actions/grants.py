"""What do a void, a confirmed milestone and an advance come to? Reads only; writes nothing."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.commands import (
    AdvanceCommand,
    MilestoneCommand,
    OperatorAction,
    VoidCommand,
)
from quotas.book.actions.context import (
    ActionEffects,
    action_key,
    destination_rows,
    next_transfer_id,
    require_grants,
    require_startup,
)
from quotas.book.schema.tables import GRANT, TRANSFER
from quotas.ledger.corrections import Refused, move_transfer, split_grants, void_transfer
from quotas.ledger.tranches import belongs_to, milestones
from quotas.ledger.transfers import grant_transfer
from quotas.model.program import Grant, Program
from quotas.model.units import format_credits, format_instant


def handle_void(
    connection: Connection, program: Program, operator_action: OperatorAction, command: VoidCommand
) -> ActionEffects:
    """What is left of a grant, or of all its tranches, back to the sponsor."""
    own = require_grants(connection, program, command.startup)
    parts = [each for each in own if belongs_to(each.id, command.grant)]
    if not parts:
        known = ", ".join(each.id for each in own) or "none"
        raise Refused(f"{command.startup} has no grant {command.grant}; it has {known}")
    key = action_key(connection, operator_action)
    made = void_transfer(command.grant, parts, key, operator_action.now_s, operator_action.reason)
    left_ucr = made.entries[-1].amount_ucr
    names = {part.id for part in parts}
    # What was advanced is in the tranche it came from already.
    granted_ucr = sum(p.granted_ucr for p in parts if p.id.rpartition(".")[0] not in names)
    used, voided = format_credits(granted_ucr - left_ucr), format_credits(left_ucr)
    answer = {
        "startup": command.startup,
        "grant": command.grant,
        "granted": format_credits(granted_ucr),
        "used": used,
        "voided": voided,
        "sentence": f"{voided} of grant {command.grant} of {command.startup} go back to "
        f"the sponsor; {used} of {format_credits(granted_ucr)} were used before",
    }
    return ActionEffects((made,), answer)


def handle_milestone(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: MilestoneCommand,
) -> ActionEffects:
    """Credit the tranche of a milestone, effective now."""
    grant, cohort = _grant_of(program, command.startup, command.grant)
    known = milestones(grant)
    if command.milestone not in known:
        names = ", ".join(known) or "none"
        raise Refused(f"grant {grant.id} has no milestone {command.milestone!r}; it has {names}")
    part, tranche = known[command.milestone]
    if connection.scalar(select(GRANT.c.id).where(GRANT.c.grant_id == part)) is not None:
        raise Refused(f"milestone {command.milestone} of {grant.id} was confirmed already")
    voids = TRANSFER.c.key.startswith(f"void:{command.startup}:{grant.id}:", autoescape=True)
    if connection.scalar(select(TRANSFER.c.id).where(voids).limit(1)) is not None:
        raise Refused(f"grant {grant.id} was voided; grant {command.milestone} under a new id")
    ends_s = grant.expires_s if tranche.by_s is None else tranche.by_s
    if not grant.effective_s <= operator_action.now_s < ends_s:
        begins, ends = format_instant(grant.effective_s), format_instant(ends_s)
        raise Refused(
            f"milestone {command.milestone} can be confirmed from {begins} until {ends}; grant "
            "the credits under a new id instead"
        )
    made = grant_transfer(cohort, command.startup, part, tranche.amount_ucr, operator_action.now_s)
    row = {
        "grant_id": part,
        "startup": command.startup,
        "cohort": cohort,
        "category": grant.category,
        "priority": grant.priority,
        "amount_ucr": tranche.amount_ucr,
        "effective_s": operator_action.now_s,
        "expires_s": grant.expires_s,
    }
    credits = format_credits(tranche.amount_ucr)
    answer = {
        "startup": command.startup,
        "grant": part,
        "milestone": command.milestone,
        "granted": credits,
        "effective": format_instant(operator_action.now_s),
        "expires": format_instant(grant.expires_s),
        "sentence": f"milestone {command.milestone} of {command.startup} is confirmed: {credits} "
        f"credits as {part}, until {format_instant(grant.expires_s)}",
    }
    return ActionEffects((replace(made, reason=operator_action.reason),), answer, (row,))


def handle_advance(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: AdvanceCommand,
) -> ActionEffects:
    """Make the next tranche of a grant, or a part of it, usable now."""
    own = require_grants(connection, program, command.startup)
    named = [each for each in own if belongs_to(each.id, command.grant)]
    if not named:
        known = ", ".join(each.id for each in own) or "none"
        raise Refused(f"{command.startup} has no grant {command.grant}; it has {known}")
    later = [
        each for each in named if each.effective_s > operator_action.now_s and each.left_ucr > 0
    ]
    if not later:
        raise Refused(
            f"grant {command.grant} has no tranche that begins later; 'cohortd milestone' "
            "confirms one that waits for a milestone"
        )
    source = min(later, key=lambda each: (each.effective_s, each.id))
    amount_ucr = source.left_ucr if command.amount_ucr is None else command.amount_ucr
    if amount_ucr > source.left_ucr:
        raise Refused(
            f"{format_credits(amount_ucr)} credits are more than the "
            f"{format_credits(source.left_ucr)} in tranche {source.id}; advance at most that"
        )
    number = next_transfer_id(connection)
    parts = split_grants([source], command.startup, amount_ucr, operator_action.now_s, number)
    key = action_key(connection, operator_action)
    moved = move_transfer(parts, key, operator_action.now_s, operator_action.reason, kind="advance")
    destination = parts[0].destination
    answer = {
        "startup": command.startup,
        "from_grant": source.id,
        "to_grant": destination.id,
        "advanced": format_credits(amount_ucr),
        "expires": format_instant(destination.expires_s),
        "sentence": f"{format_credits(amount_ucr)} credits of {source.id} of {command.startup} "
        f"can be spent now, as {destination.id}, instead of from "
        f"{format_instant(source.effective_s)}",
    }
    return ActionEffects((moved,), answer, destination_rows(connection, parts))


def _grant_of(program: Program, startup: str, grant_id: str) -> tuple[Grant, str]:
    """The grant of that id in the program, and its cohort. Raises Refused."""
    entry = require_startup(program, startup)
    for grant in entry.grants:
        if grant.id == grant_id:
            return grant, entry.cohort
    known = ", ".join(each.id for each in entry.grants) or "none"
    raise Refused(f"{startup} has no grant {grant_id} in the program; it has {known}")

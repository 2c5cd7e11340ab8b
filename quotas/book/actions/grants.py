"""What do a void, a milestone and an advance come to? Reads only; writes nothing.

An operator advances what he likes. A startup takes a part of its next tranche ahead, once.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.commands import (
    AdvanceCommand,
    MilestoneCommand,
    OperatorAction,
    SelfAdvanceCommand,
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
from quotas.book.cycle.state import read_startup_grants
from quotas.book.schema.tables import GRANT, TRANSFER
from quotas.ledger.corrections import Refused, move_transfer, split_grants, void_transfer
from quotas.ledger.tranches import belongs_to, milestones, next_tranches
from quotas.ledger.transfers import GrantBalance, grant_transfer
from quotas.model.program import Grant, Program
from quotas.model.units import Period, format_credits, format_instant

PPM = 1_000_000


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
    return advanced(connection, operator_action, source, amount_ucr)


def self_advance(
    connection: Connection,
    program: Program,
    operator_action: OperatorAction,
    command: SelfAdvanceCommand,
) -> ActionEffects:
    """A part of the next tranche, as far as the policy lets its startup take it; once for each.

    The transfer's key names the tranche, so that the book takes no second one either.
    """
    term = _term(program, command.startup, operator_action.now_s)
    if command.amount_ucr is not None and command.amount_ucr <= 0:
        raise Refused(
            f"{format_credits(command.amount_ucr)} credits cannot be taken ahead: give an amount "
            "above zero, or none for all that is allowed"
        )
    source, most_ucr = _takeable(connection, program, term, command)
    amount_ucr = most_ucr if command.amount_ucr is None else command.amount_ucr
    if amount_ucr > most_ucr:
        raise Refused(
            f"{format_credits(amount_ucr)} credits are more than the {format_credits(most_ucr)} "
            f"of tranche {source.id} that can be taken ahead; take at most that"
        )
    made = advanced(connection, operator_action, source, amount_ucr)
    (moved,), left_ucr = made.transfers, source.left_ucr - amount_ucr
    taken, left = format_credits(amount_ucr), format_credits(left_ucr)
    begins, ends = format_instant(source.effective_s), made.answer["expires"]
    answer = {
        **made.answer,
        "most": format_credits(most_ucr),
        "remaining": left,
        "number": next_transfer_id(connection),
        "begins": begins,
        "sentence": f"{taken} credits of tranche {source.id} can be spent now, until {ends}; "
        f"{left} remain in the tranche, which begins at {begins}",
    }
    return replace(made, transfers=(replace(moved, key=_ahead_key(source)),), answer=answer)


def _term(program: Program, name: str, now_s: int) -> Period:
    """From now to the end of a startup's cohort. Raises Refused where it may take nothing ahead."""
    startup = program.startup(name)
    if startup is None:
        raise Refused(f"{name} is not in the program any more: ask its operators")
    cohort = program.cohort(startup.cohort)
    if not program.policy.self_advance_ppm:
        raise Refused("this program lets startups take nothing ahead: ask its operators")
    if now_s < cohort.starts_s:
        starts = format_instant(cohort.starts_s)
        raise Refused(f"nothing can be taken ahead before your cohort starts, at {starts}")
    return Period(now_s, max(now_s, cohort.ends_s))


def _takeable(
    connection: Connection, program: Program, term: Period, command: SelfAdvanceCommand
) -> tuple[GrantBalance, int]:
    """The tranche to take from, and how much at most. Raises Refused."""
    own = read_startup_grants(connection, command.startup)
    known = dict.fromkeys(grant.id.partition("/")[0] for grant in own)
    if command.grant is not None and command.grant not in known:
        names = ", ".join(known) or "none"
        raise Refused(f"{command.startup} has no grant {command.grant}; it has {names}")
    problem = (
        f"no tranche of {command.grant or command.startup} is to come: ask the operators for more"
    )
    problems = []
    for source in next_tranches(own, term):
        if command.grant not in (None, source.id.partition("/")[0]):
            continue
        allowed_ucr = source.granted_ucr * program.policy.self_advance_ppm // PPM
        most_ucr = min(source.left_ucr, allowed_ucr)
        same = TRANSFER.c.key == _ahead_key(source)
        if connection.scalar(select(TRANSFER.c.id).where(same)) is not None:
            problems.append(
                f"a part of tranche {source.id} was taken ahead before, and that is possible "
                "once for each tranche: ask the operators for more"
            )
        elif most_ucr == 0:
            problems.append(f"nothing of tranche {source.id} is left to take ahead")
        else:
            return source, most_ucr
    raise Refused([*problems, problem][0])


def _ahead_key(source: GrantBalance) -> str:
    """The key of what a startup takes ahead of a tranche."""
    return f"self-advance:{source.startup}:{source.id}"


def advanced(
    connection: Connection, operator_action: OperatorAction, source: GrantBalance, amount_ucr: int
) -> ActionEffects:
    """A part of a tranche as a grant of its own from now on; it ends and rolls over as that."""
    number = next_transfer_id(connection)
    parts = split_grants([source], source.startup, amount_ucr, operator_action.now_s, number)
    key = action_key(connection, operator_action)
    moved = move_transfer(parts, key, operator_action.now_s, operator_action.reason, kind="advance")
    destination = parts[0].destination
    answer = {
        "startup": source.startup,
        "from_grant": source.id,
        "to_grant": destination.id,
        "advanced": format_credits(amount_ucr),
        "expires": format_instant(destination.expires_s),
        "sentence": f"{format_credits(amount_ucr)} credits of {source.id} of {source.startup} "
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

"""Terms of grants: which ids are free, which terms stay, and what the program's budget allows.

The same functions check a program file and `cohortd grant`. The budget has to cover all
credits that the sponsor gave to the program's cohorts, less the voided ones. It also covers
future credits: parts of grants that are not posted yet, and milestones that can be confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, or_, select

from quotas.book.cycle.state import read_program
from quotas.book.schema.tables import BALANCE, GRANT, TRANSFER
from quotas.ledger.corrections import TransferPart
from quotas.ledger.tranches import Part, is_tranche, milestones, parts
from quotas.ledger.transfers import sponsor_account
from quotas.model.program import Program, ProgramError, Startup
from quotas.model.units import format_credits


def check_program_grants(connection: Connection, program: Program, now_s: int) -> None:
    """Raises ProgramError, one sentence, if the book does not allow a program's grants."""
    _refuse_taken_ids(connection, program)
    _refuse_other_terms(connection, program.startups())
    granted = granted_total_ucr(connection, program)
    coming = future_grants_ucr(connection, program, now_s)
    if granted + coming > program.budget_ucr:
        raise ProgramError(
            f"program.budget = {format_credits(program.budget_ucr)} is below the "
            f"{format_credits(granted + coming)} credits of all grants: {format_credits(granted)} "
            f"in the book, and {format_credits(coming)} that this file adds, now or by milestones; "
            "raise program.budget, leave out a new grant, or void one."
        )


def granted_total_ucr(connection: Connection, program: Program) -> int:
    """The credits that the sponsor gave to all cohorts of a program, less the voided ones."""
    accounts = [sponsor_account(cohort.name) for cohort in program.cohorts]
    own = select(BALANCE.c.amount_ucr).where(BALANCE.c.account.in_(accounts))
    given_ucr: int = sum(connection.scalars(own))
    return -given_ucr


def future_grants_ucr(connection: Connection, program: Program, now_s: int) -> int:
    """What a program's grants may still add: parts not posted yet, and milestones ahead."""
    posted = {tuple(row) for row in connection.execute(select(GRANT.c.startup, GRANT.c.grant_id))}
    voided, total_ucr = _voided_grants(connection), 0
    for startup in program.startups():
        for grant in startup.grants:
            coming = {part.id: part.amount_ucr for part in parts(grant)}
            if (startup.name, grant.id) not in voided:
                for part, tranche in milestones(grant).values():
                    if now_s < (grant.expires_s if tranche.by_s is None else tranche.by_s):
                        coming[part] = tranche.amount_ucr
            total_ucr += sum(ucr for id, ucr in coming.items() if (startup.name, id) not in posted)
    return total_ucr


def startup_with_grant(connection: Connection, program: Program, grant_id: str) -> str | None:
    """The startup that has a grant of an id: whole, in tranches, or waiting for milestones."""
    is_part = GRANT.c.grant_id.startswith(f"{grant_id}/", autoescape=True)
    known = select(GRANT.c.startup).where(or_(GRANT.c.grant_id == grant_id, is_part))
    holder: str | None = connection.scalar(known.order_by(GRANT.c.id).limit(1))
    if holder is not None:
        return holder
    waiting = (s.name for s in program.startups() if any(g.id == grant_id for g in s.grants))
    return next(waiting, None)


def grant_rows(startups: Iterable[Startup]) -> list[dict[str, Any]]:
    """The rows of every part that is credited when a program is applied."""
    return [
        grant_row(startup.name, startup.cohort, part, grant.category, grant.priority)
        for startup in startups
        for grant in startup.grants
        for part in parts(grant)
    ]


def moved_grant_rows(
    connection: Connection, moved: Iterable[TransferPart]
) -> tuple[dict[str, Any], ...]:
    """The rows of the grants that moved credits become. Each has its source's category."""
    rows = connection.execute(select(GRANT.c.startup, GRANT.c.grant_id, GRANT.c.category))
    categories = {(startup, grant_id): category for startup, grant_id, category in rows}
    made = []
    for each in moved:
        to, category = each.destination, categories[each.source.startup, each.source.id]
        terms = (to.granted_ucr, to.effective_s, to.expires_s, to.rolls_to, to.rollover)
        made.append(grant_row(to.startup, to.cohort, Part(to.id, *terms), category, to.priority))
    return tuple(made)


def grant_row(
    startup: str, cohort: str, part: Part, category: str, priority: int
) -> dict[str, Any]:
    """The row of a grant, or of a part of one, that has an account of its own."""
    return {
        "grant_id": part.id,
        "startup": startup,
        "cohort": cohort,
        "category": category,
        "priority": priority,
        "amount_ucr": part.amount_ucr,
        "effective_s": part.effective_s,
        "expires_s": part.expires_s,
        "rolls_to": part.rolls_to,
        "roll_ppm": part.rollover.ppm if part.rollover else None,
        "roll_most_ucr": part.rollover.most_ucr if part.rollover else None,
    }


def _refuse_other_terms(connection: Connection, startups: Iterable[Startup]) -> None:
    posted = {(row.startup, row.grant_id): row for row in connection.execute(select(GRANT))}
    for row in grant_rows(startups):
        known = posted.get((row["startup"], row["grant_id"]))
        other = [key for key, value in row.items() if known and getattr(known, key) != value]
        if other:
            raise ProgramError(
                f"grant {row['grant_id']} of {row['startup']} is in the book with another "
                f"{other[0].rpartition('_')[0] or other[0]}, and a posted grant does not change; "
                "write the terms it was posted with, or choose a new id."
            )


def _refuse_taken_ids(connection: Connection, program: Program) -> None:
    """An id belongs to one startup, and either always or never to a grant in tranches."""
    _, current = read_program(connection)
    members = current.startups() if current else ()
    in_force = {(s.name, g.id, bool(g.tranches)) for s in members for g in s.grants}
    taken: dict[str, set[tuple[str, bool]]] = {}
    for holder, id in connection.execute(select(GRANT.c.startup, GRANT.c.grant_id)):
        if "." not in id:  # ids of moved or advanced credits have a dot: no file has them
            taken.setdefault(id.partition("/")[0], set()).add((holder, is_tranche(id)))
    for startup in program.startups():
        for grant in startup.grants:
            own = (startup.name, bool(grant.tranches))
            others = taken.get(grant.id, {own})
            if own not in others and (startup.name, grant.id, own[1]) not in in_force:
                holder, has_tranches = min(others)
                raise ProgramError(
                    f"grant {grant.id} of {startup.name} has the id of a grant "
                    f"{'in' if has_tranches else 'without'} tranches of {holder} in the book; "
                    "choose a new id."
                )


def _voided_grants(connection: Connection) -> set[tuple[str, str]]:
    """Startup and id of every grant that was voided, whole or in part."""
    of_voids = select(TRANSFER.c.key).where(TRANSFER.c.key.between("void:", "void;"))
    found = (key.split(":", 3) for key in connection.scalars(of_voids))
    return {(startup, grant_id) for _, startup, grant_id, _ in found}

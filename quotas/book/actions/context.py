"""What does every deed need of the book: its key, its startup, its grants? And what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from quotas.book.actions.commands import OperatorAction
from quotas.book.cycle.state import read_grants
from quotas.book.schema.tables import GRANT, TRANSFER
from quotas.ledger.corrections import Refused, TransferPart
from quotas.ledger.transfers import GrantBalance, Transfer
from quotas.model.program import Program, Startup

ActionAnswer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActionEffects:
    """What a deed writes: transfers, new rows of grants, a hold or a price, and its answer."""

    transfers: tuple[Transfer, ...]
    answer: ActionAnswer
    grants: tuple[dict[str, Any], ...] = ()
    hold: dict[str, Any] | None = None
    price: dict[str, Any] | None = None


def next_transfer_id(connection: Connection) -> int:
    """The id of the next transfer: it names what has no name of its own."""
    return (connection.scalar(select(func.max(TRANSFER.c.id))) or 0) + 1


def action_key(connection: Connection, operator_action: OperatorAction) -> str:
    """The key of a deed: the one given, or its first transfer's number."""
    # No key that a person may give begins with '#'.
    return operator_action.key or f"#{next_transfer_id(connection)}"


def require_startup(program: Program, name: str) -> Startup:
    """The startup of that name. Raises Refused where the program has none."""
    startup = program.startup(name)
    if startup is None:
        known = ", ".join(each.name for each in program.startups())
        raise Refused(f"no startup {name!r} is in the program; it has {known}")
    return startup


def require_grants(connection: Connection, program: Program, name: str) -> list[GrantBalance]:
    """The grants of a startup that is in the program, or left it with its books."""
    own = [grant for grant in read_grants(connection) if grant.startup == name]
    if not own:
        require_startup(program, name)
    return own


def destination_rows(
    connection: Connection, parts: Sequence[TransferPart]
) -> tuple[dict[str, Any], ...]:
    """The rows of the grants that moved credits become, of their source's category."""
    named = {(row.startup, row.grant_id): row for row in connection.execute(select(GRANT))}
    return tuple(
        {
            "grant_id": part.destination.id,
            "startup": part.destination.startup,
            "cohort": part.destination.cohort,
            "category": named[part.source.startup, part.source.id].category,
            "priority": part.destination.priority,
            "amount_ucr": part.destination.granted_ucr,
            "effective_s": part.destination.effective_s,
            "expires_s": part.destination.expires_s,
            "rolls_to": part.destination.rolls_to,
            "roll_ppm": None if rollover is None else rollover.ppm,
            "roll_most_ucr": None if rollover is None else rollover.most_ucr,
        }
        for part in parts
        for rollover in (part.destination.rollover,)
    )

"""Commands about grants and their tranches: grant, void, milestone, advance."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from quotas.book.actions.advances import AdvanceCommand
from quotas.book.actions.grants import GrantCommand, MilestoneCommand, VoidCommand
from scheduler.cli.actions import (
    BAD_INPUT,
    Credits,
    Startup,
    add_command,
    fail,
    parse_amount,
    parse_instant_option,
)

CATEGORIES = ("sponsor", "promotional", "paid", "bonus")
MAX_PRIORITY = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

GrantId = Annotated[str, typer.Argument(metavar="GRANT", help="Id of the grant.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (grant, void, milestone, advance):
        add_command(app, command)


def grant(
    startup: Startup,
    amount: Credits,
    grant_id: Annotated[str, typer.Option("--id", help="Id of the grant, never used before.")],
    category: Annotated[str, typer.Option(help=", ".join(CATEGORIES))] = "sponsor",
    priority: Annotated[int, typer.Option(help="Lower burns first.")] = 0,
    effective: Annotated[str | None, typer.Option(help="Instant; now by default.")] = None,
    expires: Annotated[str | None, typer.Option(help="Instant; the cohort's end.")] = None,
) -> GrantCommand:
    """Give credits to a startup, as a grant of its own."""
    if not _NAME.fullmatch(grant_id):
        fail(f"--id {grant_id!r} is no valid id; use up to 63 of a-z, 0-9 and -", BAD_INPUT)
    if category not in CATEGORIES:
        fail(f"--category {category!r} is not one of {', '.join(CATEGORIES)}", BAD_INPUT)
    if not 0 <= priority <= MAX_PRIORITY:
        fail(f"--priority {priority} is out of range; give 0 to {MAX_PRIORITY}", BAD_INPUT)
    return GrantCommand(
        startup,
        grant_id,
        parse_amount(amount),
        category,
        priority,
        None if effective is None else parse_instant_option("--effective", effective),
        None if expires is None else parse_instant_option("--expires", expires),
    )


def void(startup: Startup, grant_id: GrantId) -> VoidCommand:
    """Return the rest of a grant to the sponsor, and print how much was used."""
    return VoidCommand(startup, grant_id)


def milestone(
    startup: Startup,
    grant_id: GrantId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The milestone that was reached.")],
) -> MilestoneCommand:
    """Confirm a milestone: its tranche can be spent from now on."""
    return MilestoneCommand(startup, grant_id, name)


def advance(
    startup: Startup,
    grant_id: GrantId,
    credits: Annotated[str | None, typer.Option(help="A part of it; all by default.")] = None,
) -> AdvanceCommand:
    """Let the next tranche of a grant, or a part of it, be spent now."""
    return AdvanceCommand(startup, grant_id, None if credits is None else parse_amount(credits))

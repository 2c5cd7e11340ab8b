"""Commands about grants and their tranches: grant, void, milestone, advance."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from quotas.book.actions.advances import AdvanceCommand
from quotas.book.actions.grants import GrantCommand, MilestoneCommand, VoidCommand
from scheduler.cli.commands import book_command
from scheduler.cli.options import (
    Credits,
    CreditsPart,
    Startup,
    fail,
    parse_amount,
    parse_instant_option,
)

CATEGORIES = ("sponsor", "promotional", "paid", "bonus")
MAX_PRIORITY = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

GrantId = Annotated[str, typer.Argument(metavar="GRANT", help="Id of the grant.")]

app = typer.Typer()


@book_command(app)
def grant(
    startup: Startup,
    amount: Credits,
    grant_id: Annotated[str, typer.Option("--id", help="A new id for the grant.")],
    category: Annotated[str, typer.Option(help=f"One of {', '.join(CATEGORIES)}.")] = "sponsor",
    priority: Annotated[int, typer.Option(help="A lower number is spent first.")] = 0,
    effective: Annotated[
        str | None, typer.Option(help="First instant of the grant. Default: now.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Last instant of the grant. Default: the cohort's end.")
    ] = None,
) -> GrantCommand:
    """Give a startup credits as a new grant."""
    if not _NAME.fullmatch(grant_id):
        fail(f"--id {grant_id!r} is no valid id; use up to 63 of a-z, 0-9 and -")
    if category not in CATEGORIES:
        fail(f"--category {category!r} is not one of {', '.join(CATEGORIES)}")
    if not 0 <= priority <= MAX_PRIORITY:
        fail(f"--priority {priority} is out of range; give 0 to {MAX_PRIORITY}")
    effective_s = None if effective is None else parse_instant_option("--effective", effective)
    expires_s = None if expires is None else parse_instant_option("--expires", expires)
    amount_ucr = parse_amount(amount)
    return GrantCommand(startup, grant_id, amount_ucr, category, priority, effective_s, expires_s)


@book_command(app)
def void(startup: Startup, grant_id: GrantId) -> VoidCommand:
    """End a grant: return its unused credits to the sponsor, and print how much was used."""
    return VoidCommand(startup, grant_id)


@book_command(app)
def milestone(
    startup: Startup,
    grant_id: GrantId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The milestone that was reached.")],
) -> MilestoneCommand:
    """Confirm a milestone, so that its tranche can be spent from now on."""
    return MilestoneCommand(startup, grant_id, name)


@book_command(app)
def advance(startup: Startup, grant_id: GrantId, credits: CreditsPart = None) -> AdvanceCommand:
    """Let a startup spend the next tranche of a grant now, whole or in part."""
    return AdvanceCommand(startup, grant_id, None if credits is None else parse_amount(credits))

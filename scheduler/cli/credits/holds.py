"""The commands `cohortd hold …`: set credits aside, settle or void a hold, list holds.

`cohortd hold STARTUP CREDITS --for 7d` is short for `cohortd hold place …`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from exporters.ctl.default_command import default_command
from quotas.book import Book
from quotas.book.actions.holds import HoldCommand, SettleCommand, VoidHoldCommand
from quotas.book.reads.holds import list_holds
from scheduler.cli.commands import Answer, answer_command, book_command
from scheduler.cli.options import (
    Credits,
    CreditsPart,
    OfStartup,
    Startup,
    parse_amount,
    parse_duration_option,
    parse_instant_option,
)
from scheduler.views.json_fields import json_fields

HoldId = Annotated[str, typer.Argument(metavar="ID", help="Id of the hold, such as h17.")]

app = typer.Typer(
    name="hold",
    cls=default_command("place"),
    no_args_is_help=True,
    help="Set credits aside for a purpose: place, settle, void, list.",
)


@book_command(app)
def place(
    startup: Startup,
    amount: Credits,
    length: Annotated[str, typer.Option("--for", help="How long, such as 7d.")],
) -> HoldCommand:
    """Set credits aside for a time. At its end the rest returns to its grants."""
    return HoldCommand(startup, parse_amount(amount), parse_duration_option("--for", length))


@book_command(app)
def settle(
    hold_id: HoldId,
    credits: CreditsPart = None,
    used_until: Annotated[
        str | None, typer.Option(help="When the usage ended. Default: now.")
    ] = None,
) -> SettleCommand:
    """Spend a hold, whole or in part. The rest returns to its grants."""
    amount_ucr = None if credits is None else parse_amount(credits)
    until_s = None if used_until is None else parse_instant_option("--used-until", used_until)
    return SettleCommand(hold_id, amount_ucr, until_s)


@book_command(app)
def void(hold_id: HoldId) -> VoidHoldCommand:
    """Cancel a hold: all its credits return to its grants."""
    return VoidHoldCommand(hold_id)


@answer_command(app, "list")
def list_(book: Book, startup: OfStartup = None) -> Answer:
    """List every hold with its state, oldest first."""
    with book.reading() as connection:
        found = list_holds(connection, startup)
    names = "id startup state placed_s expires_s ended_s reason"
    rows = [json_fields(row, names, held="amount_ucr", settled="settled_ucr") for row in found]
    return {"holds": rows}, (
        f"{row['id']:8} {row['startup']:20} {row['held']:>16} {row['state']:8} "
        f"until {row['expires']}  {row['reason']}"
        for row in rows
    )

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
from scheduler.cli.actions import book_command
from scheduler.cli.options import (
    DEFAULT_STATE,
    Credits,
    CreditsPart,
    Json,
    OfStartup,
    Startup,
    State,
    parse_amount,
    parse_duration_option,
    parse_instant_option,
    print_json,
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
    """Set credits aside for a time. What is not settled returns to its grants when it ends."""
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


@app.command("list")
def list_(startup: OfStartup = None, state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """List every hold with its state, oldest first."""
    with Book.open_existing(state).reading() as connection:
        found = list_holds(connection, startup)
    renamed = {"held": "amount_ucr", "settled": "settled_ucr"}
    rows = [
        json_fields(row, "id startup state placed_s expires_s ended_s reason", **renamed)
        for row in found
    ]
    if as_json:
        print_json({"holds": rows})
        return
    for row in rows:
        typer.echo(
            f"{row['id']:8} {row['startup']:20} {row['held']:>16} {row['state']:8} "
            f"until {row['expires']}  {row['reason']}"
        )

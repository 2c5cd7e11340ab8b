"""The commands `cohortd hold …`: set credits aside, settle or void a hold, list holds.

`cohortd hold STARTUP CREDITS --for 7d` is short for `cohortd hold place …`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from exporters.ctl.default_command import default_command
from quotas.book import Book
from quotas.book.actions.holds import HoldCommand, SettleCommand, VoidHoldCommand
from quotas.book.reads.holds import list_holds
from quotas.model.units import DAY_S, format_credits, format_instant
from scheduler.cli.actions import (
    Credits,
    Startup,
    add_command,
    parse_amount,
    parse_duration_option,
    parse_instant_option,
)
from scheduler.cli.options import DEFAULT_STATE, Json, State, print_json

MAX_HOLD_S = 366 * DAY_S

HoldId = Annotated[str, typer.Argument(metavar="ID", help="Id of the hold, such as h17.")]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(
        cls=default_command("place"), no_args_is_help=True, help="Credits set aside for a purpose."
    )
    for name, command in (("place", place), ("settle", settle), ("void", void)):
        add_command(group, command, name)
    group.command("list")(list_)
    app.add_typer(group, name="hold")


def place(
    startup: Startup,
    amount: Credits,
    length: Annotated[str, typer.Option("--for", help="How long, such as 7d.")],
) -> HoldCommand:
    """Set credits aside from grants that last as long; they return at the end of the time."""
    return HoldCommand(
        startup, parse_amount(amount), parse_duration_option("--for", length, MAX_HOLD_S)
    )


def settle(
    hold_id: HoldId,
    credits: Annotated[str | None, typer.Option(help="A part of it; all by default.")] = None,
    used_until: Annotated[
        str | None, typer.Option(help="When the usage ended; now by default.")
    ] = None,
) -> SettleCommand:
    """Spend a hold or a part of it; the rest returns to its grants."""
    return SettleCommand(
        hold_id,
        None if credits is None else parse_amount(credits),
        None if used_until is None else parse_instant_option("--used-until", used_until),
    )


def void(hold_id: HoldId) -> VoidHoldCommand:
    """Return a whole hold to its grants."""
    return VoidHoldCommand(hold_id)


def list_(
    startup: Annotated[str | None, typer.Option(help="Of this startup only.")] = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Show every hold and its state, the oldest first."""
    book = Book.open_existing(state)
    try:
        with book.reading() as connection:
            rows = [_shown(row) for row in list_holds(connection, startup)]
    finally:
        book.close()
    if as_json:
        print_json({"holds": rows})
        return
    for row in rows:
        typer.echo(
            f"{row['id']:8} {row['startup']:20} {row['held']:>16} {row['state']:8} "
            f"until {row['expires']}  {row['reason']}"
        )


def _shown(row: Any) -> dict[str, Any]:
    ended_s = row["ended_s"]
    return {
        "id": row["id"],
        "startup": row["startup"],
        "held": format_credits(row["amount_ucr"]),
        "settled": format_credits(row["settled_ucr"]),
        "state": row["state"],
        "placed": format_instant(row["placed_s"]),
        "expires": format_instant(row["expires_s"]),
        "ended": None if ended_s is None else format_instant(ended_s),
        "reason": row["reason"],
    }

"""The commands `cohortd hold …`: set credits aside, settle or void that, and list it.

`cohortd hold STARTUP CREDITS --for 7d` is short for `cohortd hold place …`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from exporters.ctl.default_command import beginning_with
from quotas.book import Book
from quotas.book.actions.commands import HoldOrder, HoldVoidOrder, SettleOrder
from quotas.book.reads.holds import hold_rows
from quotas.model.units import DAY_S, format_credits, format_instant
from scheduler.cli.actions import Credits, Startup, add, amount_ucr, duration_s, instant_s
from scheduler.cli.options import DEFAULT_STATE, Json, State, show

LONGEST_S = 366 * DAY_S

HoldId = Annotated[str, typer.Argument(metavar="ID", help="Id of the hold, such as h17.")]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(
        cls=beginning_with("place"), no_args_is_help=True, help="Credits set aside for a purpose."
    )
    for name, command in (("place", place), ("settle", settle), ("void", void)):
        add(group, command, name)
    group.command("list")(list_)
    app.add_typer(group, name="hold")


def place(
    startup: Startup,
    amount: Credits,
    length: Annotated[str, typer.Option("--for", help="How long, such as 7d.")],
) -> HoldOrder:
    """Set credits aside, from grants that last as long; they return when the time is over."""
    return HoldOrder(startup, amount_ucr(amount), duration_s("--for", length, LONGEST_S))


def settle(
    hold_id: HoldId,
    credits: Annotated[str | None, typer.Option(help="A part of it; all by default.")] = None,
    used_until: Annotated[
        str | None, typer.Option(help="When the usage ended; now by default.")
    ] = None,
) -> SettleOrder:
    """Spend a hold, or a part of it; the rest returns to the grants that it came from."""
    return SettleOrder(
        hold_id,
        None if credits is None else amount_ucr(credits),
        None if used_until is None else instant_s("--used-until", used_until),
    )


def void(hold_id: HoldId) -> HoldVoidOrder:
    """Return a hold whole to the grants that it came from."""
    return HoldVoidOrder(hold_id)


def list_(
    startup: Annotated[str | None, typer.Option(help="Of this startup only.")] = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Every hold and how it stands, the oldest first."""
    book = Book.open_existing(state)
    try:
        with book.reading() as connection:
            rows = [_shown(row) for row in hold_rows(connection, startup)]
    finally:
        book.close()
    if as_json:
        show({"holds": rows})
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

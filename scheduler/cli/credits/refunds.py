"""Commands that give charged credits back, or move credits: refund, transfer."""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book.actions.commands import RefundOrder, TransferOrder
from scheduler.cli.actions import BAD_INPUT, Credits, add, amount_ucr, fail, instant_s


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (refund, transfer):
        add(app, command)


def refund(
    from_: Annotated[str, typer.Option("--from", help="First instant, with its zone.")],
    to: Annotated[str, typer.Option("--to", help="Instant after the last second.")],
    server: Annotated[str | None, typer.Option(help="Id of the server.")] = None,
    startup: Annotated[str | None, typer.Option(help="Every server of this startup.")] = None,
    zone: Annotated[str | None, typer.Option(help="Every server in this zone, whosever.")] = None,
) -> RefundOrder:
    """Return every charged second of an interval to the grants that it was drawn from."""
    if sum(named is not None for named in (server, startup, zone)) != 1:
        fail("a refund names one of three; give --server, --startup or --zone", BAD_INPUT)
    from_s, to_s = instant_s("--from", from_), instant_s("--to", to)
    if to_s <= from_s:
        fail(f"--to {to} is not after --from {from_}", BAD_INPUT)
    return RefundOrder(from_s, to_s, server, startup, zone)


def transfer(
    giver: Annotated[str, typer.Argument(metavar="FROM", help="The startup that gives.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A startup of the same cohort.")],
    amount: Credits,
) -> TransferOrder:
    """Move credits from one startup to another of its cohort, with the end they have."""
    return TransferOrder(giver, to, amount_ucr(amount))

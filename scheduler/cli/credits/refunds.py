"""Commands that return charged credits or move credits: refund, transfer."""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book.actions.refunds import RefundCommand, TransferCommand
from scheduler.cli.actions import (
    BAD_INPUT,
    Credits,
    add_command,
    fail,
    parse_amount,
    parse_instant_option,
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (refund, transfer):
        add_command(app, command)


def refund(
    from_: Annotated[str, typer.Option("--from", help="First instant, with its zone.")],
    to: Annotated[str, typer.Option("--to", help="Instant after the last second.")],
    server: Annotated[str | None, typer.Option(help="Id of the server.")] = None,
    startup: Annotated[str | None, typer.Option(help="Every server of this startup.")] = None,
    zone: Annotated[str | None, typer.Option(help="Every server in this zone, whosever.")] = None,
) -> RefundCommand:
    """Return every charged second of an interval to the grants that paid for it."""
    if sum(named is not None for named in (server, startup, zone)) != 1:
        fail("a refund names one of three; give --server, --startup or --zone", BAD_INPUT)
    from_s, to_s = parse_instant_option("--from", from_), parse_instant_option("--to", to)
    if to_s <= from_s:
        fail(f"--to {to} is not after --from {from_}", BAD_INPUT)
    return RefundCommand(from_s, to_s, server, startup, zone)


def transfer(
    sender: Annotated[str, typer.Argument(metavar="FROM", help="The startup that gives.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A startup of the same cohort.")],
    amount: Credits,
) -> TransferCommand:
    """Move credits from one startup to another of its cohort; they keep their expiry."""
    return TransferCommand(sender, to, parse_amount(amount))

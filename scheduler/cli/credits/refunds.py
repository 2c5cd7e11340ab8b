"""Commands that return charged credits or move credits: refund, transfer."""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book.actions.refunds import RefundCommand, TransferCommand
from scheduler.cli.commands import book_command
from scheduler.cli.options import Credits, fail, parse_amount, parse_instant_option

app = typer.Typer()


@book_command(app)
def refund(
    from_: Annotated[str, typer.Option("--from", help="First instant, with its time zone.")],
    to: Annotated[str, typer.Option("--to", help="The instant after the last second.")],
    server: Annotated[str | None, typer.Option(help="Refund this server, by its id.")] = None,
    startup: Annotated[str | None, typer.Option(help="Refund this startup's servers.")] = None,
    zone: Annotated[str | None, typer.Option(help="Refund every startup in this zone.")] = None,
) -> RefundCommand:
    """Refund the charges of an interval to the grants that paid them."""
    if sum(named is not None for named in (server, startup, zone)) != 1:
        fail("a refund names one of three; give --server, --startup or --zone")
    from_s, to_s = parse_instant_option("--from", from_), parse_instant_option("--to", to)
    if to_s <= from_s:
        fail(f"--to {to} is not after --from {from_}")
    return RefundCommand(from_s, to_s, server, startup, zone)


@book_command(app)
def transfer(
    sender: Annotated[str, typer.Argument(metavar="FROM", help="The startup that gives.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A startup of the same cohort.")],
    amount: Credits,
) -> TransferCommand:
    """Move credits between two startups of a cohort. The credits keep their expiry."""
    return TransferCommand(sender, to, parse_amount(amount))

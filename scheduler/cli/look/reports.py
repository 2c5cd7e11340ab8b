"""Commands that export the books: the journal, for a spreadsheet or an accountant."""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book import Book
from quotas.book.cycle.state import read_startups
from quotas.book.reads.transfers import (
    moves_startup_accounts,
    newest_transfer_id,
    stream_transfers,
    transfer_id_as_of,
)
from quotas.book.schema.tables import TRANSFER
from quotas.ledger.export import FORMATS
from scheduler.cli.actions import BAD_INPUT, REFUSED, fail, parse_instant_option
from scheduler.cli.as_of import AsOf, parse_past_instant
from scheduler.cli.options import DEFAULT_STATE, State


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(journal)


def journal(
    form: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(sorted(FORMATS))}.")
    ] = "csv",
    startup: Annotated[str | None, typer.Option(help="What moves this startup's accounts.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="First instant of effect, with its zone.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Instant after the last.")] = None,
    as_of: AsOf = None,
    state: State = DEFAULT_STATE,
) -> None:
    """Export every transfer with its entries: csv, json (one a line), or ledger for hledger."""
    if form not in FORMATS:
        fail(f"--format {form!r} is not one of {', '.join(sorted(FORMATS))}", BAD_INPUT)
    where = []
    if from_ is not None:
        where.append(TRANSFER.c.at_s >= parse_instant_option("--from", from_))
    if to is not None:
        where.append(TRANSFER.c.at_s < parse_instant_option("--to", to))
    book = Book.open_existing(state)
    as_of_s = None if as_of is None else parse_past_instant(book, as_of)
    with book.reading() as connection:
        if startup is not None:
            known = read_startups(connection)
            if startup not in known:
                fail(f"no startup {startup!r} is in the book; it has {', '.join(known)}", REFUSED)
            where.append(moves_startup_accounts(startup))
        through_id = (
            newest_transfer_id(connection)
            if as_of_s is None
            else transfer_id_as_of(connection, as_of_s)
        )
        for lines in FORMATS[form](stream_transfers(connection, *where, until_id=through_id)):
            typer.echo(lines, nl=False)

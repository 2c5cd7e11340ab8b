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
from scheduler.cli.options import (
    DEFAULT_STATE,
    REFUSED,
    AsOf,
    OfStartup,
    State,
    fail,
    parse_instant_option,
    parse_past_instant,
)

app = typer.Typer()


@app.command()
def journal(
    form: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(sorted(FORMATS))}.")
    ] = "csv",
    startup: OfStartup = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="First instant, with its time zone.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The instant after the last.")] = None,
    as_of: AsOf = None,
    state: State = DEFAULT_STATE,
) -> None:
    """Export all transfers: as CSV, as JSON (one per line), or in hledger's format."""
    if form not in FORMATS:
        fail(f"--format {form!r} is not one of {', '.join(sorted(FORMATS))}")
    where = []
    if from_ is not None:
        where.append(TRANSFER.c.at_s >= parse_instant_option("--from", from_))
    if to is not None:
        where.append(TRANSFER.c.at_s < parse_instant_option("--to", to))
    book = Book.open_existing(state)
    as_of_s = parse_past_instant(book, as_of)
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

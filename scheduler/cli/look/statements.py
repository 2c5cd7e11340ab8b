"""The command that shows a startup's month: `cohortd statement`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from quotas.book import Book
from quotas.book.cycle.state import read_startups
from quotas.book.reads.history import latest_instant_s
from quotas.book.reads.statements import read_closed_statements, read_statement
from quotas.book.reads.transfers import transfer_id_as_of
from quotas.ledger.statements import csv_text, month_name, month_s
from scheduler.cli.options import (
    DEFAULT_STATE,
    REFUSED,
    AsOf,
    Json,
    State,
    fail,
    parse_past_instant,
    print_json,
)
from scheduler.clock import SystemClock

app = typer.Typer()


@app.command()
def statement(
    startup: Annotated[str | None, typer.Argument(help="A startup that the book knows.")] = None,
    month: Annotated[
        str | None, typer.Argument(help="A UTC month such as 2027-01. Default: this month.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the closed statements of one or all startups.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the lines as CSV.")] = False,
    as_of: AsOf = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Show a startup's month: the opening balance, every line, and the closing balance."""
    book = Book.open_existing(state)
    as_of_s = parse_past_instant(book, as_of)
    with book.reading() as connection:
        known = read_startups(connection)
        if startup is not None and startup not in known:
            fail(f"no startup {startup!r} is in the book; it has {', '.join(known)}", REFUSED)
        if listed:
            _list(read_closed_statements(connection, startup, as_of_s), as_json=as_json)
            return
        if startup is None:
            fail("STARTUP is missing: name a startup, or add --list")
        found = _one(connection, startup, month, as_of_s)
    if as_json:
        print_json(found)
    elif as_csv:
        typer.echo(csv_text(found), nl=False)
    else:
        _print(found)


def _one(
    connection: Connection, startup: str, month: str | None, as_of_s: int | None
) -> Mapping[str, Any]:
    now_s = latest_instant_s(connection, SystemClock().now_s()) if as_of_s is None else as_of_s
    try:
        start_s = now_s if month is None else month_s(month)
    except ValueError:
        fail(f"{month!r} is not a month: write it as 2027-01")
    as_of = None if as_of_s is None else (as_of_s, transfer_id_as_of(connection, as_of_s))
    name = month_name(start_s)
    if start_s > now_s:
        fail(f"{name} has not begun yet; the open month is {month_name(now_s)}", REFUSED)
    found = read_statement(connection, startup, start_s, as_of)
    if found is None:
        fail(f"{startup} has no statement for {name}, which is before its first month", REFUSED)
    return found


def _list(rows: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(list(rows))
        return
    typer.echo(f"{'startup':24} {'month':8} {'opening':>16} {'closing':>16}  hash")
    for row in rows:
        typer.echo(
            f"{row['startup']:24} {row['month']:8} {row['opening']:>16} {row['closing']:>16}  "
            f"{row['hash']}"
        )


def _print(found: Mapping[str, Any]) -> None:
    closed = f"closed {found['closed']}" if found["closed"] else "open: it may still change"
    typer.echo(f"{found['startup']}, {found['month']} (UTC), {closed}")
    typer.echo(f"{'opening balance':58} {found['opening']:>16}")
    for line in found["lines"]:
        late = "late: " if line["late"] else ""
        typer.echo(f"{late + _what(line):58} {line['amount']:>16}")
        if line["kind"] != "charge" and line["by"] != "cohortd":
            typer.echo(f"    by {line['by']}: {line['reason']}")
        if line["overdraft"] != "0.00":
            typer.echo(f"    and {line['overdraft']} to the sponsor's overdraft")
    typer.echo(f"{'closing balance':58} {found['closing']:>16}")
    if found["hash"]:
        typer.echo(f"hash {found['hash']}")


def _what(line: Mapping[str, Any]) -> str:
    if line["kind"] != "charge":
        return f"{line['at']} {line['kind']}"
    return (
        f"{line['at']} {line['flavor']} {line['server'][:8]}: {line['seconds']} s at "
        f"{line['rate_per_hour']}/h"
    )

"""The command that shows a startup's month: `cohortd statement`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from quotas.book import Book
from quotas.book.cycle.state import read_startups
from quotas.book.reads.history import latest_instant_s
from quotas.book.reads.statements import read_closed_statements, read_statement
from quotas.book.reads.transfers import transfer_id_as_of
from quotas.ledger.statements import csv_text, month_name, month_s
from scheduler.cli.commands import Answer, answer_command
from scheduler.cli.options import REFUSED, AsOf, fail, parse_past_instant
from scheduler.clock import SystemClock

Month = Annotated[
    str | None, typer.Argument(help="A UTC month such as 2027-01. Default: this month.")
]
Listed = Annotated[
    bool, typer.Option("--list", help="List the closed statements of one or all startups.")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the lines as CSV.")]

app = typer.Typer()


@answer_command(app)
def statement(
    book: Book,
    startup: Annotated[str | None, typer.Argument(help="A startup that the book knows.")] = None,
    month: Month = None,
    listed: Listed = False,
    as_csv: AsCsv = False,
    as_of: AsOf = None,
) -> Answer:
    """Show a startup's month: the opening balance, every line, and the closing balance."""
    as_of_s = parse_past_instant(book, as_of)
    with book.reading() as connection:
        known = read_startups(connection)
        if startup is not None and startup not in known:
            fail(f"no startup {startup!r} is in the book; it has {', '.join(known)}", REFUSED)
        if listed:
            closed = list(read_closed_statements(connection, startup, as_of_s))
            return closed, _list_lines(closed)
        if startup is None:
            fail("STARTUP is missing: name a startup, or add --list")
        found = _one(connection, startup, month, as_of_s)
    return found, csv_text(found).removesuffix("\n").split("\n") if as_csv else _lines(found)


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


def _list_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{'startup':24} {'month':8} {'opening':>16} {'closing':>16}  hash"
    for row in rows:
        balances = f"{row['opening']:>16} {row['closing']:>16}"
        yield f"{row['startup']:24} {row['month']:8} {balances}  {row['hash']}"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    closed = f"closed {found['closed']}" if found["closed"] else "open: it may still change"
    yield f"{found['startup']}, {found['month']} (UTC), {closed}"
    yield f"{'opening balance':58} {found['opening']:>16}"
    for line in found["lines"]:
        late = "late: " if line["late"] else ""
        yield f"{late + _what(line):58} {line['amount']:>16}"
        if line["kind"] != "charge" and line["by"] != "cohortd":
            yield f"    by {line['by']}: {line['reason']}"
        if line["overdraft"] != "0.00":
            yield f"    and {line['overdraft']} to the sponsor's overdraft"
    yield f"{'closing balance':58} {found['closing']:>16}"
    if found["hash"]:
        yield f"hash {found['hash']}"


def _what(line: Mapping[str, Any]) -> str:
    if line["kind"] != "charge":
        return f"{line['at']} {line['kind']}"
    return (
        f"{line['at']} {line['flavor']} {line['server'][:8]}: {line['seconds']} s at "
        f"{line['rate_per_hour']}/h"
    )

"""The option --as-of of every command that reads: the past instant at which to read."""

from __future__ import annotations

from typing import Annotated

import typer

from quotas.book import Book
from quotas.book.reads.history import InstantNotKnown, program_at
from scheduler.cli.actions import REFUSED, fail, parse_instant_option
from scheduler.clock import SystemClock

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="A past instant with its zone: what the book knew then."),
]


def parse_past_instant(book: Book, as_of: str) -> int:
    """The UTC seconds of a past instant within a cohort; any other ends the command."""
    asked_s = parse_instant_option("--as-of", as_of)
    try:
        with book.reading() as connection:
            program_at(connection, asked_s, SystemClock().now_s())
    except InstantNotKnown as refused:
        fail(str(refused), REFUSED)
    return asked_s

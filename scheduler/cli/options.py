"""Options that several commands share: their help, their parsers, and how a command answers."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from quotas.book import Address, Book
from quotas.book.reads.history import program_at
from quotas.model.units import (
    format_credits,
    format_instant,
    parse_credits,
    parse_duration,
    parse_instant,
)
from scheduler.clock import SystemClock

REFUSED, BAD_INPUT, UNREACHABLE = 1, 2, 3
"""Exit codes: the book or the cloud said no, the command was wrong, nothing was reached."""
MAX_REASON_LENGTH = 500
MAX_CYCLE = "30s"
"""Together with the duration of a cycle it is below quotas.metering.runs.SHORTEST_BOUNCE_S.

In a longer gap an edit of a server would make its time free.
"""
DEFAULT_STATE = Address(Path("cohortd-state"))


def _folder(text: str | Address) -> Address:
    return Address.from_path(Path(text) if isinstance(text, str) else text)


State = Annotated[
    Address,
    typer.Option(
        "--state",
        parser=_folder,
        metavar="DIRECTORY",
        show_default=str(DEFAULT_STATE.folder),
        help="The folder that holds the book.",
    ),
]
ProgramFile = Annotated[Path, typer.Option("--program", help="The program file (TOML).")]
DEFAULT_PROGRAM = Path("program.toml")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Startup = Annotated[str, typer.Argument(help="A startup of the program.")]
OfStartup = Annotated[str | None, typer.Option("--startup", help="Show only this startup.")]
Credits = Annotated[str, typer.Argument(help="Credits, such as 60000 or 12.50.")]
CreditsPart = Annotated[
    str | None, typer.Option("--credits", help="Only this many credits. Default: all of them.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why. The book keeps the reason.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="The most to show.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what the command would do. Change nothing.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", help="An id of your choice. A repetition with the same key changes nothing."
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of", help="Show what the book knew at this past instant: 2027-03-01T09:00+01:00."
    ),
]


def print_json(value: object) -> None:
    """Print a value as JSON, sorted and indented."""
    typer.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def print_answer(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print an answer as JSON, or as the lines that a person reads."""
    if as_json:
        print_json(value)
        return
    for line in lines:
        typer.echo(line)


def fail(sentence: str, code: int = BAD_INPUT) -> NoReturn:
    """Print one sentence and exit."""
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(code)


def read_text(path: Path) -> str:
    """A text file's content; a file that cannot be read is bad usage (exit 2)."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}") from None


def actor() -> str:
    """The user who runs this command, for the book's records."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"


def parse_reason(reason: str) -> str:
    """A reason that the book can store; anything else ends with exit 2."""
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        fail(f"--reason is one line of 1 to {MAX_REASON_LENGTH} characters")
    return reason.strip()


def parse_amount(text: str) -> int:
    """An amount of credits above zero; anything else ends with exit 2."""
    try:
        amount = parse_credits(text)
    except ValueError as error:
        fail(f"the amount {error}; write such as 60000 or 12.50")
    if amount <= 0:
        fail(f"the amount {format_credits(amount)} is not above zero; write more")
    return amount


def parse_instant_option(option: str, text: str) -> int:
    """An instant with its zone; anything else ends with exit 2."""
    try:
        instant = parse_instant(text)
        format_instant(instant)  # an offset can move year 9999 past the last instant
    except (ValueError, OverflowError) as error:
        fail(f"{option} {text}: {error}")
    return instant


def parse_past_instant(book: Book, as_of: str | None) -> int | None:
    """The UTC seconds of --as-of, None without it. Raises InstantNotKnown outside a cohort."""
    if as_of is None:
        return None
    asked_s = parse_instant_option("--as-of", as_of)
    with book.reading() as connection:
        program_at(connection, asked_s, SystemClock().now_s())
    return asked_s


def parse_duration_option(
    option: str, text: str, *, least: str = "1s", most: str = "366d", why: str = ""
) -> int:
    """A duration in seconds between two bounds, both included; any other ends with exit 2."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        fail(f"{option} {error}")
    if not parse_duration(least) <= seconds <= parse_duration(most):
        fail(f"{option} {text} is out of range; give {least} to {most}{why}")
    return seconds


def parse_cycle(text: str) -> int:
    """The time between cycles in seconds; anything else ends with exit 2."""
    why = ", because a server that stops and starts again between two cycles is not charged"
    return parse_duration_option("--cycle", text, most=MAX_CYCLE, why=why)


def parse_address(text: str) -> tuple[str, int]:
    """Host and port, parsed from an option."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise typer.BadParameter(f"--listen is {text!r}: write host:port such as 127.0.0.1:9464")
    return host, int(port)


def keyword_parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    """A function's parameters with their annotations resolved, all of them keyword-only."""
    hints = get_type_hints(function, include_extras=True)
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name])
        for each in inspect.signature(function).parameters.values()
    ]


def declare_parameters(function: Any, parameters: Iterable[inspect.Parameter]) -> None:
    """Make these the parameters that typer reads from a function of **values."""
    function.__signature__ = inspect.Signature(list(parameters))
    function.__annotations__ = {each.name: each.annotation for each in parameters}

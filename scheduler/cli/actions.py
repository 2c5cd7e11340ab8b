"""Shared parts of the commands that change the books: options, execution, answers.

A command here is a function of its own options that returns a command for the book. `add` adds the
options that all of them share, executes the command once for each key, and prints what was done,
or with --dry-run what would be done. A refusal by the book ends with exit 1, an invalid value with
exit 2; neither writes anything.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, NoReturn, get_type_hints

import typer

from quotas.book import Address, Book
from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.execute import perform_action, preview_action
from quotas.ledger.corrections import Refused
from quotas.model.units import (
    format_credits,
    format_instant,
    parse_credits,
    parse_duration,
    parse_instant,
)
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, print_json
from scheduler.clock import SystemClock

REFUSED, BAD_INPUT = 1, 2
MAX_REASON_LENGTH = 500

Startup = Annotated[str, typer.Argument(help="A startup of the program.")]
Credits = Annotated[str, typer.Argument(help="Credits, such as 60000 or 12.50.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the book.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be; change nothing.")]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Repeating a command with its key repeats its first answer."),
]

_KEY = re.compile(
    r"[!$-~][!-~]{0,99}"
)  # printable; '# printable; keys that begin with '#' are cohortd's own


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a command is executed: on which book, under which key, and whether it is a dry run."""

    state: Address
    key: str | None
    dry_run: bool
    as_json: bool


def _shared_options(
    *,
    reason: Reason,
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> tuple[str, CallOptions]:
    return reason, CallOptions(state, key, dry_run, as_json)


def add_command(app: typer.Typer, ask: Callable[..., Command], name: str | None = None) -> None:
    """Add a command: its own options, then the shared ones.

    An argument may begin with '-', so that a negative amount is refused as an amount.
    """
    own, ours = _parameters(ask), _parameters(_shared_options)

    def run(**values: object) -> None:
        shared = {each.name: values.pop(each.name) for each in ours}
        reason, options = _shared_options(**shared)  # type: ignore[arg-type]  # typer read them as declared
        run_command(ask(**values), reason, options)

    run.__name__, run.__doc__ = ask.__name__, ask.__doc__
    run.__signature__ = inspect.Signature([*own, *ours])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *ours)}
    app.command(name, context_settings={"ignore_unknown_options": True})(run)


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    """Its parameters with their annotations resolved, all of them keyword-only."""
    hints = get_type_hints(function, include_extras=True)
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name])
        for each in inspect.signature(function).parameters.values()
    ]


def run_command(command: Command, reason: str, options: CallOptions) -> None:
    """Execute or preview the command, and print the answer; a refusal ends with exit 1."""
    check_printable(reason, options.key)
    for name in filter(None, (v for v in asdict(command).values() if isinstance(v, str))):
        if not name.isprintable():
            fail(f"{name!r} cannot be a name; write printable characters", BAD_INPUT)
    book = Book.open_existing(options.state)
    operator_action = OperatorAction(
        command, reason.strip(), actor(), SystemClock().now_s(), options.key
    )
    try:
        answer = (
            preview_action(book, operator_action)
            if options.dry_run
            else perform_action(book, operator_action)
        )
    except Refused as refused:
        fail(f"refused: {refused}", REFUSED)
    finally:
        book.close()
    if options.as_json:
        print_json({**answer, "dry_run": options.dry_run})
    else:
        typer.echo(f"{'would be: ' if options.dry_run else ''}{answer['sentence']}")


def check_printable(reason: str, key: str | None) -> None:
    """Check that the book can store a reason and a key; anything else ends with exit 2."""
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        fail(f"--reason is one line of 1 to {MAX_REASON_LENGTH} characters", BAD_INPUT)
    if key is not None and not _KEY.fullmatch(key):
        fail("--key is 1 to 100 printable characters without space, no '#' in front", BAD_INPUT)


def parse_amount(text: str) -> int:
    """An amount of credits above zero; anything else ends with exit 2."""
    try:
        amount = parse_credits(text)
    except ValueError as error:
        fail(f"the amount {error}; write such as 60000 or 12.50", BAD_INPUT)
    if amount <= 0:
        fail(f"the amount {format_credits(amount)} is not above zero; write more", BAD_INPUT)
    return amount


def parse_instant_option(option: str, text: str) -> int:
    """An instant with its zone; anything else ends with exit 2."""
    try:
        instant = parse_instant(text)
        format_instant(instant)  # an offset can move year 9999 past the last instant
    except (ValueError, OverflowError) as error:
        fail(f"{option} {text}: {error}", BAD_INPUT)
    return instant


def parse_duration_option(option: str, text: str, most_s: int) -> int:
    """A duration above zero and up to a limit; anything else ends with exit 2."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        fail(f"{option} {error}", BAD_INPUT)
    if not 0 < seconds <= most_s:
        most = f"{most_s // 86_400}d"
        fail(f"{option} {text} is out of range; give more than 0s and at most {most}", BAD_INPUT)
    return seconds


def fail(sentence: str, code: int) -> NoReturn:
    """Print one sentence and exit."""
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(code)

"""Two decorators that add commands: those that change the books, and those that answer from it.

`book_command` is for a function of its own options that returns a command for the book. The
decorator adds the options that all of them share, executes the command once for each key, and
prints what was done, or with --dry-run what would be done. A refusal by the book ends with
exit 1, an invalid value with exit 2; neither writes anything.

`answer_command` is for a function that gets an open book as `book` and returns its answer twice:
as a JSON-ready value and as lines of text. The decorator adds --state and --json.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import typer

from quotas.book import Book
from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.execute import perform_action, preview_action
from scheduler.cli import options
from scheduler.clock import SystemClock

Answer = tuple[Any, Iterable[str]]
"""What a command found: a JSON-ready value, and the lines that a person reads."""
Function = TypeVar("Function", bound=Callable[..., object])
Decorator = Callable[[Function], Function]

_KEY = re.compile(r"[!$-~][!-~]{0,99}")  # printable; keys that begin with '#' are cohortd's own
NEGATIVE_NUMBERS = {"ignore_unknown_options": True}
"""An argument may begin with '-', so that a negative amount is refused as an amount."""


def book_command(app: typer.Typer, name: str | None = None) -> Decorator[Any]:
    """Add a command that changes the books: its own options, then the shared ones."""

    def add(make: Callable[..., Command]) -> Callable[..., Command]:
        _, *shared = options.keyword_parameters(_execute)

        def run(**values: Any) -> None:
            shared_values = {each.name: values.pop(each.name) for each in shared}
            _execute(make(**values), **shared_values)

        _imitate(make, run, [*options.keyword_parameters(make), *shared])
        app.command(name, context_settings=NEGATIVE_NUMBERS)(run)
        return make

    return add


def answer_command(
    app: typer.Typer, name: str | None = None, settings: dict[str, bool] | None = None
) -> Decorator[Any]:
    """Add a command that reads or writes the book and answers: its own options, and two more."""

    def add(find: Callable[..., Answer]) -> Callable[..., Answer]:
        def run(
            state: options.State = options.DEFAULT_STATE,
            as_json: options.Json = False,
            **values: Any,
        ) -> None:
            book = Book.open_existing(state)
            try:
                options.print_answer(*find(book, **values), as_json=as_json)
            finally:
                book.close()

        own = [each for each in options.keyword_parameters(find) if each.name != "book"]
        _imitate(find, run, [*own, *options.keyword_parameters(run)[:2]])
        app.command(name, context_settings=settings)(run)
        return find

    return add


def _imitate(
    function: Callable[..., object], run: Callable[..., None], parameters: list[inspect.Parameter]
) -> None:
    """Give `run` the function's name and help, and these parameters."""
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    options.declare_parameters(run, parameters)


def _execute(
    command: Command,
    *,
    reason: options.Reason,
    state: options.State = options.DEFAULT_STATE,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    key: options.Key = None,
) -> None:
    """Execute or preview the command, and print the answer. Raises Refused."""
    reason = options.parse_reason(reason)
    check_key(key)
    for name in filter(None, (v for v in asdict(command).values() if isinstance(v, str))):
        if not name.isprintable():
            options.fail(f"{name!r} cannot be a name; write printable characters")
    book = Book.open_existing(state)
    action = OperatorAction(command, reason, options.actor(), SystemClock().now_s(), key)
    try:
        answer = (preview_action if dry_run else perform_action)(book, action)
    finally:
        book.close()
    sentence = f"{'would be: ' if dry_run else ''}{answer['sentence']}"
    options.print_answer({**answer, "dry_run": dry_run}, [sentence], as_json=as_json)


def check_key(key: str | None) -> None:
    """Check that the book can store a key; any other ends with exit 2."""
    if key is not None and not _KEY.fullmatch(key):
        options.fail("--key is 1 to 100 printable characters without space, no '#' in front")

"""The commands that change the books: one decorator adds their options and executes them.

Such a command is a function of its own options that returns a command for the book. The
decorator adds the options that all of them share, executes the command once for each key, and
prints what was done, or with --dry-run what would be done. A refusal by the book ends with
exit 1, an invalid value with exit 2; neither writes anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict

import typer

from quotas.book import Book
from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.execute import perform_action, preview_action
from scheduler.cli.options import (
    DEFAULT_STATE,
    DryRun,
    Json,
    Key,
    Reason,
    State,
    actor,
    declare_parameters,
    fail,
    keyword_parameters,
    parse_reason,
    print_json,
)
from scheduler.clock import SystemClock

_KEY = re.compile(r"[!$-~][!-~]{0,99}")  # printable; keys that begin with '#' are cohortd's own
MakeCommand = Callable[..., Command]


def book_command(app: typer.Typer, name: str | None = None) -> Callable[[MakeCommand], MakeCommand]:
    """Add a command to an application: its own options, then the shared ones.

    An argument may begin with '-', so that a negative amount is refused as an amount.
    """

    def add(make: MakeCommand) -> MakeCommand:
        _, *shared = keyword_parameters(_execute)

        def run(**values: object) -> None:
            options = {each.name: values.pop(each.name) for each in shared}
            _execute(make(**values), **options)  # type: ignore[arg-type]  # typer read them as declared

        run.__name__, run.__doc__ = make.__name__, make.__doc__
        declare_parameters(run, [*keyword_parameters(make), *shared])
        app.command(name, context_settings={"ignore_unknown_options": True})(run)
        return make

    return add


def _execute(
    command: Command,
    *,
    reason: Reason,
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> None:
    """Execute or preview the command, and print the answer. Raises Refused."""
    reason = parse_reason(reason)
    check_key(key)
    for name in filter(None, (v for v in asdict(command).values() if isinstance(v, str))):
        if not name.isprintable():
            fail(f"{name!r} cannot be a name; write printable characters")
    book = Book.open_existing(state)
    action = OperatorAction(command, reason, actor(), SystemClock().now_s(), key)
    try:
        answer = (preview_action if dry_run else perform_action)(book, action)
    finally:
        book.close()
    if as_json:
        print_json({**answer, "dry_run": dry_run})
    else:
        typer.echo(f"{'would be: ' if dry_run else ''}{answer['sentence']}")


def check_key(key: str | None) -> None:
    """Check that the book can store a key; any other ends with exit 2."""
    if key is not None and not _KEY.fullmatch(key):
        fail("--key is 1 to 100 printable characters without space, no '#' in front")

"""The option `--database URL`, beside `--state` on every command that opens a book."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import typer

from quotas.book import Address
from scheduler.cli.options import declare_parameters, keyword_parameters
from scheduler.config import database_url

Database = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        show_default=False,
        help="The book is in PostgreSQL: postgresql://USER@HOST/NAME (COHORTD_DATABASE).",
    ),
]


def with_database(app: typer.Typer) -> None:
    """Add the option to every command of an application that takes `state`, once."""
    for info in app.registered_commands:
        taken = inspect.signature(info.callback).parameters if info.callback else {}
        if info.callback and "state" in taken and "database" not in taken:
            info.callback = _with_database(info.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            with_database(group.typer_instance)


def _with_database(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, called with the address that the options or the environment name."""

    @functools.wraps(command)
    def with_address(database: str = "", **values: Any) -> Any:
        state: Address = values.pop("state")
        url = database or database_url()
        if url:
            state = replace(state, database=url)
            _ = state.url  # an invalid URL is refused before anything else happens
        return command(state=state, **values)

    option = inspect.Parameter(
        "database", inspect.Parameter.KEYWORD_ONLY, default="", annotation=Database
    )
    declare_parameters(with_address, [*keyword_parameters(command), option])
    return with_address

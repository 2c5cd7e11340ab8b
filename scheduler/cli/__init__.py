"""The command line `cohortd`: the only package that joins scheduler and exporters.

Importing this module imports no command. `command_index` lists the commands for the help, and
`lazy_group` imports the module of the one that is called.
"""

from __future__ import annotations

import sys

import typer

from scheduler.cli.errors import end
from scheduler.cli.lazy_group import LazyGroup

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Share GPUs and charge credits for startup programs on Scaleway.",
)
app.callback()(lambda: None)  # typer takes no application without a command or a callback


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 refused, 2 bad usage or file, 3 not reached."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        end(_usage(error), error.exit_code)
    except KeyboardInterrupt:
        end("interrupted", 1)


def _usage(error: typer.TyperException) -> str:
    """The usage error on one line; empty if the help was shown."""
    ours = isinstance(error, typer.BadParameter) and error.param is None
    return " ".join((error.message if ours else error.format_message()).split())

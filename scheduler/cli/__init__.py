"""The command line `cohortd`: the only package that joins scheduler and exporters.

Importing this module imports no command. `command_index` lists the commands for the help, and
`lazy_group` imports the module of the one that is called.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

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
        _refuse_odd_arguments(sys.argv[1:])
        code = app(standalone_mode=False)
        sys.stdout.flush()  # a full disk is noticed here, and not when Python ends
        sys.exit(code)
    except typer.TyperException as error:
        end(_usage(error), error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has enough
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        _drop_output()
        end(f"the output or the book cannot be written: {error.strerror}", 1)
    except KeyboardInterrupt:
        end("interrupted", 1)


def _refuse_odd_arguments(arguments: Iterable[str]) -> None:
    """Refuse bytes that are not UTF-8. No column, no message and no JSON can hold them."""
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= c <= "\udfff" for c in argument):
            end(f"the argument {argument!a} is not UTF-8: write it in UTF-8", 2)


def _drop_output() -> None:
    """Discard what is left of the output, or Python would fail on it again at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException) -> str:
    """The usage error on one line; empty if the help was shown."""
    ours = isinstance(error, typer.BadParameter) and error.param is None
    return " ".join((error.message if ours else error.format_message()).split())

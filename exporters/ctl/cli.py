"""The command line `cohortctl`. It starts fast: no cloud, no database, only the API."""

from __future__ import annotations

import sys

import typer

from exporters.ctl import queries, writes
from exporters.ctl.api import ApiError
from exporters.ctl.on_notice import command

app = typer.Typer(
    name="cohortctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Your credits, servers, quota and notices in a startup program, over its API.",
)
for module in (queries, writes, command):
    module.register(app)

INTERRUPTED = 130


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 refused or not so, 2 bad usage, 3 not reached."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        # The sentence is empty if the help was shown.
        _fail(" ".join(error.format_message().split()), error.exit_code)
    except ApiError as error:
        _fail(str(error), error.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has closed the pipe
        sys.exit(0)


def _fail(sentence: str, code: int) -> None:
    if sentence:
        print(f"cohortctl: {sentence}", file=sys.stderr)
    sys.exit(code)

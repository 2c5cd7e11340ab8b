"""The command line `cohortd`: the composition root, where both sides are put together."""

from __future__ import annotations

import sys

import typer
from sqlalchemy.exc import OperationalError

from quotas.book import BookError, BookUnreachable
from quotas.model.program import ProgramError
from scheduler.cli.access import tokens
from scheduler.cli.credits import grants, holds, prices, refunds
from scheduler.cli.database import with_database
from scheduler.cli.look import inspect, reports, statements
from scheduler.cli.setup import arm, run, serve
from scheduler.cli.shares import allocate, requests
from scheduler.cli.stops import notices, overrides, release_all
from scheduler.clouds.base import CloudError
from scheduler.config import ConfigError
from scheduler.demo import live

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compute-credit scheduler and GPU quota daemon for startup programs on Scaleway.",
)
STEERING = (overrides, arm, release_all, notices, requests)
BOOKS = (grants, holds, prices, refunds, reports, statements)
for module in (*STEERING, run, serve, tokens, inspect, *BOOKS, allocate, live):
    module.register(app)
with_database(app)

BAD_INPUT, UNREACHABLE = 2, 3


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 refused, 2 bad usage or file, 3 not reached."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        _fail(_usage(error), error.exit_code)
    except BookUnreachable as error:
        _fail(str(error), UNREACHABLE)
    except OperationalError as error:
        _fail(f"the book failed, try again: {' '.join(str(error.args[0]).split())}", UNREACHABLE)
    except (ProgramError, ConfigError, BookError) as error:
        _fail(str(error), BAD_INPUT)
    except CloudError as error:
        _fail(str(error), UNREACHABLE)
    except KeyboardInterrupt:
        _fail("interrupted", 1)


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line, on one line; empty where its help was shown."""
    ours = isinstance(error, typer.BadParameter) and error.param is None
    return " ".join((error.message if ours else error.format_message()).split())


def _fail(sentence: str, code: int) -> None:
    if sentence:
        print(f"cohortd: {sentence}", file=sys.stderr)
    sys.exit(code)

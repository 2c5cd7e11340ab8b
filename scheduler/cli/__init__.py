"""The command line `cohortd`: the only package that joins scheduler and exporters."""

from __future__ import annotations

import sys

import typer
from sqlalchemy.exc import OperationalError

from quotas.book import BookError, BookUnreachable
from quotas.book.reads.history import InstantNotKnown
from quotas.ledger.corrections import Refused
from quotas.model.program import ProgramError
from scheduler.cli.access import tokens
from scheduler.cli.credits import grants, holds, prices, refunds
from scheduler.cli.database import with_database
from scheduler.cli.look import inspect, reports, statements
from scheduler.cli.options import BAD_INPUT, REFUSED, UNREACHABLE
from scheduler.cli.setup import arm, run, serve
from scheduler.cli.shares import allocate, requests
from scheduler.cli.stops import notices, overrides, release_all
from scheduler.clouds.base import CloudError
from scheduler.config import ConfigError
from scheduler.demo import live

PANELS = {
    "See what happens": (inspect.app, reports.app, statements.app),
    "Steer stops": (overrides.app, notices.app, release_all.app),
    "Change credits and prices": (grants.app, refunds.app, holds.app, prices.app),
    "Share GPUs": (requests.app, allocate.app),
    "Set up and run": (run.app, arm.app, serve.app, tokens.app, live.app),
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Share GPUs and charge credits for startup programs on Scaleway.",
)
for panel, parts in PANELS.items():
    for part in parts:
        for command in part.registered_commands:
            command.rich_help_panel = command.rich_help_panel if part.info.name else panel
        app.add_typer(part, rich_help_panel=panel)
with_database(app)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 refused, 2 bad usage or file, 3 not reached."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        _fail(_usage(error), error.exit_code)
    except Refused as error:
        _fail(f"refused: {error}", REFUSED)
    except InstantNotKnown as error:
        _fail(str(error), REFUSED)
    except (BookUnreachable, CloudError) as error:
        _fail(str(error), UNREACHABLE)
    except OperationalError as error:
        _fail(f"the book failed, try again: {' '.join(str(error.args[0]).split())}", UNREACHABLE)
    except (ProgramError, ConfigError, BookError) as error:
        _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted", 1)


def _usage(error: typer.TyperException) -> str:
    """The usage error on one line; empty if the help was shown."""
    ours = isinstance(error, typer.BadParameter) and error.param is None
    return " ".join((error.message if ours else error.format_message()).split())


def _fail(sentence: str, code: int) -> None:
    if sentence:
        print(f"cohortd: {sentence}", file=sys.stderr)
    sys.exit(code)

"""The command `cohortd allocate`: a problem on standard input, the shares on standard output."""

from __future__ import annotations

import json
import sys

import typer

from quotas.shares import ProblemError, allocate
from scheduler.cli.options import show

BAD_INPUT = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("allocate")(allocate_command)


def allocate_command() -> None:
    """Divide pools among a tree of startups: JSON in, JSON out; exit 2 names what is wrong."""
    try:
        show(allocate(json.load(sys.stdin)))
    except json.JSONDecodeError as error:
        _refuse(f"standard input is no JSON: {error}")
    except ProblemError as error:
        _refuse(str(error))


def _refuse(sentence: str) -> None:
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(BAD_INPUT)

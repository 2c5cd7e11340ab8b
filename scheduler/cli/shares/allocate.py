"""The command `cohortd allocate`: a problem on standard input, the shares on standard output."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import NoReturn

import typer

from quotas.shares.engine import ProblemError, allocate
from scheduler.cli.options import print_json

BAD_INPUT = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("allocate")(allocate_command)


def allocate_command() -> None:
    """Divide pools among a tree of startups: JSON in, JSON out; exit 2 names an error."""
    try:
        problem = json.load(sys.stdin, object_pairs_hook=_without_doubles)
    except ProblemError as error:
        _refuse(str(error))
    except RecursionError:
        _refuse("standard input is no JSON that could be a problem: it is nested without end")
    except ValueError as error:  # not JSON, not text, or a number of thousands of digits
        _refuse(f"standard input is no JSON: {error}")
    try:
        answer = allocate(problem)
    except ProblemError as error:
        _refuse(str(error))
    print_json(answer)


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object without duplicate fields: one of two values would be lost."""
    made = dict(pairs)
    if len(made) != len(pairs):
        double = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ProblemError(f"the problem: field {double!r} is there twice in one object")
    return made


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(BAD_INPUT)

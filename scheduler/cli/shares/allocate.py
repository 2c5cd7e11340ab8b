"""The command `cohortd allocate`: a problem on standard input, the shares on standard output."""

from __future__ import annotations

import json
import sys
from collections import Counter

import typer

from quotas.shares.engine import ProblemError, allocate
from scheduler.cli.options import fail, print_json

app = typer.Typer()


@app.command("allocate")
def allocate_command() -> None:
    """Divide pools of GPUs among a tree of startups: JSON on stdin, JSON on stdout."""
    try:
        problem = json.load(sys.stdin, object_pairs_hook=_without_doubles)
    except ProblemError as error:
        fail(str(error))
    except RecursionError:
        fail("standard input is no JSON that could be a problem: it is nested without end")
    except ValueError as error:  # not JSON, not text, or a number of thousands of digits
        fail(f"standard input is no JSON: {error}")
    try:
        answer = allocate(problem)
    except ProblemError as error:
        fail(str(error))
    print_json(answer)


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object without duplicate fields: one of two values would be lost."""
    made = dict(pairs)
    if len(made) != len(pairs):
        double = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ProblemError(f"the problem: field {double!r} is there twice in one object")
    return made

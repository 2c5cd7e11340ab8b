"""Runs cohortd for a test: as a process of its own, or as its main function in this one."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from scheduler.cli import main

REPO = Path(__file__).resolve().parents[2]
MAIN = "from scheduler.cli import main; main()"
LIMIT_S = 100


@dataclass(frozen=True)
class CommandResult:
    """The result of a command: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """Standard error as the one plain line that an error must be."""
        (line,) = self.err.splitlines()
        return line.removeprefix("cohortd: ")


def environment(**settings: str) -> dict[str, str]:
    """The environment without any Scaleway setting of this machine, and with these variables."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SCW_")}
    kept |= {"SCW_CONFIG_PATH": "/nonexistent", "PYTHONPATH": str(REPO), "COLUMNS": "200"}
    return {**kept, **settings}


def restore_sigint() -> None:
    """Accept ^C in the child: a shell that runs the tests in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def cohortd(*arguments: object, env: Mapping[str, str] | None = None) -> CommandResult:
    """Run a command to its end, without a terminal."""
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        env=environment() if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return CommandResult(ended.returncode, ended.stdout, ended.stderr)


def run_in_process(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    entry: Callable[[], None] = main,
) -> CommandResult:
    """Call main in this process: the same result, without a second of imports."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.dict(os.environ, environment() if env is None else dict(env), clear=True),
        patch.object(sys, "argv", ["cohortd", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            entry()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            structlog.reset_defaults()
    assert isinstance(code, int)
    return CommandResult(code, out.getvalue(), err.getvalue())

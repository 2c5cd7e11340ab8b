"""The folder that an operator works in: a program file, and the book beside it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from quotas.book.session import FILE_NAME

from .command import CommandResult, run_in_process

H100 = "H100-1-80G"
ZONE = "fr-par-2"
PROJECTS = [f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "123"]
PROGRAM = f"""\
[program]
name = "trial"
budget = "5000"

[pool.h100]
gpus = 8
flavors = ["{H100}@{ZONE}"]

[cohort.spring]
starts = 2027-01-05
ends = 2027-07-05

[cohort.spring.startup.acme]
project_id = "{PROJECTS[0]}"
nominal = {{ h100 = 4 }}
grants = [ {{ id = "acme-1", credits = "1000" }} ]

[cohort.spring.startup.birch]
project_id = "{PROJECTS[1]}"
nominal = {{ h100 = 4 }}
grants = [ {{ id = "birch-1", credits = "2000" }} ]
"""


@dataclass(frozen=True)
class OperatorEnv:
    """An operator's folder: a program file, and the book beside it."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "program.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def run(self, command: str, *more: object, env: dict[str, str] | None = None) -> CommandResult:
        """A command on this folder's book and file."""
        where: list[object] = ["--state", self.state]
        if command in ("check", "plan", "apply"):
            where += ["--program", self.file]
        return run_in_process(command, *where, *more, env=env)

    def token(self, command: str, *more: object) -> CommandResult:
        """A command on the tokens of this folder's book."""
        return run_in_process("token", command, *more, "--state", self.state)

    def in_force(self) -> list[tuple[object, ...]]:
        """Everything in the book that a refused command must not change."""
        with sqlite3.connect(f"file:{self.state / FILE_NAME}?mode=ro", uri=True) as book:
            tables = ("program_version", "transfer", "entry", "credit_grant", "balance")
            return [row for table in tables for row in book.execute(f"SELECT * FROM {table}")]

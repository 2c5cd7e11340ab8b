"""The start of `cohortd`: the help loads no package that only commands need."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
from typer.main import get_group

from scheduler.cli.command_index import PANELS
from scheduler.cli.lazy_group import LazyCommand

from .command import environment

HEAVY = {
    "alembic",
    "apscheduler",
    "fastapi",
    "numpy",
    "pydantic",
    "requests",
    "scaleway",
    "scipy",
    "sqlalchemy",
    "sqlmodel",
    "starlette",
    "structlog",
    "uvicorn",
}
OURS = {"quotas", "simulator", "exporters"}
LOADED = "import atexit, sys; atexit.register(lambda: print('\\nloaded', *sys.modules))"
MAIN = "from scheduler.cli import main; sys.argv[0] = 'cohortd'; main()"
MODULES = {module: commands for modules in PANELS.values() for module, commands in modules.items()}


def loaded(*arguments: str) -> tuple[str, set[str]]:
    """The output of a command, and every module that it has loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{LOADED}; {MAIN}", *arguments],
        env=environment(COLUMNS="100"),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    output, _, names = ran.stdout.rpartition("\nloaded ")
    return output, set(names.split())


def test_the_help_loads_neither_the_database_nor_an_sdk() -> None:
    """`cohortd --help` names every command, and loads little beyond typer and rich."""
    output, names = loaded("--help")
    shown = {line.split()[1] for line in output.splitlines() if line.startswith("│ ")}
    assert {name for commands in MODULES.values() for name in commands} <= shown
    roots = {name.partition(".")[0] for name in names}
    assert roots & (HEAVY | OURS) == set()
    assert {name for name in names if name.startswith("scheduler.")} == {
        f"scheduler.cli{each}" for each in ("", ".command_index", ".errors", ".lazy_group")
    }


def test_a_command_loads_its_own_module_only() -> None:
    """`cohortd allocate --help` loads no command of another module."""
    _, names = loaded("allocate", "--help")
    assert names & MODULES.keys() == {"scheduler.cli.shares.allocate"}


@pytest.mark.parametrize("module", MODULES)
def test_the_index_is_what_the_modules_have(module: str) -> None:
    """Every command of a module is in the index, in order, with the first paragraph of its help."""
    group = get_group(importlib.import_module(module).app)
    found = {group.name: group} if group.name else group.commands
    sentences = {
        name: inspect.cleandoc(each.help or "").split("\n\n")[0].replace("\n", " ")
        for name, each in found.items()
    }
    assert list(sentences.items()) == list(MODULES[module].items())


def test_every_entry_of_the_index_loads_its_command() -> None:
    """The command that runs has the name that was called."""
    for module, commands in MODULES.items():
        for name in commands:
            assert LazyCommand(module, name, "", "").load().name == name

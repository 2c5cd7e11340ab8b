"""A group of commands that imports the module of a command when the command is called."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from scheduler.cli.command_index import PANELS
from scheduler.cli.errors import exit_with_sentence


class LazyCommand(TyperCommand):
    """An entry of the help: it knows its module and its sentence, and cannot run."""

    def __init__(self, module: str, name: str, sentence: str, panel: str) -> None:
        super().__init__(name, help=sentence, rich_help_panel=panel)
        self.module = module

    def load(self) -> TyperCommand | TyperGroup:
        """The command, or the group of commands, of this name."""
        group = _group_of(self.module)
        found = group if group.name == self.name else group.commands[self.name or ""]
        assert isinstance(found, TyperCommand | TyperGroup)
        return found


class LazyGroup(TyperGroup):
    """All commands of the index."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for panel, modules in PANELS.items():
            for module, commands in modules.items():
                for name, sentence in commands.items():
                    self.add_command(LazyCommand(module, name, sentence, panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, loaded, with the rest of the arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the product is a sentence and an exit code."""
        with exit_with_sentence():
            return super().invoke(ctx)


@cache
def _group_of(module: str) -> TyperGroup:
    """The commands of a module, each with the option --database where it opens a book."""
    from scheduler.cli.database import with_database

    app = import_module(module).app
    with_database(app)
    return get_group(app)

"""A command group with a default command: `request h100 8` means `request open h100 8`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


def default_command(first: str) -> type[TyperGroup]:
    """A group in which an unknown first word starts the default command."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            named = bool(args) and args[0] not in {*self.commands, "--help"}
            return super().parse_args(ctx, [first, *args] if named else args)

    return Group

"""How is the word that is nearly always meant left out? `request h100 8` for `request open …`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


def default_command(first: str) -> type[TyperGroup]:
    """A group in which a first word that names no command of it begins this one."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            named = bool(args) and args[0] not in {*self.commands, "--help"}
            return super().parse_args(ctx, [first, *args] if named else args)

    return Group

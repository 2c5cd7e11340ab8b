"""An operator action: a command with its reason, actor and instant, and what a command may read.

Each family of commands is one module beside this one: its frozen commands, their checks and
what they write. A command computes its effects and writes nothing; `execute` writes them.
"""

from __future__ import annotations

import json
from dataclasses import Field, asdict, dataclass
from typing import Any, ClassVar, Protocol

from sqlalchemy import Connection

from quotas.book.cycle.state import read_grants
from quotas.book.reads.balances import read_balance
from quotas.book.reads.transfers import newest_transfer_id
from quotas.ledger.corrections import Refused
from quotas.ledger.transfers import GrantBalance, Transfer
from quotas.model.program import Program, Startup
from quotas.model.units import format_instant

ActionAnswer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActionEffects:
    """What a command writes: transfers, rows of grants, a hold or a price; and its answer."""

    transfers: tuple[Transfer, ...]
    answer: ActionAnswer
    grants: tuple[dict[str, Any], ...] = ()
    hold: dict[str, Any] | None = None
    price: dict[str, Any] | None = None


class Command(Protocol):
    """A frozen dataclass that says what an operator wants, and what that comes to."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def effects(self, context: ActionContext) -> ActionEffects:
        """What the command would write, and its answer. Writes nothing. Raises Refused."""


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """A command, by whom, when and why; `key` is None if nobody will repeat it."""

    command: Command
    reason: str
    actor: str
    now_s: int
    key: str | None = None

    @property
    def body(self) -> str:
        """The text that has to be equal for the same key to be accepted again."""
        named = {"command": type(self.command).__name__, **asdict(self.command)}
        return json.dumps({**named, "reason": self.reason}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class ActionContext:
    """The transaction in which a command is checked, the program in force, and the action."""

    connection: Connection
    program: Program
    action: OperatorAction

    @property
    def now_s(self) -> int:
        """The instant of the action."""
        return self.action.now_s

    @property
    def reason(self) -> str:
        """The reason that its actor gave."""
        return self.action.reason

    @property
    def next_transfer_id(self) -> int:
        """The id of the next transfer. It names what has no name of its own."""
        return newest_transfer_id(self.connection) + 1

    @property
    def key(self) -> str:
        """The key of the action: the one given, or the number of its first transfer."""
        # No key that a person may give begins with '#'.
        return self.action.key or f"#{self.next_transfer_id}"

    def startup(self, name: str) -> Startup:
        """The startup of that name in the program. Raises Refused if there is none."""
        startup = self.program.startup(name)
        if startup is None:
            known = ", ".join(each.name for each in self.program.startups())
            raise Refused(f"no startup {name!r} is in the program; it has {known}")
        return startup

    def grants_of(self, name: str) -> list[GrantBalance]:
        """The grants of a startup of the program, or of one that left it and has grants.

        Raises Refused.
        """
        own = [grant for grant in read_grants(self.connection) if grant.startup == name]
        if not own:
            self.startup(name)
        return own

    def available_ucr(self, name: str) -> int:
        """The credits that a startup can still use; below zero if it has overspent."""
        return read_balance(self.connection, self.program, name, self.now_s).available_ucr

    def before_cohort_start(self, option: str, at_s: int, startup: Startup) -> Refused:
        """The refusal of an instant before a startup's cohort starts."""
        starts = format_instant(self.program.cohort(startup.cohort).starts_s)
        return Refused(
            f"{option} {format_instant(at_s)} is before cohort {startup.cohort} starts; "
            f"give {starts} or later"
        )

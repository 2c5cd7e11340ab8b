"""An operator action: a command with its reason, actor and instant, and what a command may read.

Each family of commands is one module beside this one: its frozen commands, their checks and
what they write. A command computes its effects and writes nothing; `execute` writes them.
"""

from __future__ import annotations

import json
from dataclasses import Field, asdict, dataclass
from typing import Any, ClassVar, Protocol

from sqlalchemy import Connection

from quotas.book.cycle.state import (
    read_confirmed,
    read_grants,
    read_program,
    read_stops,
    read_unposted_runs,
)
from quotas.book.reads.holds import read_holds
from quotas.book.reads.transfers import newest_transfer_id
from quotas.ledger.balance import CYCLE_S, Balance, balance
from quotas.ledger.corrections import Refused
from quotas.ledger.transfers import GrantBalance, Transfer
from quotas.metering.stop_latency import reserves_s
from quotas.model.program import Program, Startup
from quotas.model.units import format_credits, format_instant

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
    """A frozen dataclass with an operator's order, which computes the effects of that order."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def effects(self, context: ActionContext) -> ActionEffects:
        """What the command would write, and its answer. Writes nothing. Raises Refused."""


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """A command with its actor, instant and reason; `key` is None if nobody will repeat it."""

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
        return startup_of(self.program, name)

    def grants_of(self, name: str) -> list[GrantBalance]:
        """The grants of a startup, also of one that left the program. Raises Refused."""
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


def program_in_force(connection: Connection) -> Program:
    """The newest program. Raises Refused before the first."""
    _, program = read_program(connection)
    if program is None:
        raise Refused("no program is in force; run 'cohortd apply' first")
    return program


def startup_of(program: Program, name: str) -> Startup:
    """The startup of that name in a program. Raises Refused if there is none."""
    startup = program.startup(name)
    if startup is None:
        known = ", ".join(each.name for each in program.startups())
        raise Refused(f"no startup {name!r} is in the program; it has {known}")
    return startup


def refuse_above(amount_ucr: int, most_ucr: int, of: str) -> None:
    """Raises Refused if an amount is more than the credits there are; `of` names those."""
    if amount_ucr > most_ucr:
        amount, most = format_credits(amount_ucr), format_credits(max(0, most_ucr))
        raise Refused(f"{amount} credits are more than the {most} {of}")


def read_balance(connection: Connection, program: Program, startup: str, now_s: int) -> Balance:
    """Posted, accrued, held, reserve and available of one startup, as of the same instant."""
    runs, stops = read_unposted_runs(connection), read_stops(connection)
    _, reserved_s = reserves_s(program.policy, [startup], runs, stops, CYCLE_S)
    grants, confirmed = read_grants(connection), read_confirmed(connection)
    holds, reserve_s = read_holds(connection), reserved_s[startup]
    return balance(startup, now_s, grants, runs, confirmed, reserve_s, holds)

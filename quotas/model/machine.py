"""State machines as data: each table of states, and the one check of every change.

A machine's table is the only place that says which state may follow which. The diagrams in the
docs are generated from the tables. An illegal change is a bug, so it raises and is never skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, Self, TypeVar

S = TypeVar("S", bound=StrEnum)


class IllegalTransition(ValueError):
    """A change of state that is not in the machine's table."""


@dataclass(frozen=True, slots=True)
class Machine(Generic[S]):
    """The states in which a thing begins, and each change, with what causes it."""

    name: str
    states: type[S]
    starts: Mapping[S, str]
    transitions: Mapping[S, Mapping[S, str]]

    def check(self, old: S, new: S) -> None:
        """Raises IllegalTransition if the table has no such change."""
        if new not in self.transitions.get(old, {}):
            raise IllegalTransition(f"{self.name} cannot change from {old} to {new}")

    def before(self, new: S) -> frozenset[S]:
        """The states from which a change to this one is legal: for the WHERE of an update."""
        return frozenset(old for old, changes in self.transitions.items() if new in changes)

    def diagram(self) -> str:
        """The table as a mermaid diagram."""
        lines = [f"[*] --> {state}: {why}" for state, why in self.starts.items()]
        for old, changes in self.transitions.items():
            lines += [f"{old} --> {new}: {why}" for new, why in changes.items()]
            lines += [f"{old} --> [*]"] if not changes else []
        return "\n".join(["```mermaid", "stateDiagram-v2", *(f"  {line}" for line in lines), "```"])


class Stateful(Generic[S]):
    """A frozen dataclass whose `state` changes only by `to`, along the table of its machine."""

    __slots__ = ()
    machine: ClassVar[Machine[Any]]
    state: S

    def __post_init__(self) -> None:
        """Turn the text of a row into the state. Raises ValueError for an unknown one."""
        object.__setattr__(self, "state", self.machine.states(self.state))

    @property
    def stored_states(self) -> frozenset[str]:
        """The states that its row may have when this one is written: an earlier one, or this."""
        return self.machine.before(self.state) | {self.state}

    def to(self, state: S, **changes: Any) -> Self:
        """The same in the next state, with what changes along. Raises IllegalTransition."""
        self.machine.check(self.state, state)
        return replace(self, state=state, **changes)  # type: ignore[type-var]  # a dataclass

"""Overrides: an operator's standing orders, and which of them are active.

An override is never changed. The newest of its family on a subject counts, until its end. Its
subject depends on the family: `level` a startup, `mode` the program, `exempt` a startup or a
server, `freeze` a startup or everyone, `maintenance` everyone, `approve` a notice, `undo` a
server, `shortage` a pool for which the provider has no GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from quotas.model.program import MODES, Mode, Program
from quotas.model.units import DAY_S
from quotas.state.facts import OverrideFacts

EVERYONE = "*"
UNDONE_FOR_S = DAY_S
"""How long an undone stop's server is exempt, and is offered back."""


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's order for a subject: `value` from `at_s`, until `until_s` if not None."""

    family: str
    subject: str
    value: str
    at_s: int
    until_s: int | None
    actor: str
    reason: str
    before: str = ""
    id: int | None = None

    def is_active_at(self, now_s: int) -> bool:
        """Whether it still counts, if no newer override does."""
        return self.until_s is None or now_s < self.until_s

    @property
    def facts(self) -> OverrideFacts:
        """The facts that a decision stores of it."""
        return OverrideFacts.of(self, override_s=self.at_s, override_reason=self.reason)


class Overrides:
    """The newest override of each family and subject, at one instant."""

    def __init__(self, overrides: Iterable[Override], now_s: int) -> None:
        newest = {(w.family, w.subject): w for w in sorted(overrides, key=lambda w: w.id or 0)}
        self._active = {key: w for key, w in newest.items() if w.is_active_at(now_s)}
        self._ended_s = {
            key: override.at_s if override.value == "off" else override.until_s or 0
            for key, override in newest.items()
            if override.value == "off" or not override.is_active_at(now_s)
        }

    def on(self, family: str, *subjects: str) -> Override | None:
        """The active override of the first of the subjects that has one."""
        for subject in subjects:
            override = self._active.get((family, subject))
            if override is not None and override.value != "off":
                return override
        return None

    def active(self) -> tuple[Override, ...]:
        """Every active override that orders something, by family and subject."""
        return tuple(w for _, w in sorted(self._active.items()) if w.value not in {"off", "open"})

    def ends(self) -> tuple[int, ...]:
        """The instants at which active overrides end."""
        return tuple(w.until_s for w in self._active.values() if w.until_s is not None)

    def stop_freeze(self, startup: str) -> Override | None:
        """The maintenance or freeze under which no server of the startup is stopped now."""
        return self.on("maintenance", EVERYONE) or self.on("freeze", startup, EVERYONE)

    def resumed_s(self, startup: str) -> int:
        """When the startup's last freeze or maintenance ended; 0 if it never had one."""
        held = (("maintenance", EVERYONE), ("freeze", startup), ("freeze", EVERYONE))
        return max(self._ended_s.get(key, 0) for key in held)

    def level_of(self, startup: str) -> Override | None:
        """The override that closed or stopped the startup; None if there is none."""
        override = self.on("level", startup)
        return override if override and override.value in {"closed", "stopped"} else None


def shadow_start_s(
    files: Iterable[tuple[int, str]], overrides: Iterable[tuple[int, str]]
) -> int | None:
    """Since when the mode is shadow, from (instant, mode) of each program and each override.

    The newest override counts over the file, except over a file that says off.
    """
    changes = [(at_s, "file", mode) for at_s, mode in files]
    changes += [(at_s, "override", mode) for at_s, mode in overrides]
    newest, since_s = {"file": Mode.OFF.value, "override": ""}, None
    for at_s, kind, mode in sorted(changes, key=lambda change: change[0]):
        newest[kind] = mode
        order = newest["override"] if newest["file"] != Mode.OFF else ""
        is_shadow = (order or newest["file"]) == Mode.SHADOW
        since_s = (at_s if since_s is None else since_s) if is_shadow else None
    return since_s


NO_OVERRIDES = Overrides((), 0)


def with_effective_mode(program: Program, overrides: Overrides) -> Program:
    """The program in its effective mode: the newest override's, unless the file says off.

    A file that still says shadow does not disarm, and a file that says enforce does not arm again
    after `disarm`; `apply` warns of both.
    """
    override = overrides.on("mode", EVERYONE)
    if override is None or Mode(override.value) not in MODES.transitions[program.mode]:
        return program
    return replace(program, mode=Mode(override.value))

"""Timing promises, checked: a lease outlasts a cycle and the timeouts of the database."""

from __future__ import annotations

from dataclasses import dataclass

from quotas.ledger.balance import CYCLE_S
from scheduler.act.intents import CALL_BUDGET_S


@dataclass(frozen=True, slots=True)
class Timing:
    """The loop's timing promises, checked when they are put together."""

    cycle_s: int = CYCLE_S
    cycle_max_s: int = 120
    database_timeout_s: int = 10
    lease_s: int = 180

    def __post_init__(self) -> None:
        if not self.cycle_max_s + 2 * self.database_timeout_s < self.lease_s:
            raise ValueError(
                f"lease of {self.lease_s} s is too short: it must be longer than a whole "
                f"cycle ({self.cycle_max_s} s) and two database timeouts"
            )
        waits_s = self.sweep_s + 2 * self.read_s
        if waits_s + CALL_BUDGET_S >= self.lease_s:
            raise ValueError(
                f"lease of {self.lease_s} s is too short: a cloud that hangs takes {waits_s:.0f} s "
                f"of it, and a stop needs {CALL_BUDGET_S} s"
            )

    @property
    def sweep_s(self) -> float:
        """How long a cycle waits for the servers of its zones."""
        return self.cycle_max_s / 2

    @property
    def read_s(self) -> float:
        """How long it waits for their catalogues, and as long again for their stock."""
        return self.cycle_max_s / 8

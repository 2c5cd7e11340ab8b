"""The loop's time limits, and the inequalities between them: leadership outlasts every cycle."""

from __future__ import annotations

from dataclasses import dataclass

from quotas.ledger.balance import CYCLE_S
from scheduler.act.access import CALL_BUDGET_S


@dataclass(frozen=True, slots=True)
class Timing:
    """The loop's time limits. An instance that breaks an inequality raises ValueError."""

    cycle_s: int = CYCLE_S
    cycle_max_s: int = 120
    database_timeout_s: int = 10
    lease_s: int = 180

    def __post_init__(self) -> None:
        if not self.cycle_max_s + 2 * self.database_timeout_s < self.lease_s:
            raise ValueError(
                f"the lease of {self.lease_s} s is too short: it must be longer than a whole "
                f"cycle ({self.cycle_max_s} s) and two database timeouts"
            )
        waits_s = self.sweep_s + 2 * self.read_s
        if waits_s + CALL_BUDGET_S >= self.lease_s:
            raise ValueError(
                f"the lease of {self.lease_s} s is too short: a cloud that hangs takes "
                f"{waits_s:.0f} s of it, and a stop needs {CALL_BUDGET_S} s"
            )

    @property
    def sweep_s(self) -> float:
        """The longest wait of a cycle for the servers of its zones."""
        return self.cycle_max_s / 2

    @property
    def read_s(self) -> float:
        """The longest wait for the catalogues of the zones, and again for their stock."""
        return self.cycle_max_s / 8

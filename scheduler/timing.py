"""How long may a cycle take, and how long does leadership outlast it? Promise 6, checked."""

from __future__ import annotations

from dataclasses import dataclass

from quotas.balances import CYCLE_S


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

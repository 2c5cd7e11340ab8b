"""The charge of one server that the tests of faults compare with."""

from __future__ import annotations

from quotas.model.units import Period, cost_ucr

from ..harness import RATE, T0


def ran_ucr(seconds: int) -> int:
    """The cost of a server for some seconds from T0 on."""
    return cost_ucr(RATE, T0, Period(T0, T0 + seconds))

"""Does the auditor see? Bugs planted in the rules must be found from the region's truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from quotas import charging, decide, metering
from quotas.ledger import charge_transfer
from quotas.metering import Run
from quotas.units import HOUR_S, Period

from .soak import faults_of

SEEDS = (0, 1)


def ends_late(patch: pytest.MonkeyPatch) -> None:
    """Metering ends every run at the sweep, not where the change is dated."""
    right = metering._Zone._ended

    def wrong(zone: Any, run: Run, server: Any) -> Run:
        return replace(right(zone, run, server), end_s=zone.sweep.at_s, end_error_s=0)

    patch.setattr(metering._Zone, "_ended", wrong)


def charges_an_hour_too_much(patch: pytest.MonkeyPatch) -> None:
    """Every charge's period begins an hour earlier than it should."""

    def wrong(cohort: str, run: Run, period: Period, grants: Any) -> Any:
        start_s = max(run.start_s, period.start_s - HOUR_S)
        return charge_transfer(cohort, run, Period(start_s, period.end_s), grants)

    patch.setattr(charging, "charge_transfer", wrong)


def never_stops(patch: pytest.MonkeyPatch) -> None:
    """A due notice is left as it is."""
    patch.setattr(decide._Work, "_due", lambda *_: None)


@pytest.mark.parametrize("plant", [ends_late, charges_an_hour_too_much, never_stops])
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bug planted, at least one of two seeds breaks an invariant."""
    plant(monkeypatch)
    assert any(faults_of(seed)[0] for seed in SEEDS)

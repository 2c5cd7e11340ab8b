"""Which bugs, planted on purpose, must the auditor find? Each is one wrong rule of the product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from quotas import charging, decide, metering, promises
from quotas.ledger import charge_transfer
from quotas.metering import Run
from quotas.units import HOUR_S, Period

from .auditor import faults_of
from .play import Play
from .script import draw
from .wiring import wired

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug; `weak` says why few seeds can find it."""

    name: str
    plant: Plant
    weak: str = ""


MUTANTS: list[Mutant] = []


def planted(plant: Plant) -> Plant:
    """Put a bug on the list, under its function's name."""
    MUTANTS.append(Mutant(plant.__name__.replace("_", " "), plant))
    return plant


def weakly(why: str) -> Callable[[Plant], Plant]:
    """Put a bug on the list of which few seeds can know."""

    def keep(plant: Plant) -> Plant:
        MUTANTS.append(Mutant(plant.__name__.replace("_", " "), plant, why))
        return plant

    return keep


def killed_by(mutant: Mutant, seed: int, days: int) -> bool:
    """Whether a seed finds the bug: the auditor speaks, or the daemon falls over."""
    patch = pytest.MonkeyPatch()
    mutant.plant(patch)
    try:
        with wired():
            play = Play(draw(seed, days))
            play.run()
        return bool(faults_of(play))
    except (ArithmeticError, ValueError, AssertionError, LookupError):
        return True
    finally:
        patch.undo()


@planted
def runs_end_at_the_sweep(patch: pytest.MonkeyPatch) -> None:
    """Metering ends every run at the sweep, not where the change is dated."""
    right = metering._Zone._ended

    def wrong(zone: Any, run: Run, server: Any) -> Run:
        return replace(right(zone, run, server), end_s=zone.sweep.at_s, end_error_s=0)

    patch.setattr(metering._Zone, "_ended", wrong)


@planted
def charges_an_hour_too_much(patch: pytest.MonkeyPatch) -> None:
    """Every charge's period begins an hour earlier than it should."""

    def wrong(cohort: str, run: Run, period: Period, *rest: Any) -> Any:
        start_s = max(run.start_s, period.start_s - HOUR_S)
        return charge_transfer(cohort, run, Period(start_s, period.end_s), *rest)

    patch.setattr(charging, "charge_transfer", wrong)


@planted
def never_stops(patch: pytest.MonkeyPatch) -> None:
    """A due notice is left as it is."""
    patch.setattr(promises.Promises, "_due", lambda *_: None)


@planted
def never_disputes(patch: pytest.MonkeyPatch) -> None:
    """A server that is on at both sweeps is taken to have run all the while."""
    patch.setattr(metering._Zone, "_may_have_bounced", lambda *_: False)


@planted
def credits_never_end(patch: pytest.MonkeyPatch) -> None:
    """No rule asks whether credits are used up."""
    rules = tuple(rule for rule in decide.RULES if rule.__name__ != "out_of_credits")
    patch.setattr(decide, "RULES", rules)


@planted
def a_gone_server_runs_on(patch: pytest.MonkeyPatch) -> None:
    """What is off is taken to end where the gap began."""
    right = metering._Zone._ended

    def wrong(zone: Any, run: Run, server: Any) -> Run:
        return replace(right(zone, run, server), end_s=zone._last_sure_s(run), end_error_s=0)

    patch.setattr(metering._Zone, "_ended", wrong)


@planted
def starts_are_dated_where_they_are_seen(patch: pytest.MonkeyPatch) -> None:
    """Every run begins at the sweep that first showed it, with no error stated."""
    right = metering._Zone._opened

    def wrong(zone: Any, server: Any, startup: str, start_s: int, *, error_s: int) -> Run:
        return right(zone, server, startup, zone.sweep.at_s, error_s=0)

    patch.setattr(metering._Zone, "_opened", wrong)


@planted
def the_end_of_the_cohort_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """No rule asks whether the cohort has ended."""
    rules = tuple(rule for rule in decide.RULES if rule.__name__ != "past_the_end")
    patch.setattr(decide, "RULES", rules)


@planted
def grants_never_pay(patch: pytest.MonkeyPatch) -> None:
    """Every charge goes to the sponsor's overdraft."""
    patch.setattr("quotas.ledger.burn_order", lambda *_: [])


@planted
def intents_never_settle(patch: pytest.MonkeyPatch) -> None:
    """No observation ends an intent."""
    patch.setattr(decide, "settle", lambda *_: ())

"""The operator rule: which servers a closing stops."""

from __future__ import annotations

from quotas.metering.runs import Run
from quotas.model.program import Program
from quotas.model.units import HOUR_S
from quotas.rules import operator
from quotas.state.overrides import Override
from quotas.state.snapshot import Enforcement
from tests.builders import a_cut_run, a_program, a_snapshot, a_startup
from tests.quotas.rules.rule_env import violations


def found_after_closing(
    at_s: int, *runs: Run, program: Program | None = None
) -> list[tuple[str, object]]:
    """The servers to stop, with their starts, after an operator closed everybody at an instant."""
    overrides = tuple(
        Override("level", name, "closed", at_s, None, "ann", "late report", id=number)
        for number, name in enumerate(("acme", "birch"), 1)
    )
    snapshot = a_snapshot(
        5 * HOUR_S, program or a_program(), runs, enforcement=Enforcement(overrides=overrides)
    )
    return [(v.run.server_id, v.facts.started_s) for v in violations(operator.RULE, snapshot)]


def test_closed_stops_what_was_started_afterwards_and_nothing_that_was_cut() -> None:
    """A cut after the closing stops nothing; a start after the closing does."""
    runs = [a_cut_run("cut", 200), a_cut_run("fresh", 200, 150), a_cut_run("exact", 200, 100)]
    assert found_after_closing(100, *runs) == [("fresh", 150)]


def test_what_passed_to_a_closed_startup_was_not_started_by_it() -> None:
    """Closed birch keeps what acme had started since, and loses what it started itself."""
    of_birch = {"startup": "birch", "project_id": "p-birch"}
    taken = a_cut_run("taken", 200, 150, started_by="acme", **of_birch)
    own = a_cut_run("own", 200, 150, started_by="birch", **of_birch)
    program = a_program(a_startup("acme"), a_startup("birch"))
    assert found_after_closing(100, taken, own, program=program) == [("own", 150)]

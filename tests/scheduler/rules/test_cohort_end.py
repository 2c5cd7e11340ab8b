"""The cohort-end rule on a real book."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.grants import GrantCommand
from quotas.book.cycle.commit import apply_program
from quotas.model.units import DAY_S, HOUR_S
from tests.scheduler.harness import END, Harness, program, server
from tests.scheduler.scenarios import CREDIT, last_notice, run_command


def test_a_cohort_that_is_prolonged_in_its_last_day_runs_on() -> None:
    """The notice of the old end is cancelled, and a notice of the new end follows."""
    base = program(notice_s=1800)
    harness = Harness(base)
    harness.cloud.add(server())
    harness.clock.move_to(END - DAY_S)
    harness.run()
    harness.run(60)
    assert last_notice(harness)["deadline_s"] == END
    harness.run_until(END - 3 * HOUR_S, HOUR_S)
    later = replace(base, cohorts=(replace(base.cohorts[0], ends_s=END + 6 * HOUR_S),))
    apply_program(harness.book, later, harness.clock.now_s(), "ann")
    run_command(harness, GrantCommand("acme", "g2", 1000 * CREDIT))
    harness.run_until(END + HOUR_S, HOUR_S // 2)
    assert harness.cloud.stops == [] and last_notice(harness)["deadline_s"] == END + 6 * HOUR_S
    harness.run_until(END + 7 * HOUR_S, HOUR_S // 4)
    assert harness.cloud.stops == ["s1"]

"""The limit rule: which servers are above a GPU limit."""

from __future__ import annotations

from quotas.rules import limit
from tests.builders import a_cut_run, a_program, a_run, a_snapshot, a_startup
from tests.quotas.metering.test_run_starts import NEXT_S
from tests.quotas.rules.rule_env import violations


def test_a_limit_takes_the_last_started_not_the_last_cut() -> None:
    """Of two servers, one too many, the one that was started later stops."""
    program = a_program(a_startup(limit={"h100": 1}))
    runs = [a_cut_run("old", 900), a_run("new", 500)]
    assert [v.run.server_id for v in violations(limit.RULE, a_snapshot(NEXT_S, program, runs))] == [
        "new"
    ]

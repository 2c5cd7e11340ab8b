"""The standby rule: servers that are stopped in place."""

from __future__ import annotations

from quotas.rules import standby
from tests.builders import Z, a_cut_run, a_program, a_run, a_server, a_snapshot, seen
from tests.quotas.rules.rule_env import violations


def test_a_cut_starts_no_new_standby() -> None:
    """A new rate at 2000 delays neither the standby since 100 nor its episode."""
    in_place = a_server(state="stopped in place", modified_s=100)
    for run in (a_run(), a_cut_run("s1", 2000)):
        snapshot = a_snapshot(2100, a_program(), [run], sweeps={Z: seen(2100, in_place)})
        assert [v.episode for v in violations(standby.RULE, snapshot)] == ["standby:100"]

"""Explanations of stored decisions, recomputed from their inputs."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.cycle.state import decision_from_row
from quotas.decisions.record import is_recomputed
from quotas.messages.explain import explain
from quotas.model.units import HOUR_S
from quotas.state.snapshot import Decision
from tests.scheduler.harness import T0, Harness, program, server
from tests.scheduler.scenarios import lending_harness, request_back, stopped_harness, undo_last_stop


def decisions_of(harness: Harness) -> list[Decision]:
    """Every decision of the book."""
    return [decision_from_row(row) for row in harness.all("decision")]


def test_every_decision_is_recomputed_from_its_inputs() -> None:
    """Promise 9: the stored inputs of each rule lead to its decision, in every scenario."""
    exhausted = Harness(program(credits=1))
    exhausted.cloud.add(server("a"), server("b"))
    exhausted.run_until(T0 + 600)
    lent, undone = lending_harness(), stopped_harness()
    request_back(lent)
    lent.run_until(T0 + 2 * HOUR_S, every_s=120)
    undo_last_stop(undone)
    undone.run_until(T0 + 900)
    limited = Harness(program(limit=0))
    limited.cloud.add(server("s1"), server("leak", state="stopped in place"))
    limited.run_until(T0 + HOUR_S, every_s=60)
    found = [d for harness in (exhausted, lent, undone, limited) for d in decisions_of(harness)]
    assert {d.verb for d in found} >= {
        "notify",
        "stop",
        "executed",
        "defer",
        "restart",
        "restarted",
    }
    for each in found:
        assert is_recomputed(each), each


def test_an_explanation_says_what_follows_and_who_may_change_it() -> None:
    """The explanation names the counterfactual, the next step and who may change it."""
    harness = Harness(program(limit=4))
    harness.cloud.add(server())
    harness.run()
    (notify,) = decisions_of(harness)
    told = explain(notify, T0, harness.views[-1].status.notices, T0)
    assert told.is_recomputed
    assert told.counterfactual == "with at most 4 GPUs in h100 nothing would be stopped"
    assert told.next_step.startswith("its stop follows at ")
    assert "program file" in told.who_may_change_it
    forged = replace(notify, inputs={**notify.inputs, "used_gpus": 3})
    assert not explain(forged, T0, (), T0).is_recomputed

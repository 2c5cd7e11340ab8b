"""Explanations of stored decisions, recomputed from their inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass, replace

from quotas.book.reads.decisions import decision_from_row, intents_of
from quotas.decisions.record import is_recomputed
from quotas.messages.explain import explain
from quotas.model.units import HOUR_S
from quotas.state.overrides import EVERYONE
from quotas.state.snapshot import Decision
from scheduler.clouds.base import Conflict
from tests.scheduler.harness import T0, Harness, override, program, server
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
    """The explanation names what would change the decision, what follows and who may change it."""
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


PEOPLES_OWN = {"override_reason", "reason", "error", "detail"}
"""Fields with the words of a person, of the provider or of a mail server."""


def sentences(value: object) -> Iterator[str]:
    """Every text with two words of small letters in a row or its JSON, but for people's own."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from () if name in PEOPLES_OWN else sentences(each)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from sentences(asdict(value))
    elif isinstance(value, str) and re.search(r"\b[a-z]+ [a-z]+\b", value):
        yield value


def test_the_book_stores_no_sentence() -> None:
    """Decisions, notices, intents and messages of a stop, a freeze and an undo hold facts."""
    harness = stopped_harness(replace(program(), operators=("mailto://ops@example.com",)))
    undo_last_stop(harness)
    harness.run_until(T0 + 2 * HOUR_S, every_s=300)
    override(harness, "freeze", EVERYONE, for_s=3600)
    override(harness, "level", "acme", "stopped")
    harness.run_until(harness.clock.now_s() + 2 * HOUR_S, every_s=300)
    for table in ("decision", "notice", "intent", "outbox"):
        rows = harness.all(table)
        assert rows and [*sentences({str(n): row for n, row in enumerate(rows)})] == [], table


def test_an_explanation_says_why_an_action_failed() -> None:
    """The poweroff that Scaleway refused is named with its answer, newest first."""
    harness = Harness(program(limit=4))
    harness.cloud.add(server())
    harness.run()

    def refuse(_: str) -> None:
        raise Conflict("resource is locked")

    harness.cloud.on_stop = refuse
    harness.run_until(T0 + HOUR_S, every_s=60)
    stop = next(each for each in decisions_of(harness) if each.verb == "stop")
    found = explain(stop, T0, (), T0, intents_of(harness.book, stop))
    assert found.intents
    assert all(each.startswith("poweroff of ") for each in found.intents)
    assert found.intents[-1].endswith(" failed: resource is locked")

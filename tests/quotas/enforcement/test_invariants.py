"""The check at the end of `decide`: each broken promise raises, with a sentence for each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.enforcement.decide import InvariantBroken, decide
from quotas.enforcement.invariants import check
from quotas.rules.context import Context
from quotas.shares.allocation import Share
from quotas.state.notices import Intent
from quotas.state.overrides import Override
from quotas.state.snapshot import Overuse
from tests.builders import a_notice, a_program, a_run, a_snapshot
from tests.quotas.rules.rule_env import context_of
from tests.sim.mutants.conduct import a_due_notice_is_not_waited_for

NOW_S = 5000
OVERUSE = Overuse("acme", "h100", 4, "birch", 0, 9000, 4, 4, "capacity")


def a_context(deadline_s: int = 4000, mode: str = "enforce") -> Context:
    """A server with an open notice."""
    notice = replace(a_notice("s1"), id=1, deadline_s=deadline_s, mode=mode)
    return context_of(a_snapshot(NOW_S, a_program(), [a_run()], notices=(notice,)))


def a_stop(notice_id: int | None = 1, server: str = "s1") -> Intent:
    """A stop that is decided now."""
    return Intent(notice_id, server, "fr-par-2", "running", NOW_S, NOW_S + 300)


def a_share(gpus: int) -> Share:
    """A share of the pool."""
    return Share("acme", "h100", 0, gpus, gpus, gpus, 0, 0, 0, "demand", "")


CASES: list[tuple[str, Context, list[Intent], list[Overuse]]] = [
    ("no older notice", a_context(), [a_stop(2)], []),
    ("no older notice", a_context(), [a_stop(server="s2")], []),
    ("before notice 1 is due", a_context(deadline_s=NOW_S + 1), [a_stop()], []),
    ("before notice 1 is due", a_context(mode="shadow"), [a_stop()], []),
    ("has 2 live intents", a_context(), [a_stop(), replace(a_stop(), id=4, state="sent")], []),
    ("above its", replace(a_context(), shares=(a_share(10**6),)), [], []),
    (
        "due earlier than told",
        context_of(a_snapshot(NOW_S, a_program(), [], overuses=(OVERUSE,))),
        [],
        [replace(OVERUSE, deadline_s=8999)],
    ),
]


@pytest.mark.parametrize(("why", "context", "intents", "overuses"), CASES)
def test_a_broken_promise_raises(
    why: str, context: Context, intents: list[Intent], overuses: list[Overuse]
) -> None:
    """Each kind of contradiction is named in a sentence."""
    with pytest.raises(InvariantBroken, match=why) as broken:
        check(context, intents, overuses)
    assert len(broken.value.sentences) == 1


def test_what_keeps_every_promise_passes() -> None:
    """A due stop, a deadline that moves later and shares within the pool raise nothing."""
    context = context_of(a_snapshot(NOW_S, a_program(), [], overuses=(OVERUSE,)))
    check(context, [], [replace(OVERUSE, deadline_s=9001)])
    check(a_context(), [a_stop()], [])


def test_decide_checks_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug that stops servers before the deadline never leaves `decide`."""
    right_check = decide.__globals__["check"]
    a_due_notice_is_not_waited_for(monkeypatch)
    monkeypatch.setitem(decide.__globals__, "check", right_check)
    context = a_context(deadline_s=NOW_S + 1)
    override = Override("level", "acme", "stopped", 0, None, "ann", "x", id=1)
    enforcement = replace(context.snapshot.enforcement, overrides=(override,))
    notice = replace(context.snapshot.notices[0], rule="operator", episode="operator:1")
    snapshot = replace(context.snapshot, enforcement=enforcement, notices=(notice,))
    with pytest.raises(InvariantBroken, match="before notice 1 is due"):
        decide(snapshot)

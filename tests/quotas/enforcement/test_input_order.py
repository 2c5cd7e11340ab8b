"""I15 regressions: decisions follow ids, not the order of reading."""

from __future__ import annotations

import itertools

from quotas.enforcement.decide import decide
from quotas.state.notices import IntentCode, IntentResult
from tests.builders import Z, a_notice, a_program, a_run, a_server, a_snapshot, an_intent, seen


def test_the_newest_failure_speaks_whatever_the_order_of_the_intents() -> None:
    """I15: what stands in the way of a stop is what the last try met, not the last one read."""
    tries = tuple(
        an_intent(
            id=id,
            state="failed",
            ended_s=1900 + id,
            result=IntentResult(code=IntentCode.REFUSED, error=f"try {id}"),
        )
        for id in (1, 2, 3)
    )
    due = a_notice(state="executing")
    answers = [
        decide(
            a_snapshot(5000, a_program(), [a_run()], notices=(due,), intents=order)
        ).stop_problems
        for order in itertools.permutations(tries)
    ]
    for (said,) in answers:
        assert said.id == "problem.stop"
        assert (said.facts.tries, said.facts.last) == (3, tries[-1].result)


def test_reminders_are_in_the_order_of_their_notices() -> None:
    """I15: the rows of a cycle do not follow the order in which the notices were read."""
    program, runs = a_program(), [a_run("s1"), a_run("s2")]
    notices = [a_notice(f"s{id}", id=id, deadline_s=4000) for id in (1, 2)]
    first, second = (
        decide(a_snapshot(1000, program, runs, notices=tuple(order)))
        for order in (notices, notices[::-1])
    )
    assert first == second and [d.verb for d in first.decisions] == ["remind", "remind"]


def test_settled_intents_are_in_the_order_of_their_ids() -> None:
    """I15: nor do they follow the order in which the intents were read."""
    off = seen(2000, *(a_server(f"s{id}", state="stopped") for id in (1, 2)))
    intents = [an_intent(id=id, server_id=f"s{id}", state="sent", sent_s=1900) for id in (1, 2)]
    for order in (intents, intents[::-1]):
        decided = decide(a_snapshot(2000, a_program(), [], intents=tuple(order), sweeps={Z: off}))
        assert [(i.id, i.state) for i in decided.intents] == [(1, "confirmed"), (2, "confirmed")]

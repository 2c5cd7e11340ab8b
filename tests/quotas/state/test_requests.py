"""The life of a request: refused with a reason, or opened, fulfilled and ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.enforcement.decide import decide
from quotas.ledger.corrections import Refused
from quotas.messages.catalogue import decision_text
from quotas.messages.catalogue.requests import request_detail
from quotas.model.program import Program
from quotas.state.requests import (
    LONGEST_WAIT_S,
    MOST_LIVE,
    Request,
    RequestSpec,
    advance_requests,
    request_from,
    requested_gpus,
    withdraw,
)
from tests.builders import YEAR_S, a_balance_of, a_program, a_run, a_server, a_snapshot, a_startup
from tests.quotas.decide_loop import DecideLoop

HOUR_S = 3600
KEY = ("acme", "h100")


def a_request(gpus: int = 4, **changes: Any) -> Request:
    """Acme asked at 0 for GPUs of h100, for an hour."""
    values: dict[str, Any] = {"opened_s": 0, "id": 1, **changes}
    return Request("acme", "h100", gpus, HOUR_S, "", "cto", **values)


def asked(gpus: int = 4, **changes: Any) -> RequestSpec:
    """What somebody types for acme at 100."""
    values: dict[str, Any] = {"startup": "acme", "pool": "h100", "duration_s": HOUR_S, **changes}
    return RequestSpec(gpus=gpus, reason="", actor="cto", now_s=100, **values)


def one(found: tuple[Request, ...]) -> Request:
    """The only request that moved."""
    (request,) = found
    return request


def moved(
    program: Program, requests: list[Request], usage: dict[tuple[str, str], int], now_s: int
) -> tuple[Request, ...]:
    """The requests that moved on."""
    return tuple(request for request, _ in advance_requests(program, requests, usage, now_s))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (asked(startup="ghost"), "ghost is no startup of the program"),
        (asked(pool="b300"), "pool b300 is not in the program; its pools are h100"),
        (asked(0), "0 GPUs is not above 0; ask for 2 or more"),
        (asked(-2), "-2 GPUs is not above 0"),
        (asked(3), "3 GPUs is no multiple of 2, the smallest server of h100 that acme can use"),
        (asked(3), "ask for 2 or 4"),
        (asked(1), "ask for 2"),
        (asked(10), "10 GPUs is more than acme's limit of 8 in h100; ask for at most 8"),
        (asked(duration_s=0), "a duration of 0 s is not above 0"),
        (asked(duration_s=YEAR_S), "is beyond the end of the cohort at 1971-01-01T00:00:00Z"),
    ],
)
def test_a_request_that_cannot_be_is_refused_in_a_sentence(spec: RequestSpec, says: str) -> None:
    """Startup, pool, size, step, limit and duration are checked, each with its fix."""
    program = a_program(a_startup("acme", limit={"h100": 8}))
    with pytest.raises(Refused) as refused:
        request_from(program, spec, 2, ())
    assert says in str(refused.value)


def test_what_is_asked_already_counts_towards_the_limit() -> None:
    """6 of 8 are asked for: 4 more are refused, 2 more are not."""
    program = a_program(a_startup("acme", limit={"h100": 8}))
    with pytest.raises(Refused, match="4 GPUs beside the 6 it asks for already"):
        request_from(program, asked(4), 2, [a_request(6)])
    assert request_from(program, asked(2), 2, [a_request(6)]).gpus == 2


def test_requests_are_bounded_in_number() -> None:
    """Nobody can make every cycle read ever more requests."""
    live = [a_request(1, id=n) for n in range(MOST_LIVE)]
    with pytest.raises(Refused, match="withdraw one first"):
        request_from(a_program(), asked(1), 1, live)


def test_a_request_to_the_last_second_of_the_cohort_opens() -> None:
    """The bound itself is allowed; a second more is not."""
    last = asked(duration_s=YEAR_S - 100)
    assert request_from(a_program(), last, 1, ()).state == "open"
    with pytest.raises(Refused):
        request_from(a_program(), replace(last, duration_s=last.duration_s + 1), 1, ())


def test_a_request_is_met_by_usage_and_ends_its_duration_later() -> None:
    """Not met at 3 of 4; met at 4; over exactly an hour after that, not before."""
    program = a_program()
    assert moved(program, [a_request()], {KEY: 3}, 50) == ()
    met = one(moved(program, [a_request()], {KEY: 4}, 50))
    assert (met.state, met.met_s) == ("fulfilled", 50)
    assert moved(program, [met], {KEY: 0}, 50 + HOUR_S - 1) == ()
    over = one(moved(program, [met], {KEY: 4}, 50 + HOUR_S))
    assert (over.state, over.ended_s, over.detail) == (
        "closed",
        50 + HOUR_S,
        "over",
    )
    assert request_detail(over) == "its 01:00:00 are over"


def test_usage_meets_the_oldest_request_first() -> None:
    """6 GPUs run: the first request for 4 is met, the second for 4 is not; with 8 both are."""
    older, newer = a_request(id=1), a_request(opened_s=10, id=2)
    assert [r.id for r in moved(a_program(), [newer, older], {KEY: 6}, 50)] == [1]
    assert [r.id for r in moved(a_program(), [newer, older], {KEY: 8}, 50)] == [1, 2]


def test_an_unmet_request_ends_after_the_longest_wait() -> None:
    """A week bounds how long a request may keep others from lending."""
    assert moved(a_program(), [a_request()], {}, LONGEST_WAIT_S - 1) == ()
    over = one(moved(a_program(), [a_request()], {}, LONGEST_WAIT_S))
    assert over.state == "closed"
    assert "it was not met within 7 d 00:00:00" in request_detail(over)


@pytest.mark.parametrize(
    ("program", "now_s", "why"),
    [
        (a_program(a_startup("birch")), 5, "its startup left the program"),
        (a_program(), YEAR_S, "its cohort ended"),
        (a_program(pools=()), 5, "its pool left the program"),
    ],
)
def test_a_request_ends_with_what_it_was_made_to(program: Program, now_s: int, why: str) -> None:
    """A startup, a cohort or a pool that is gone leaves no demand behind."""
    assert request_detail(one(moved(program, [a_request()], {}, now_s))) == why


def test_a_withdrawn_request_stays_withdrawn() -> None:
    """It asks for nothing any more, and cannot be withdrawn twice."""
    gone = withdraw(a_request(), 60, "by cto")
    assert (gone.state, gone.ended_s) == ("withdrawn", 60)
    assert requested_gpus([gone]) == {}
    assert moved(a_program(), [gone], {KEY: 9}, 70) == ()
    with pytest.raises(Refused, match="request 1 is withdrawn already"):
        withdraw(gone, 80, "")


def test_demand_is_the_larger_of_usage_and_requests() -> None:
    """2 run and 5 are asked for: a demand of 5; 2 run and 1 is asked for: 2."""
    runs = [a_run("s1"), a_run("s2")]
    for gpus, demand in ((5, 5), (1, 2)):
        wish = a_request(gpus, opened_s=50)
        snapshot = a_snapshot(60, a_program(), runs, [a_balance_of()], requests=(wish,))
        assert {s.startup: s.demand for s in decide(snapshot).context.shares}["acme"] == demand


def test_decide_moves_a_request_through_its_life_and_says_so_once() -> None:
    """Open, met and ended each once, with a decision, and the next cycle knows the end."""
    decide_loop = DecideLoop(a_program(), [a_balance_of(left_ucr=10**9)], a_server())
    decide_loop.asks("acme", 1, 600)
    first = decide_loop.cycle()
    assert [(d.rule, d.verb) for d in first.decisions] == [("request", "fulfil")]
    assert 30 + 600 in first.edges
    later = decide_loop.until(900)
    said = [
        (d.verb, decision_text(d)) for each in later for d in each.decisions if d.rule == "request"
    ]
    assert said == [("finish", "its 00:10:00 are over")]
    assert decide_loop.requests[1].ended_s == 630

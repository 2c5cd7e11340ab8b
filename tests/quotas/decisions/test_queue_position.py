"""A request's place in the queue, what it waits for, and its expected instant if known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.decisions.queue_position import QueuePosition
from quotas.decisions.queue_position import queue_positions as positions
from quotas.messages.catalogue.requests import position_text
from quotas.model.program import Cohort, Pool, Program
from quotas.rules.credits import exhaustion_episode
from quotas.shares.allocation import Share
from quotas.state.notices import Notice
from quotas.state.overrides import Override
from quotas.state.requests import Request
from quotas.state.snapshot import NO_ENFORCEMENT, Overuse, Snapshot
from tests.builders import (
    FLAVOR,
    a_balance_of,
    a_grant,
    a_notice,
    a_program,
    a_run,
    a_snapshot,
    a_startup,
    as_shadow,
    unknown,
)
from tests.quotas.rules.rule_env import context_of

HOUR_S = 3600
NOW_S = 10 * HOUR_S


def a_share(startup: str, share: int, usage: int = 0, **changes: Any) -> Share:
    """A startup's share of the pool."""
    values: dict[str, Any] = {"nominal": 4, "borrowed": 0, "lent": 0, **changes}
    values = {"ceiling": share, "demand": share, "limited_by": "capacity", **values}
    return Share(startup, "h100", share=share, usage=usage, reason="", **values)


def a_wish(startup: str = "acme", gpus: int = 4, opened_s: int = 0, **changes: Any) -> Request:
    """An open request for an hour."""
    id = changes.pop("id", opened_s + 1)
    return Request(startup, "h100", gpus, HOUR_S, "", "cto", opened_s, id=id, **changes)


def a_pool_of(gpus: int = 8, **changes: Any) -> Program:
    """Acme and birch with 4 nominal GPUs each."""
    both = [a_startup(name, nominal={"h100": 4}) for name in ("acme", "birch")]
    pool = Pool("h100", ((0, gpus),), flavors=(FLAVOR,))
    return a_program(*both, pools=(changes.pop("pool", pool),), **changes)


def an_excess(gpus: int = 4, deadline_s: int = NOW_S + 1800) -> Overuse:
    """Birch has acme's quota."""
    return Overuse("birch", "h100", gpus, "acme", NOW_S, deadline_s, 4, 4, "")


def queue_positions(
    snapshot: Snapshot,
    requests: list[Request],
    shares: list[Share],
    overuses: list[Overuse],
    notices: list[Notice],
) -> tuple[QueuePosition, ...]:
    """The positions in a context with those shares and overuses."""
    context = context_of(snapshot)
    context = replace(context, shares=tuple(shares), overuses=tuple(overuses))
    return positions(context, requests, notices)


def line(
    program: Program,
    requests: list[Request],
    shares: list[Share],
    overuses: list[Overuse],
    **changes: Any,
) -> tuple[QueuePosition, ...]:
    """The standings where those shares' usage runs and each excess has its notices."""
    runs = [
        a_run(f"{share.startup}{n}", startup=share.startup)
        for share in shares
        for n in range(share.usage)
    ]
    notices = [
        a_notice(f"{e.startup}{n}", startup=e.startup, rule="reclaim", episode="reclaim:h100:acme")
        for e in overuses
        for n in range(e.gpus)
    ]
    due = {e.startup: e.deadline_s for e in overuses}
    notices = [replace(n, deadline_s=due[n.startup]) for n in notices]
    notices = changes.pop("notices", notices)
    grants = [a_balance_of(s.name, 10**9, startup=s.name) for s in program.startups()]
    snapshot = a_snapshot(NOW_S, program, runs, grants, **changes)
    return queue_positions(snapshot, requests, shares, overuses, notices)


def only(found: tuple[QueuePosition, ...]) -> tuple[str, int | None]:
    """Kind and instant of the only standing."""
    (standing,) = found
    return standing.waits_for, standing.expected_s


def test_free_gpus_can_be_had_now() -> None:
    """4 of 8 run, 4 are asked for within the share: nothing to wait for."""
    shares = [a_share("acme", 4), a_share("birch", 4, 4)]
    found = line(a_pool_of(), [a_wish()], shares, [])
    assert only(found) == ("nothing", NOW_S)
    assert position_text(found[0]).endswith("the GPUs are free, start the servers; expected: now")


def test_lent_quota_is_back_at_the_excess_deadline() -> None:
    """All 8 run, 4 of them lent: expected when the borrower has to give way, by name."""
    shares = [a_share("acme", 4), a_share("birch", 4, 8)]
    found = line(a_pool_of(), [a_wish()], shares, [an_excess()])
    assert only(found) == ("lent-quota", NOW_S + 1800)
    assert "its quota is lent to birch (4)" in position_text(found[0])


def test_two_deadlines_are_added_until_they_are_enough() -> None:
    """4 are needed, 2 come back early and 2 late: the late instant is the honest one."""
    shares = [a_share("acme", 4), a_share("birch", 2, 4), a_share("cedar", 2, 4)]
    early, late = an_excess(2), replace(an_excess(2, NOW_S + 7200), startup="cedar")
    found = line(a_pool_of(), [a_wish()], shares, [late, early])
    assert only(found) == ("lent-quota", NOW_S + 7200)


def test_in_shadow_mode_no_deadline_is_promised() -> None:
    """Nothing is stopped there, and the end of its own cohort is no help: not known."""
    shares = [a_share("acme", 4), a_share("birch", 4, 8)]
    shadow = as_shadow(a_pool_of())
    found = line(shadow, [a_wish()], shares, [an_excess()])
    assert only(found) == ("lent-quota", None)
    assert position_text(found[0]).endswith(
        "in mode shadow nothing is stopped; expected: not known"
    )


def test_the_first_in_line_gets_what_is_free() -> None:
    """4 are free and two ask for 4 each: place 1 starts now, place 2 waits for capacity."""
    program = a_pool_of(pool=Pool("h100", ((0, 4), (NOW_S + 99, 8)), flavors=(FLAVOR,)))
    wishes = [a_wish("birch", opened_s=5), a_wish("acme", opened_s=9)]
    shares = [a_share("acme", 4), a_share("birch", 4)]
    found = line(program, wishes, shares, [])
    listed = [(s.request.startup, s.place, s.of, s.expected_s) for s in found]
    assert listed == [("birch", 1, 2, NOW_S), ("acme", 2, 2, NOW_S + 99)]


def test_nominal_quota_stands_before_borrowing() -> None:
    """Who asks for its own comes before who would borrow, though it asked later."""
    wishes = [a_wish("birch", 8, 1), a_wish("acme", 4, 2)]
    shares = [a_share("acme", 4), a_share("birch", 4)]
    found = line(a_pool_of(), wishes, shares, [])
    assert [s.request.startup for s in found] == ["acme", "birch"]


@pytest.mark.parametrize(
    ("limited_by", "kind", "expected_s"),
    [
        ("credits", "credits", NOW_S + 500),
        ("policy", "limit", None),
        ("borrowing_limit", "limit", None),
        ("capacity", "capacity", NOW_S + 900),
    ],
)
def test_beyond_the_share_it_says_what_holds_it(
    limited_by: str, kind: str, expected_s: int | None
) -> None:
    """Credits wait for the next grant, capacity for the next step; a limit has no instant."""
    later = a_grant("later", effective_s=NOW_S + 500)
    pool = Pool("h100", ((0, 8), (NOW_S + 900, 20)), flavors=(FLAVOR,))
    program = a_program(a_startup("acme", grants=(later,)), pools=(pool,))
    shares = [a_share("acme", 4, limited_by=limited_by), a_share("birch", 4, 4)]
    assert only(line(program, [a_wish(gpus=6)], shares, [])) == (kind, expected_s)


def test_what_another_keeps_unused_comes_free_when_its_request_ends() -> None:
    """Birch was met and runs nothing: its 4 are acme's at the end of its hour."""
    kept = a_wish("birch", state="fulfilled", met_s=NOW_S - 600)
    shares = [a_share("acme", 4, 4), a_share("birch", 4)]
    first, met = line(a_pool_of(), [a_wish(gpus=8, opened_s=7), kept], shares, [])
    assert (first.waits_for, first.expected_s) == ("capacity", NOW_S + 3000)
    assert (met.place, position_text(met)) == (
        0,
        "met; its GPUs are kept for it until 1970-01-01T10:50:00Z",
    )


def test_another_cohorts_end_frees_what_it_runs() -> None:
    """Cedar's cohort ends in an hour and runs 4 of 8: acme's request is met then."""
    program = a_pool_of(pool=Pool("h100", ((0, 8),), flavors=(FLAVOR,)))
    other = Cohort("autumn", 0, NOW_S + HOUR_S, (replace(a_startup("cedar"), cohort="autumn"),))
    program = replace(program, cohorts=(*program.cohorts, other))
    shares = [a_share("acme", 4), a_share("birch", 4, 4), a_share("cedar", 4, 4)]
    assert only(line(program, [a_wish()], shares, [])) == ("capacity", NOW_S + HOUR_S)


def test_before_its_cohort_a_request_waits_for_the_start() -> None:
    """No share yet: expected at the cohort's start."""
    program = a_pool_of(starts_s=NOW_S + 60)
    assert only(line(program, [a_wish()], [], [])) == ("cohort", NOW_S + 60)


def said(family: str, subject: str, value: str = "on", until_s: int | None = None) -> Any:
    """What a snapshot knows of an operator's word."""
    override = Override(family, subject, value, 0, until_s, "op", "a demo", id=1)
    return replace(NO_ENFORCEMENT, overrides=(override,))


LENT = "place 1 of 1 in the line for h100: its quota is lent to birch (4); "
KEPT: dict[str, tuple[dict[str, Any], str]] = {
    "exempt": ({"enforcement": said("exempt", "birch"), "notices": []}, "birch is exempt: op said"),
    "frozen": ({"enforcement": said("freeze", "birch")}, "stops of birch wait: op said"),
    "in shortage": (
        {"enforcement": said("shortage", "h100"), "notices": []},
        "Scaleway is short of h100 and would keep the slot (op said",
    ),
    "out of stock": (
        {"stock": {FLAVOR: "shortage"}, "notices": []},
        "Scaleway says 'shortage' of what acme can use in h100, and would keep the slot; expected",
    ),
    "of a stock that cannot be read": (
        {"stock": {FLAVOR: "unread"}},
        "Scaleway says 'unread' of what acme can use in h100, and would keep the slot; expected",
    ),
    "not seen": (
        {"sweeps": {"fr-par-2": unknown(NOW_S)}},
        "not every zone of h100 could be read; expected",
    ),
    "as the book knows it": ({"sweeps": {}, "notices": []}, "no server of birch has a notice"),
    "held by the disruption budget": (
        {
            "notices": [
                a_notice(
                    f"birch{n}",
                    startup="birch",
                    rule="reclaim",
                    episode="reclaim:h100:acme",
                    state="deferred",
                )
                for n in range(4)
            ]
        },
        "the disruption budget defers a stop of birch",
    ),
}


@pytest.mark.parametrize(("changes", "why"), KEPT.values(), ids=KEPT)
def test_what_is_not_on_its_way_is_not_expected(changes: dict[str, Any], why: str) -> None:
    """The excess's deadline has passed and birch keeps what it has: not known when, and why."""
    shares = [a_share("acme", 4), a_share("birch", 4, 8)]
    found = line(a_pool_of(), [a_wish()], shares, [an_excess(4, NOW_S - 60)], **changes)
    assert only(found) == ("lent-quota", None)
    assert position_text(found[0]).startswith(LENT + why)


def test_what_runs_outside_the_cohorts_is_not_free() -> None:
    """Birch runs 4 of 8, and somebody of an ended cohort 4: acme is not told that 4 are free."""
    shares = [a_share("acme", 4), a_share("birch", 4, 4)]
    runs = [a_run(f"g{n}", startup="gone") for n in range(4)]
    runs += [a_run(f"b{n}", startup="birch") for n in range(4)]
    grants = [a_balance_of(startup="birch", left_ucr=10**9)]
    snapshot = a_snapshot(NOW_S, a_pool_of(), runs, grants)
    assert only(queue_positions(snapshot, [a_wish()], shares, [], []))[0] == "capacity"


@pytest.mark.parametrize("met_s", [None, NOW_S - 60])
def test_who_may_start_nothing_is_told_so(met_s: int | None) -> None:
    """Acme is stopped until an instant: nothing is free for it, or kept; birch is before it."""
    own = a_wish(met_s=met_s, state="fulfilled" if met_s else "open")
    wishes = [own, a_wish("birch", opened_s=5)]
    shares = [a_share("acme", 0), a_share("birch", 4)]
    enforcement = said("level", "acme", "stopped", NOW_S + 99)
    found = line(a_pool_of(), wishes, shares, [], enforcement=enforcement)
    assert (found[0].request.startup, found[0].waits_for) == ("birch", "nothing")
    acme = found[1]
    if met_s is None:
        assert (acme.waits_for, acme.expected_s) == ("limit", NOW_S + 99)
        assert "it is stopped and asks for nothing: op said so at" in position_text(acme)
    else:
        assert position_text(acme).startswith(
            "met; nothing is kept for it: it is stopped and asks for"
        )


@pytest.mark.parametrize(("tranche", "expected_s"), [("g/2", NOW_S + HOUR_S), ("g2", None)])
def test_who_is_out_of_credits_waits_for_its_next_tranche(
    tranche: str, expected_s: int | None
) -> None:
    """Stopped with credits used up: from its next dated tranche on it may start servers again."""
    grants = [
        a_balance_of("g/1", 0),
        a_balance_of(tranche, 10**9, effective_s=NOW_S + HOUR_S, created=1),
    ]
    told = frozenset({("acme", exhaustion_episode(0))})
    snapshot = a_snapshot(NOW_S, a_pool_of(), [], grants, announced=told)
    (acme,) = queue_positions(snapshot, [a_wish()], [a_share("acme", 0)], [], [])
    assert (acme.waits_for, acme.expected_s) == ("credits", expected_s)
    assert "it is stopped and asks for nothing: its credits are used up" in position_text(acme)

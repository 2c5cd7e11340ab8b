"""The overuse announcements: reason, owner and deadline of use above the share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.enforcement.decide import decide
from quotas.messages.catalogue import text_of
from quotas.model.program import Pool
from quotas.rules.overuse import changed_overuse, facts_of, overuses
from quotas.shares.allocation import Share
from quotas.state.requests import Request
from quotas.state.snapshot import Overuse, Snapshot
from tests.builders import (
    BIG_FLAVOR,
    BIG_TYPE,
    FLAVOR,
    a_balance_of,
    a_program,
    a_run,
    a_server,
    a_snapshot,
    a_startup,
)
from tests.quotas.decide_loop import DecideLoop
from tests.quotas.rules.rule_env import context_of

HOUR_S = 3600
NOTICE_S = 1800


def asks(startup: str, gpus: int, opened_s: int = 0, id: int = 1) -> Request:
    """An open request in the pool."""
    return Request(startup, "h100", gpus, HOUR_S, "", "cto", opened_s, id=id)


def full(now_s: int = 10 * HOUR_S, *requests: Request, **changes: Any) -> Snapshot:
    """A pool of 8 in which acme, guaranteed 4, runs 8 single servers, one for each hour."""
    acme, birch = (a_startup(name, nominal={"h100": 4}) for name in ("acme", "birch"))
    pool = Pool("h100", ((0, 8),), flavors=(FLAVOR, BIG_FLAVOR))
    runs = [a_run(f"s{hour}", hour * HOUR_S) for hour in range(8)]
    grants = [a_balance_of(left_ucr=10**9), a_balance_of("g2", 10**9, startup="birch")]
    program = a_program(acme, birch, pools=(pool,))
    return a_snapshot(now_s, program, runs, grants, requests=requests, **changes)


def shares_of(snapshot: Snapshot) -> tuple[Share, ...]:
    """The division that `decide` makes of it."""
    return decide(snapshot).context.shares


def current_overuses(snapshot: Snapshot) -> tuple[Overuse, ...]:
    """The excesses that `decide` finds."""
    return decide(snapshot).context.overuses


def in_line(snapshot: Snapshot) -> dict[str, list[str]]:
    """The owners who wait in each pool, in order."""
    lines = context_of(snapshot).waiting
    return {pool: list(line.missing) for pool, line in lines.items()}


def test_lent_quota_is_nobodys_excess_until_its_owner_asks() -> None:
    """Acme borrows all of birch's idle quota: no excess; birch asks for 4: an excess of 4."""
    assert current_overuses(full()) == ()
    (overuse,) = current_overuses(full(10 * HOUR_S, asks("birch", 4)))
    assert (overuse.startup, overuse.pool, overuse.gpus, overuse.owner) == (
        "acme",
        "h100",
        4,
        "birch",
    )
    assert "4 above its share of 4; birch waits for its nominal quota" in text_of(
        "overuse", facts_of(overuse)
    )


def test_the_deadline_is_a_full_notice_after_the_minimum_runtime() -> None:
    """Old servers get the notice; the newest of those concerned first ends its first hour."""
    (old,) = current_overuses(full(10 * HOUR_S, asks("birch", 4)))
    assert old.deadline_s == 10 * HOUR_S + NOTICE_S
    young_s = 7 * HOUR_S + 600
    (young,) = current_overuses(full(young_s, asks("birch", 4)))
    assert young.deadline_s == 8 * HOUR_S + NOTICE_S


@pytest.mark.parametrize(
    ("runtime_s", "from_s"), [(0, 600), (HOUR_S, HOUR_S), (3 * HOUR_S, 3 * HOUR_S)]
)
def test_the_minimum_runtime_is_the_policys(runtime_s: int, from_s: int) -> None:
    """A server of ten minutes' age first runs for as long as the policy says."""
    made = full(7 * HOUR_S + 600, asks("birch", 4))
    policy = replace(made.program.policy, minimum_runtime_s=runtime_s)
    made = replace(made, program=replace(made.program, policy=policy))
    (overuse,) = current_overuses(made)
    assert overuse.deadline_s == 7 * HOUR_S + from_s + NOTICE_S


def test_a_deadline_stands_while_its_excess_does() -> None:
    """Later cycles, another size, a newer server: beginning and deadline stay as promised."""
    before = full(10 * HOUR_S, asks("birch", 4))
    (first,) = current_overuses(before)
    later = full(11 * HOUR_S, asks("birch", 3), overuses=(first,))
    (then,) = current_overuses(later)
    assert (then.since_s, then.deadline_s) == (first.since_s, first.deadline_s)
    assert then.gpus == 3
    assert changed_overuse(later, (then,)) == (then,)
    assert changed_overuse(later, (first,)) == ()


def test_a_deadline_moves_later_once_when_an_owner_begins_to_wait() -> None:
    """What nobody wanted had no urgency: the full notice begins when somebody does."""
    idle = Overuse("acme", "h100", 4, None, 0, NOTICE_S, 4, 4, "capacity")
    (wanted,) = current_overuses(full(10 * HOUR_S, asks("birch", 4), overuses=(idle,)))
    assert (wanted.since_s, wanted.deadline_s) == (0, 10 * HOUR_S + NOTICE_S)


def test_an_excess_that_is_over_is_written_as_ended() -> None:
    """Birch withdraws: the stored excess ends now, and none stands."""
    (was,) = current_overuses(full(10 * HOUR_S, asks("birch", 4)))
    decided = decide(full(11 * HOUR_S, overuses=(was,)))
    assert decided.context.overuses == ()
    assert decided.overuses == (replace(was, ended_s=11 * HOUR_S),)


def test_less_than_the_smallest_server_is_left_alone_until_an_owner_waits() -> None:
    """One GPU above the share, of servers of two: ignored; with an owner in line, recorded."""
    acme = a_startup("acme", nominal={"h100": 2})
    birch = a_startup("birch", nominal={"h100": 3})
    pool = Pool("h100", ((0, 7),), flavors=(FLAVOR, BIG_FLAVOR))
    big = {"flavor": BIG_FLAVOR, "gpus": 2}
    grants = [a_balance_of(left_ucr=10**9), a_balance_of("g2", 10**9, startup="birch")]
    runs = [a_run(f"s{n}", **big) for n in range(4)]
    short = a_snapshot(9 * HOUR_S, a_program(acme, birch, pools=(pool,)), runs, grants)
    (share, _) = shares_of(short)
    assert (share.usage, share.share) == (8, 7)
    assert current_overuses(short) == ()
    waited = replace(short, requests=(asks("birch", 3),))
    (overuse,) = current_overuses(waited)
    assert (overuse.gpus, overuse.owner) == (4, "birch")


def test_nobody_waits_while_free_gpus_are_enough() -> None:
    """The owner can start in the free part of the pool: no borrower is asked to give way."""
    snapshot = full(10 * HOUR_S, asks("birch", 4))
    pool = replace(snapshot.program.pools[0], capacity=((0, 12),))
    roomy = replace(snapshot, program=replace(snapshot.program, pools=(pool,)))
    assert in_line(roomy) == {}
    assert in_line(snapshot) == {"h100": ["birch"]}


def test_owners_wait_in_the_order_in_which_they_asked() -> None:
    """The elder request names the owner, whatever the names or the order of the input."""
    owners = [a_startup(name, nominal={"h100": 4}) for name in ("b", "c")]
    grants = [a_balance_of(n, 10**9, startup=n) for n in ("acme", "b", "c")]
    program = a_program(
        a_startup(), *owners, pools=(Pool("h100", ((0, 8),), flavors=(FLAVOR, BIG_FLAVOR)),)
    )
    runs = [a_run(f"s{n}") for n in range(8)]
    asked = (asks("b", 4, 20, 2), asks("c", 4, 10, 1))
    for requests in (asked, asked[::-1]):
        snapshot = a_snapshot(9 * HOUR_S, program, runs, grants, requests=requests)
        assert in_line(snapshot) == {"h100": ["c", "b"]}


def test_a_limit_of_the_policy_is_its_own_rules_matter() -> None:
    """Above its own limit a startup gets that rule's notice, and no excess besides."""
    limited = a_startup("acme", limit={"h100": 2})
    runs = [a_run(f"s{n}") for n in range(4)]
    snapshot = a_snapshot(100, a_program(limited), runs, [a_balance_of()])
    assert overuses(context_of(snapshot)) == ()


def test_an_excess_is_told_once_and_ends_when_its_owner_is_served() -> None:
    """Cycle after cycle one notice of the excess; it ends when the borrower gave way."""
    acme, birch = (a_startup(name, nominal={"h100": 2}) for name in ("acme", "birch"))
    pool = Pool("h100", ((0, 4),), flavors=(FLAVOR, BIG_FLAVOR))
    grants = [a_balance_of(left_ucr=10**9), a_balance_of("g2", 10**9, startup="birch")]
    servers = [a_server(f"s{n}", commercial_type=BIG_TYPE) for n in range(2)]
    decide_loop = DecideLoop(a_program(acme, birch, pools=(pool,)), grants, *servers)
    decide_loop.until(300)
    decide_loop.asks("birch", 2)
    decide_loop.until(900)
    told = [n for n in decide_loop.notices.values() if n.rule == "overuse"]
    assert [(n.startup, n.state, n.deadline_s) for n in told] == [
        ("acme", "announced", decide_loop.overuses["acme", "h100"].deadline_s)
    ]
    decide_loop.servers["s1"] = replace(servers[1], state="stopped", modified_s=decide_loop.now_s)
    decide_loop.cycle()
    assert decide_loop.overuses == {}


def with_a_cut(snapshot: Snapshot, cut_s: int) -> Snapshot:
    """The same with acme's oldest server's run cut at an instant."""
    runs = dict(snapshot.runs)
    runs["s0@0"] = replace(runs["s0@0"], start_s=cut_s, posted_until_s=cut_s)
    return replace(snapshot, runs=runs)


def test_a_cut_gives_no_second_minimum_runtime() -> None:
    """A price changed ten minutes ago: the excess's deadline is that of the servers' own ages."""
    plain = full(10 * HOUR_S, asks("birch", 8))
    nominal = a_startup("birch", nominal={"h100": 8})
    program = a_program(a_startup("acme"), nominal, pools=plain.program.pools)
    plain = replace(plain, program=program)
    recut = with_a_cut(plain, 10 * HOUR_S - 600)
    found = [decide(each).context.overuses for each in (plain, recut)]
    assert found[0] == found[1] != ()
    assert found[0][0].deadline_s == 10 * HOUR_S + NOTICE_S


def test_an_excess_waits_for_the_last_started_not_the_last_cut() -> None:
    """One GPU above its share: whose minimum runtime counts is the newest server's."""
    made = full(7 * HOUR_S + 600, asks("birch", 1))
    for snapshot in (made, with_a_cut(made, 7 * HOUR_S + 300)):
        (overuse,) = decide(snapshot).context.overuses
        assert overuse.deadline_s == 8 * HOUR_S + NOTICE_S

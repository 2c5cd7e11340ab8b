"""The reclaim rule: which servers give way, and for which owner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.enforcement.decide import DecideResult, decide
from quotas.ledger.balance import balance
from quotas.model.program import Pool, Startup
from quotas.model.units import DAY_S
from quotas.rules import reclaim
from quotas.rules.context import Violation
from quotas.rules.credits import exhaustion_episode
from quotas.rules.reclaim import suspended_episodes
from quotas.shares.claims import WaitingOwners
from quotas.state.notices import Notice
from quotas.state.overrides import EVERYONE, Override
from quotas.state.snapshot import UNREAD, Overuse, Snapshot
from tests.builders import BIG_FLAVOR, FLAVOR, a_balance_of, a_program, a_run, a_snapshot, a_startup
from tests.quotas.rules.rule_env import context_of
from tests.quotas.rules.test_overuse import HOUR_S, NOTICE_S, asks, full, with_a_cut

NOW_S = 10 * HOUR_S
ONE, TWO = {"h100": (FLAVOR,)}, {"h100": (BIG_FLAVOR,)}


def borrowing(*owners: Startup, by: tuple[int, ...] = (8,), **changes: Any) -> Snapshot:
    """A pool of 8 full of single servers of acme, and of cara; some own what these borrow."""
    names = ("acme", "cara")
    runs = [
        a_run(f"{name[0]}{n}", n, startup=name)
        for name, gpus in zip(names, by, strict=False)
        for n in range(gpus)
    ]
    members = (*(a_startup(name) for name in names), *owners)
    program = a_program(*members, pools=(Pool("h100", ((0, 8),), flavors=(FLAVOR, BIG_FLAVOR)),))
    grants = [a_balance_of(each.name, 10**9, startup=each.name) for each in members]
    return a_snapshot(NOW_S, program, runs, grants, **changes)


def own(name: str, gpus: int = 4, **changes: Any) -> Startup:
    """Who has nominal quota."""
    return a_startup(name, nominal={"h100": gpus}, **changes)


def give_way(decided: DecideResult) -> dict[str, str]:
    """The owner for whom each server is told to give way."""
    announced = [d for d in decided.decisions if (d.rule, d.verb) == ("reclaim", "notify")]
    return {d.server_id: str(d.inputs["owner"]) for d in announced}


def after(snapshot: Snapshot, decided: DecideResult) -> Snapshot:
    """The next cycle, which knows of what the last one gave and found."""
    given: list[Notice] = [n for n in decided.notices if n.server_id and n.state == "open"]
    notices = tuple(replace(n, id=at) for at, n in enumerate(given, 1))
    announced = frozenset((d.startup, d.episode) for d in decided.decisions if d.verb == "announce")
    return replace(
        snapshot, notices=notices, overuses=decided.context.overuses, announced=announced
    )


def test_who_can_be_served_is_served_though_another_is_first_in_line() -> None:
    """The first uses servers of two only, acme runs single ones: they go to the second, all 4."""
    wishes = (asks("one", 4, 10, 1), asks("two", 4, 20, 2))
    snapshot = borrowing(own("one", flavors=TWO), own("two", flavors=ONE), requests=wishes)
    decided = decide(snapshot)
    assert [e.owner for e in decided.context.overuses] == ["two"]
    assert give_way(decided) == dict.fromkeys(("a4", "a5", "a6", "a7"), "two")
    again = decide(after(snapshot, decided))
    assert (again.decisions, again.overuses) == ((), ())


def test_an_owner_is_not_left_while_it_is_served() -> None:
    """What the first can use has no stock: the second is served, and still when it has again."""
    wishes = (asks("one", 4, 10, 1), asks("two", 4, 20, 2))
    owners = (own("one", flavors=TWO), own("two", flavors=ONE))
    snapshot = borrowing(*owners, requests=wishes, stock={BIG_FLAVOR: "shortage"})
    runs = {**snapshot.runs, "b@0": a_run("a7", 7, flavor=BIG_FLAVOR, gpus=1)}
    del runs["a7@7"]
    snapshot = replace(snapshot, runs=runs)
    first = decide(snapshot)
    assert [e.owner for e in first.context.overuses] == ["two"]
    second = decide(replace(after(snapshot, first), stock={}))
    assert [e.owner for e in second.context.overuses] == ["two"]
    assert not [d for d in second.decisions if d.verb == "cancelled"]


def test_nobody_is_served_the_first_is_deferred() -> None:
    """Neither can use what acme runs: the first in line and acme are told, once."""
    owners = (own("one", flavors=TWO), own("two", flavors=TWO))
    snapshot = borrowing(*owners, requests=(asks("one", 4, 10, 1), asks("two", 4, 20, 2)))
    decided = decide(snapshot)
    announced = {d.startup: d.inputs["owner"] for d in decided.decisions if d.rule == "deferral"}
    assert announced == {"acme": "one", "one": "one"}
    assert decided.deferred_gpus == {"h100": 8}


def test_no_more_is_taken_back_than_its_owner_misses() -> None:
    """Dune would borrow 8 too, so that acme is 4 above its share: the owner of 1 takes 1."""
    wishes = (asks("own", 1, 10, 1), asks("dune", 8, 20, 2))
    snapshot = borrowing(own("own", 1), a_startup("dune"), requests=wishes)
    decided = decide(snapshot)
    (overuse,) = decided.context.overuses
    assert overuse.gpus > 1
    assert give_way(decided) == {"a7": "own"}
    assert decide(after(snapshot, decided)).decisions == ()


def test_who_is_most_above_its_share_gives_first_and_who_was_told_goes_on() -> None:
    """Dune would borrow too. Acme runs 5, cara 3: acme gives the 1; but not once cara was told."""
    wishes = (asks("own", 1, 10, 1), asks("dune", 8, 20, 2))
    snapshot = borrowing(own("own", 1), a_startup("dune"), by=(5, 3), requests=wishes)
    decided = decide(snapshot)
    assert [e.startup for e in decided.context.overuses] == ["acme", "cara"]
    assert give_way(decided) == {"a4": "own"}
    kept = decide(replace(snapshot, notices=(a_notice_for(snapshot, "cara", "c0"),)))
    assert give_way(kept) == {}
    assert not [n for n in kept.notices if n.state == "cancelled"]


def a_notice_for(snapshot: Snapshot, startup: str, server_id: str) -> Notice:
    """An open notice of a reclaim."""
    episode, due_s = "reclaim:h100:own", snapshot.now_s + HOUR_S
    name, zone = f"name-{server_id}", "fr-par-2"
    return Notice(
        startup, server_id, name, zone, "reclaim", episode, "enforce", 0, due_s, "it stops", id=1
    )


def test_whoever_is_let_off_is_no_reason_to_wait() -> None:
    """Acme would give the 2; while it is exempt, or frozen, cara gives them."""
    for family in ("exempt", "freeze"):
        override = Override(family, "acme", "on", 0, None, "op", "a demo", id=1)
        wishes = (asks("own", 2, 10, 1), asks("dune", 8, 20, 2))
        snapshot = borrowing(own("own", 2), a_startup("dune"), by=(4, 4), requests=wishes)
        enforcement = replace(snapshot.enforcement, overrides=(override,))
        given = give_way(decide(replace(snapshot, enforcement=enforcement)))
        assert given.keys() - {"a2", "a3"} == {"c2", "c3"}
        assert (family == "freeze") == ({"a2", "a3"} <= given.keys())


def test_in_a_maintenance_no_more_are_told_than_are_missing() -> None:
    """It holds back everybody's stop: nobody else frees the GPUs sooner."""
    override = Override("maintenance", EVERYONE, "on", 0, None, "op", "an upgrade", id=1)
    wishes = (asks("own", 2, 10, 1), asks("dune", 8, 20, 2))
    snapshot = borrowing(own("own", 2), a_startup("dune"), by=(4, 4), requests=wishes)
    enforcement = replace(snapshot.enforcement, overrides=(override,))
    given = give_way(decide(replace(snapshot, enforcement=enforcement)))
    assert given.keys() == {"a2", "a3"}


@pytest.mark.parametrize("unread", [FLAVOR, BIG_FLAVOR])
def test_a_flavor_that_could_not_be_read_may_be_there(unread: str) -> None:
    """Of the other there is none, of this nobody knows: the reclaim is suspended, not over."""
    asked = borrowing(own("own", 4), requests=(asks("own", 4),))
    pool = replace(asked.program.pools[0], backing="on-demand")
    sold = dict.fromkeys((FLAVOR, BIG_FLAVOR), "shortage")
    snapshot = replace(
        asked, program=replace(asked.program, pools=(pool,)), stock={**sold, unread: UNREAD}
    )
    assert suspended_episodes(context_of(snapshot)) == {"reclaim:h100:own"}
    assert suspended_episodes(context_of(replace(snapshot, stock=sold))) == frozenset()


def test_what_runs_outside_the_cohorts_is_not_free() -> None:
    """A startup of an ended cohort still runs 2 of 8: an owner of 4 cannot start its own."""
    runs_6 = borrowing(own("own", 4), by=(4, 0), requests=(asks("own", 4),))
    gone = [a_run(f"g{n}", startup="gone") for n in range(2)]
    crowded = replace(runs_6, runs={**runs_6.runs, **{run.id: run for run in gone}})
    free = [free_where_waited(each) for each in (runs_6, crowded)]
    assert free == [{}, {"h100": 2}]


def free_where_waited(snapshot: Snapshot) -> dict[str, int]:
    """How many GPUs are free where somebody waits."""
    lines = context_of(snapshot).waiting
    return {pool: line.free for pool, line in lines.items()}


def closed_by(episode: str, **changes: Any) -> Snapshot:
    """Acme runs all 8; own, who was met and has 4 of them nominal, may start nothing."""
    kept = replace(asks("own", 4), state="fulfilled", met_s=60, duration_s=30 * DAY_S)
    full = borrowing(own("own", 4), requests=(changes.pop("request", kept),))
    if episode == "operator":
        override = Override("level", "own", "stopped", 0, None, "op", "a pause", id=1)
        return replace(full, enforcement=replace(full.enforcement, overrides=(override,)))
    if episode == "time":
        cohort = replace(full.program.cohorts[0], ends_s=NOW_S + 60)
        return replace(full, program=replace(full.program, cohorts=(cohort,)))
    broke = {**full.balances, "own": balance("own", NOW_S, [], [], {}, 0)}
    return replace(full, balances=broke, announced=frozenset({("own", exhaustion_episode(0))}))


@pytest.mark.parametrize("episode", ["operator", "time", "credits"])
def test_who_may_start_nothing_takes_nothing_back(episode: str) -> None:
    """Its request lives on, and what others borrow of its quota stays theirs."""
    snapshot = closed_by(episode)
    decided = decide(snapshot)
    assert decided.context.restrictions["own"].level in {"closed", "stopped"}
    assert (give_way(decided), decided.context.overuses) == ({}, ())
    shares = {each.startup: each for each in decided.context.shares}
    assert (shares["own"].demand, shares["acme"].share) == (0, 8)
    assert free_where_waited(snapshot) == {}


def test_who_may_start_nothing_says_nothing_of_the_providers_quota() -> None:
    """An open request that was refused for quota fills the pool no more once it is closed."""
    refused = replace(asks("own", 4), opened_s=NOW_S - 60, quota_gpus=4)
    snapshot = closed_by("operator", request=refused)
    assert decide(snapshot).context.shares[0].share == 8


def test_who_was_closed_takes_back_again_once_it_is_open() -> None:
    """Without the word the same request, still met, is demand as before."""
    snapshot = closed_by("operator")
    again = replace(snapshot, enforcement=replace(snapshot.enforcement, overrides=()))
    assert give_way(decide(again)) == dict.fromkeys(("a4", "a5", "a6", "a7"), "own")


def test_a_reclaim_takes_the_last_started_not_the_last_cut() -> None:
    """And its deadline has no minimum runtime counted from a cut."""
    snapshot = with_a_cut(full(10 * HOUR_S, asks("birch", 1)), 10 * HOUR_S - 600)
    overuse = Overuse("acme", "h100", 1, "birch", 0, 10 * HOUR_S + NOTICE_S, 7, 4, "capacity")

    def reclaims(snapshot: Snapshot) -> list[Violation]:
        waiting = {"h100": WaitingOwners({"birch": 1}, 0)}
        context = replace(context_of(snapshot), waiting=waiting, overuses=(overuse,))
        return list(reclaim.RULE.find(context))

    (found,) = reclaims(snapshot)
    assert found.run.server_id == "s7"
    alone = replace(snapshot, runs={"s0@0": snapshot.runs["s0@0"]})
    (last,) = reclaims(alone)
    assert (last.run.server_id, last.deadline_s) == ("s0", overuse.deadline_s)

"""What changed between a promise and its stop counts: a cause that ended, a word, a longer end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import update

from quotas.book.actions.commands import Command, GrantCommand, OperatorAction, RefundCommand
from quotas.book.actions.execute import perform_action
from quotas.book.actions.requests import open_request
from quotas.book.cycle.commit import apply_program
from quotas.book.schema.tables import INTENT
from quotas.book.verify.verify import verify
from quotas.decisions.overrides import EVERYONE
from quotas.model.observation import Cause, Complete, Sweep, Unknown
from quotas.model.program import Cohort, Grant, Program, Rollover, Startup, Tenure, Tranche
from quotas.queue.requests import RequestSpec
from scheduler.clouds.base import Throttled
from tests.scheduler.harness import END, OTHER, T0, TYPE, ZONE, Harness, override, program, server

HOUR_S, DAY_S = 3600, 86_400
CREDIT = 1_000_000


def operator_action(harness: Harness, command: Command) -> None:
    """An operator moves credits now."""
    perform_action(harness.book, OperatorAction(command, "a test", "ann", harness.clock.now_s()))


def turned(harness: Harness, name: str, state: str) -> None:
    """Somebody turns a server on or off now, and a cycle sees it."""
    now_s = harness.clock.now_s()
    harness.cloud.add(replace(harness.cloud.servers[name], state=state, modified_s=now_s))
    harness.run(30)


def acme(base: Program, **changes: object) -> Program:
    """The rig's program with another acme."""
    (cohort,) = base.cohorts
    startups = (replace(cohort.startups[0], **changes),)  # type: ignore[arg-type]  # its fields
    return replace(base, cohorts=(replace(cohort, startups=startups),))


def last(harness: Harness) -> dict[str, object]:
    """The newest notice of a server."""
    return [row for row in harness.all("notice") if row["server_id"]][-1]


def length_s(harness: Harness) -> int:
    """How long the newest notice of a server is."""
    return int(str(last(harness)["deadline_s"])) - int(str(last(harness)["opened_s"]))


def exhausted(of: Program | None = None) -> Harness:
    """A rig whose one server was stopped for want of credits, seen off."""
    harness = Harness(of or program(credits=50, notice_s=1800))
    harness.cloud.add(server())
    harness.run_until(T0 + 2 * HOUR_S, 150)
    assert harness.cloud.stops == ["s1"]
    turned(harness, "s1", "stopped")
    assert last(harness)["state"] == "executed"
    return harness


def test_after_an_exemption_there_is_a_whole_notice() -> None:
    """What ran in peace for a day is told anew, and goes on with no notice of before."""
    harness = exhausted()
    override(harness, "exempt", "acme", for_s=DAY_S)
    turned(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + DAY_S + HOUR_S, HOUR_S // 4)
    assert length_s(harness) == 1800 and harness.all("notice")[-1]["opened_s"] > T0 + DAY_S


def test_armed_again_everybody_has_a_whole_notice() -> None:
    """A stop of before the program was disarmed is past: nobody is stopped on it."""
    harness = exhausted()
    override(harness, "mode", EVERYONE, "shadow")
    turned(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + DAY_S, HOUR_S)
    override(harness, "mode", EVERYONE, "enforce")
    harness.run(30)
    assert (last(harness)["mode"], last(harness)["state"], length_s(harness)) == (
        "enforce",
        "open",
        1800,
    )
    assert harness.cloud.stops == ["s1"], "only the one of before"


def test_who_leaves_twice_has_two_notices() -> None:
    """Out of the program, in again for days, and out: the second time is told like the first."""
    base = program(notice_s=1800)
    gone = replace(base, cohorts=(replace(base.cohorts[0], startups=()),))
    harness = Harness(base)
    harness.cloud.add(server())
    harness.run()
    apply_program(harness.book, gone, harness.clock.now_s(), "ann")
    harness.run_until(T0 + HOUR_S, 150)
    turned(harness, "s1", "stopped")
    apply_program(harness.book, base, harness.clock.now_s(), "ann")
    turned(harness, "s1", "running")
    harness.run_until(T0 + 2 * DAY_S, HOUR_S)
    apply_program(harness.book, gone, harness.clock.now_s(), "ann")
    harness.run(30)
    assert last(harness)["state"] == "open" and length_s(harness) == 1800


def test_who_turns_off_in_time_has_a_whole_notice_the_next_time() -> None:
    """Five servers burn too much and are turned off; one alone runs until it is told, in full."""
    harness = Harness(program(credits=140, notice_s=1800))
    names = [f"s{number}" for number in range(1, 6)]
    harness.cloud.add(*map(server, names))
    harness.run_until(T0 + 3450, 150)
    assert last(harness)["state"] == "open"
    for name in names:
        harness.cloud.add(
            replace(harness.cloud.servers[name], state="stopped", modified_s=T0 + 3451)
        )
    harness.run(60)
    turned(harness, "s1", "running")
    assert harness.views[-1].status.startups[0].level == "open"
    while not harness.cloud.stops:
        harness.run(60)
    assert length_s(harness) == 1800
    assert harness.rows("balance").get("overdraft:c", 0) == 0


def test_mode_off_takes_back_what_was_promised() -> None:
    """A notice given before the program was off is none after it is on again."""
    base = program(limit=0, notice_s=1800)
    harness = Harness(base)
    harness.cloud.add(server())
    harness.run()
    apply_program(harness.book, replace(base, mode="off"), harness.clock.now_s(), "ann")
    harness.run_until(T0 + DAY_S, HOUR_S)
    assert last(harness)["state"] == "cancelled"
    apply_program(harness.book, base, harness.clock.now_s(), "ann")
    harness.run(30)
    assert (
        last(harness)["state"] == "open" and length_s(harness) == 1800 and harness.cloud.stops == []
    )


def test_a_cohort_that_is_prolonged_in_its_last_day_runs_on() -> None:
    """The notice of the old end is cancelled, and one of the new end is given."""
    base = program(notice_s=1800)
    harness = Harness(base)
    harness.cloud.add(server())
    harness.clock.move_to(END - DAY_S)
    harness.run()
    harness.run(60)
    assert last(harness)["deadline_s"] == END
    harness.run_until(END - 3 * HOUR_S, HOUR_S)
    later = replace(base, cohorts=(replace(base.cohorts[0], ends_s=END + 6 * HOUR_S),))
    apply_program(harness.book, later, harness.clock.now_s(), "ann")
    operator_action(harness, GrantCommand("acme", "g2", 1000 * CREDIT))
    harness.run_until(END + HOUR_S, HOUR_S // 2)
    assert harness.cloud.stops == [] and last(harness)["deadline_s"] == END + 6 * HOUR_S
    harness.run_until(END + 7 * HOUR_S, HOUR_S // 4)
    assert harness.cloud.stops == ["s1"]


def test_what_was_refunded_may_be_spent() -> None:
    """After an exhaustion that nothing was granted for: open again, and nothing is stopped."""
    harness = Harness(program(credits=100))
    harness.cloud.add(server())
    harness.run_until(T0 + 5 * HOUR_S, 60)
    turned(harness, "s1", "stopped")
    assert harness.views[-1].status.startups[0].level == "stopped"
    operator_action(harness, RefundCommand(T0, T0 + 2 * HOUR_S, zone=ZONE))
    harness.run(30)
    assert harness.views[-1].status.startups[0].level == "open"
    turned(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + HOUR_S, 150)
    assert harness.cloud.stops == ["s1"], "the one of before"


def test_what_a_stop_leaves_over_opens_nothing() -> None:
    """A few micro-credits above zero, and nothing runs: used up all the same (no flapping)."""
    harness = exhausted()
    assert harness.views[-1].status.startups[0].balance.available_ucr > 0
    assert harness.views[-1].status.startups[0].level == "stopped"


def _rolling(ppm: int) -> Program:
    """Acme has 1,000 credits for five days, then 10 more and a part of what is left of them."""
    tranches = (Tranche(1000 * CREDIT, T0), Tranche(10 * CREDIT, T0 + 5 * DAY_S))
    grant = Grant("g", 1010 * CREDIT, T0, END, tranches=tranches, rollover=Rollover(ppm))
    return acme(program(notice_s=1800), grants=(grant,))


@pytest.mark.parametrize("ppm", [1_000_000, 500_000], ids=["all", "half"])
def test_what_waits_to_roll_over_is_no_less_its_startups(ppm: int) -> None:
    """A zone where it has nothing does not answer at the tranche's edge: it runs on."""
    edge_s = T0 + 5 * DAY_S
    harness = Harness(_rolling(ppm))
    harness.clock.move_to(edge_s - HOUR_S)
    harness.run()
    harness.cloud.add(server("s1", edge_s - HOUR_S + 10))
    harness.run_until(edge_s - 120, 870)
    before_ucr = harness.views[-1].status.startups[0].balance.available_ucr * ppm // 1_000_000
    harness.cloud.answers["pl-waw-2"] = lambda at: Unknown(
        "pl-waw-2", at, Cause.UNREACHABLE, "down"
    )
    harness.run_until(edge_s + HOUR_S, 120)
    assert harness.views[-1].status.startups[0].level == "open" and harness.cloud.stops == []
    del harness.cloud.answers["pl-waw-2"]
    known = harness.views[-1].status.startups[0].balance.available_ucr
    harness.run()
    assert harness.views[-1].status.startups[0].balance.available_ucr == known, (
        "posted now, and the same"
    )
    assert before_ucr - 26 * CREDIT * 2 < known < before_ucr


def _throttled(harness: Harness, calls: list[str], times: int) -> None:
    def refuse(_: str) -> None:
        if len(calls) <= times:
            raise Throttled("429")

    harness.cloud.on_stop = harness.cloud.on_start = refuse


def test_a_freeze_holds_a_stop_that_was_not_sent_yet() -> None:
    """Throttled, then frozen: nothing is sent, and after the freeze there is a notice again."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    _throttled(harness, harness.cloud.stops, 1)
    harness.run_until(T0 + 90)
    assert len(harness.cloud.stops) == 1 and last(harness)["state"] == "executing"
    override(harness, "freeze", "acme", for_s=HOUR_S)
    harness.run_until(T0 + 90 + HOUR_S - 30, 300)
    assert len(harness.cloud.stops) == 1
    assert [row["state"] for row in harness.all("intent")] == ["abandoned"]
    harness.run(60)
    assert (last(harness)["state"], len(harness.cloud.stops)) == ("open", 1)
    harness.run_until(harness.clock.now_s() + 120)
    assert len(harness.cloud.stops) == 2
    assert verify(harness.book).fault is None
    with harness.book.writing() as connection:
        connection.execute(update(INTENT).where(INTENT.c.id == 1).values(decided_s=T0 + 59))
    assert "intent 1 was decided before its notice's deadline" in str(verify(harness.book).fault)


def test_a_stop_that_failed_before_a_freeze_broke_no_promise() -> None:
    """It had its whole notice then; what it has again after the freeze was taken by nobody."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # it does not stop
    while [row["state"] for row in harness.all("intent")] != ["failed"]:
        harness.run(30)
    override(harness, "freeze", "acme", for_s=HOUR_S)
    harness.run_until(harness.clock.now_s() + HOUR_S, 300)
    while last(harness)["state"] == "executing":
        harness.run(10)
    assert last(harness)["state"] == "open" and not last(harness)["is_breached"]
    del harness.cloud.turn_off
    harness.run_until(harness.clock.now_s() + 300)
    assert last(harness)["state"] == "executed" and verify(harness.book).fault is None
    assert not [row for row in harness.all("transfer") if row["kind"] == "refund"]


@pytest.mark.parametrize("left_s", [0, 600])
def test_no_more_can_be_missing_than_was_left_of_an_older_notice(left_s: int) -> None:
    """No channel takes a word: the first notice is short of all of it, the next of its rest."""
    told = acme(program(credits=50, notice_s=1800), contacts=("mailto://cto@example.com",))
    harness = Harness(told)
    harness.cloud.add(server())
    while not [row for row in harness.all("notice") if row["server_id"]]:
        harness.run(30)
    harness.run_until(harness.clock.now_s() + 1800 - left_s if left_s else T0 + 2 * HOUR_S, 150)
    turned(harness, "s1", "stopped")
    turned(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + left_s + 600, 60)
    turned(harness, "s1", "stopped")
    rows = [row for row in harness.all("decision") if row["verb"] == "breach"]
    short = [json.loads(str(row["inputs"]))["short_s"] for row in rows]
    if left_s:  # off before its deadline, the first was cancelled: the rest was due, and untold
        assert len(short) == 1 and 0 < short[0] <= left_s
    else:
        assert short == [1800], "of the second nothing was left"


def test_a_start_that_was_not_sent_yet_is_given_up_when_nothing_asks_for_it() -> None:
    """Throttled, then stopped by an operator: it is not powered on after all."""
    harness = Harness(acme(program(), auto_resume=True))
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 150)
    turned(harness, "s1", "stopped")
    _throttled(harness, harness.cloud.starts, 1)
    override(harness, "level", "acme", "open")
    harness.run(30)
    assert len(harness.cloud.starts) == 1
    override(harness, "level", "acme", "stopped")
    harness.run_until(harness.clock.now_s() + 600)
    assert len(harness.cloud.starts) == 1 and harness.all("intent")[-1]["state"] == "abandoned"


def test_a_reclaim_that_was_not_sent_yet_waits_for_every_zone_of_the_pool() -> None:
    """Throttled, then another zone of the pool does not answer: the borrower runs on."""
    base = program()
    lender = Startup("birch", "c", (Tenure(OTHER, 0),), nominal={"h100": 8})
    lender = replace(lender, grants=(Grant("g2", 10**10, T0, END),))
    borrower = replace(base.cohorts[0].startups[0], limit={})
    flavors = (f"{TYPE}@{ZONE}", f"{TYPE}@fr-par-1")
    pool = replace(base.pools[0], capacity=((0, 16),), flavors=flavors)
    policy = replace(base.policy, disruption_budget_ppm=1_000_000, minimum_runtime_s=60)
    cohort = Cohort("c", T0, END, (borrower, lender))
    harness = Harness(replace(base, pools=(pool,), cohorts=(cohort,), policy=policy))
    harness.cloud.add(server("old"))
    harness.run()
    harness.cloud.add(server("new", T0 + 20))
    harness.run(30)
    open_request(
        harness.book, RequestSpec("birch", "h100", 8, DAY_S, "t", "birch", harness.clock.now_s())
    )
    _throttled(harness, harness.cloud.stops, 1)
    while not harness.cloud.stops:
        harness.run(30)
    harness.cloud.answers["fr-par-1"] = lambda at: Unknown(
        "fr-par-1", at, Cause.UNREACHABLE, "down"
    )
    harness.run_until(harness.clock.now_s() + 300)
    assert len(harness.cloud.stops) == 1
    del harness.cloud.answers["fr-par-1"]
    harness.run_until(harness.clock.now_s() + 90)
    assert len(harness.cloud.stops) == 2


SAID = ("freeze", "exempt", "grant", "disarm", "off", "open")


@pytest.mark.parametrize("what", SAID)
def test_what_is_said_while_a_cycle_looks_is_heard_before_it_acts(what: str) -> None:
    """A sweep may take a minute: what was decided from before it is not sent."""
    bases = {"grant": program(credits=20), "open": program()}
    base = bases.get(what, program(limit=0))
    harness = Harness(base)
    harness.cloud.add(server())
    if what == "open":
        override(harness, "level", "acme", "stopped")
    while not any(row["server_id"] for row in harness.all("notice")):
        harness.run(30)

    def speaks(at_s: int) -> Sweep:
        if what == "grant":
            operator_action(harness, GrantCommand("acme", "g2", 1000 * CREDIT))
        elif what == "off":
            apply_program(harness.book, replace(base, mode="off"), harness.clock.now_s(), "ann")
        elif what == "disarm":
            override(harness, "mode", EVERYONE, "shadow")
        elif what == "open":
            override(harness, "level", "acme", "open")
        else:
            override(harness, what, "acme", for_s=DAY_S)
        del harness.cloud.answers[ZONE]
        return Complete(ZONE, at_s, tuple(harness.cloud.servers.values()))

    harness.clock.move_to(int(str(last(harness)["deadline_s"])))
    harness.cloud.answers[ZONE] = speaks
    harness.run()
    assert last(harness)["state"] == "executing", "decided from what the cycle had read"
    harness.run_until(harness.clock.now_s() + 150)
    assert harness.cloud.stops == []
    assert {row["state"] for row in harness.all("intent")} == {"abandoned"}


def test_a_server_its_owner_started_is_its_owners_to_stop() -> None:
    """`auto_resume` brings back what cohortd stopped last, not what was turned off since."""
    base = acme(program(credits=50, notice_s=1800), auto_resume=True)
    harness = exhausted(base)
    operator_action(harness, GrantCommand("acme", "g2", 30 * CREDIT))
    harness.run(30)
    assert harness.cloud.starts == [], "too little to carry it for an hour"
    turned(harness, "s1", "running")
    harness.run(600)
    turned(harness, "s1", "stopped")
    operator_action(harness, GrantCommand("acme", "g3", 1000 * CREDIT))
    harness.run_until(harness.clock.now_s() + 300)
    assert harness.cloud.starts == []


def test_a_stop_that_is_under_way_is_taken_back_when_it_is_done() -> None:
    """Sent, and then nothing asks for it any more: executed, not cancelled, if it happens."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    slow = harness.cloud.turn_off
    harness.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # a read that is stale
    harness.run_until(T0 + 90)
    assert harness.all("intent")[0]["state"] == "sent"
    override(harness, "level", "acme", "open")
    harness.run(15)
    assert last(harness)["state"] == "executing"
    slow("s1")
    harness.run(15)
    assert last(harness)["state"] == "executed" and harness.all("intent")[0]["state"] == "confirmed"

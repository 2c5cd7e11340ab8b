"""What changed between a promise and its stop counts: a cause that ended, a word, a longer end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import update

from quotas.book.actions.commands import Deed, GrantOrder, Order, RefundOrder
from quotas.book.actions.execute import perform
from quotas.book.actions.requests import open_request
from quotas.book.cycle.commit import apply_program
from quotas.book.schema import INTENT
from quotas.book.verify.verify import verify
from quotas.decisions.overrides import EVERYONE
from quotas.model.observation import Cause, Complete, Sweep, Unknown
from quotas.model.program import Cohort, Grant, Program, Rollover, Startup, Tenure, Tranche
from quotas.queue.requests import Ask
from scheduler.clouds.base import Throttled
from tests.scheduler.harness import END, OTHER, T0, TYPE, ZONE, Rig, program, server, word

HOUR_S, DAY_S = 3600, 86_400
CREDIT = 1_000_000


def deed(rig: Rig, order: Order) -> None:
    """An operator moves credits now."""
    perform(rig.book, Deed(order, "a test", "ann", rig.clock.now_s()))


def turned(rig: Rig, name: str, state: str) -> None:
    """Somebody turns a server on or off now, and a cycle sees it."""
    now_s = rig.clock.now_s()
    rig.cloud.add(replace(rig.cloud.servers[name], state=state, modified_s=now_s))
    rig.run(30)


def acme(base: Program, **changes: object) -> Program:
    """The rig's program with another acme."""
    (cohort,) = base.cohorts
    startups = (replace(cohort.startups[0], **changes),)  # type: ignore[arg-type]  # its fields
    return replace(base, cohorts=(replace(cohort, startups=startups),))


def last(rig: Rig) -> dict[str, object]:
    """The newest notice of a server."""
    return [row for row in rig.all("notice") if row["server_id"]][-1]


def length_s(rig: Rig) -> int:
    """How long the newest notice of a server is."""
    return int(str(last(rig)["deadline_s"])) - int(str(last(rig)["given_s"]))


def exhausted(of: Program | None = None) -> Rig:
    """A rig whose one server was stopped for want of credits, seen off."""
    rig = Rig(of or program(credits=50, notice_s=1800))
    rig.cloud.add(server())
    rig.run_until(T0 + 2 * HOUR_S, 150)
    assert rig.cloud.stops == ["s1"]
    turned(rig, "s1", "stopped")
    assert last(rig)["state"] == "executed"
    return rig


def test_after_an_exemption_there_is_a_whole_notice() -> None:
    """What ran in peace for a day is told anew, and goes on with no notice of before."""
    rig = exhausted()
    word(rig, "exempt", "acme", for_s=DAY_S)
    turned(rig, "s1", "running")
    rig.run_until(rig.clock.now_s() + DAY_S + HOUR_S, HOUR_S // 4)
    assert length_s(rig) == 1800 and rig.all("notice")[-1]["given_s"] > T0 + DAY_S


def test_armed_again_everybody_has_a_whole_notice() -> None:
    """A stop of before the program was disarmed is past: nobody is stopped on it."""
    rig = exhausted()
    word(rig, "mode", EVERYONE, "shadow")
    turned(rig, "s1", "running")
    rig.run_until(rig.clock.now_s() + DAY_S, HOUR_S)
    word(rig, "mode", EVERYONE, "enforce")
    rig.run(30)
    assert (last(rig)["mode"], last(rig)["state"], length_s(rig)) == ("enforce", "open", 1800)
    assert rig.cloud.stops == ["s1"], "only the one of before"


def test_who_leaves_twice_has_two_notices() -> None:
    """Out of the program, in again for days, and out: the second time is told like the first."""
    base = program(notice_s=1800)
    gone = replace(base, cohorts=(replace(base.cohorts[0], startups=()),))
    rig = Rig(base)
    rig.cloud.add(server())
    rig.run()
    apply_program(rig.book, gone, rig.clock.now_s(), "ann")
    rig.run_until(T0 + HOUR_S, 150)
    turned(rig, "s1", "stopped")
    apply_program(rig.book, base, rig.clock.now_s(), "ann")
    turned(rig, "s1", "running")
    rig.run_until(T0 + 2 * DAY_S, HOUR_S)
    apply_program(rig.book, gone, rig.clock.now_s(), "ann")
    rig.run(30)
    assert last(rig)["state"] == "open" and length_s(rig) == 1800


def test_who_turns_off_in_time_has_a_whole_notice_the_next_time() -> None:
    """Five servers burn too much and are turned off; one alone runs until it is told, in full."""
    rig = Rig(program(credits=140, notice_s=1800))
    names = [f"s{number}" for number in range(1, 6)]
    rig.cloud.add(*map(server, names))
    rig.run_until(T0 + 3450, 150)
    assert last(rig)["state"] == "open"
    for name in names:
        rig.cloud.add(replace(rig.cloud.servers[name], state="stopped", modified_s=T0 + 3451))
    rig.run(60)
    turned(rig, "s1", "running")
    assert rig.views[-1].startups[0].level == "open"
    while not rig.cloud.stops:
        rig.run(60)
    assert length_s(rig) == 1800
    assert rig.rows("balance").get("overdraft:c", 0) == 0


def test_mode_off_takes_back_what_was_promised() -> None:
    """A notice given before the program was off is none after it is on again."""
    base = program(limit=0, notice_s=1800)
    rig = Rig(base)
    rig.cloud.add(server())
    rig.run()
    apply_program(rig.book, replace(base, mode="off"), rig.clock.now_s(), "ann")
    rig.run_until(T0 + DAY_S, HOUR_S)
    assert last(rig)["state"] == "cancelled"
    apply_program(rig.book, base, rig.clock.now_s(), "ann")
    rig.run(30)
    assert last(rig)["state"] == "open" and length_s(rig) == 1800 and rig.cloud.stops == []


def test_a_cohort_that_is_prolonged_in_its_last_day_runs_on() -> None:
    """The notice of the old end is cancelled, and one of the new end is given."""
    base = program(notice_s=1800)
    rig = Rig(base)
    rig.cloud.add(server())
    rig.clock.move_to(END - DAY_S)
    rig.run()
    rig.run(60)
    assert last(rig)["deadline_s"] == END
    rig.run_until(END - 3 * HOUR_S, HOUR_S)
    later = replace(base, cohorts=(replace(base.cohorts[0], ends_s=END + 6 * HOUR_S),))
    apply_program(rig.book, later, rig.clock.now_s(), "ann")
    deed(rig, GrantOrder("acme", "g2", 1000 * CREDIT))
    rig.run_until(END + HOUR_S, HOUR_S // 2)
    assert rig.cloud.stops == [] and last(rig)["deadline_s"] == END + 6 * HOUR_S
    rig.run_until(END + 7 * HOUR_S, HOUR_S // 4)
    assert rig.cloud.stops == ["s1"]


def test_what_was_refunded_may_be_spent() -> None:
    """After an exhaustion that nothing was granted for: open again, and nothing is stopped."""
    rig = Rig(program(credits=100))
    rig.cloud.add(server())
    rig.run_until(T0 + 5 * HOUR_S, 60)
    turned(rig, "s1", "stopped")
    assert rig.views[-1].startups[0].level == "stopped"
    deed(rig, RefundOrder(T0, T0 + 2 * HOUR_S, zone=ZONE))
    rig.run(30)
    assert rig.views[-1].startups[0].level == "open"
    turned(rig, "s1", "running")
    rig.run_until(rig.clock.now_s() + HOUR_S, 150)
    assert rig.cloud.stops == ["s1"], "the one of before"


def test_what_a_stop_leaves_over_opens_nothing() -> None:
    """A few micro-credits above zero, and nothing runs: used up all the same (no flapping)."""
    rig = exhausted()
    assert rig.views[-1].startups[0].balance.available_ucr > 0
    assert rig.views[-1].startups[0].level == "stopped"


def _rolling(ppm: int) -> Program:
    """Acme has 1,000 credits for five days, then 10 more and a part of what is left of them."""
    tranches = (Tranche(1000 * CREDIT, T0), Tranche(10 * CREDIT, T0 + 5 * DAY_S))
    grant = Grant("g", 1010 * CREDIT, T0, END, tranches=tranches, rollover=Rollover(ppm))
    return acme(program(notice_s=1800), grants=(grant,))


@pytest.mark.parametrize("ppm", [1_000_000, 500_000], ids=["all", "half"])
def test_what_waits_to_roll_over_is_no_less_its_startups(ppm: int) -> None:
    """A zone where it has nothing does not answer at the tranche's edge: it runs on."""
    edge_s = T0 + 5 * DAY_S
    rig = Rig(_rolling(ppm))
    rig.clock.move_to(edge_s - HOUR_S)
    rig.run()
    rig.cloud.add(server("s1", edge_s - HOUR_S + 10))
    rig.run_until(edge_s - 120, 870)
    before_ucr = rig.views[-1].startups[0].balance.available_ucr * ppm // 1_000_000
    rig.cloud.answers["pl-waw-2"] = lambda at: Unknown("pl-waw-2", at, Cause.UNREACHABLE, "down")
    rig.run_until(edge_s + HOUR_S, 120)
    assert rig.views[-1].startups[0].level == "open" and rig.cloud.stops == []
    del rig.cloud.answers["pl-waw-2"]
    known = rig.views[-1].startups[0].balance.available_ucr
    rig.run()
    assert rig.views[-1].startups[0].balance.available_ucr == known, "posted now, and the same"
    assert before_ucr - 26 * CREDIT * 2 < known < before_ucr


def _throttled(rig: Rig, calls: list[str], times: int) -> None:
    def refuse(_: str) -> None:
        if len(calls) <= times:
            raise Throttled("429")

    rig.cloud.on_stop = rig.cloud.on_start = refuse


def test_a_freeze_holds_a_stop_that_was_not_sent_yet() -> None:
    """Throttled, then frozen: nothing is sent, and after the freeze there is a notice again."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    _throttled(rig, rig.cloud.stops, 1)
    rig.run_until(T0 + 90)
    assert len(rig.cloud.stops) == 1 and last(rig)["state"] == "executing"
    word(rig, "freeze", "acme", for_s=HOUR_S)
    rig.run_until(T0 + 90 + HOUR_S - 30, 300)
    assert len(rig.cloud.stops) == 1
    assert [row["state"] for row in rig.all("intent")] == ["abandoned"]
    rig.run(60)
    assert (last(rig)["state"], len(rig.cloud.stops)) == ("open", 1)
    rig.run_until(rig.clock.now_s() + 120)
    assert len(rig.cloud.stops) == 2
    assert verify(rig.book).fault is None
    with rig.book.writing() as connection:
        connection.execute(update(INTENT).where(INTENT.c.id == 1).values(decided_s=T0 + 59))
    assert "intent 1 was decided before its notice's deadline" in str(verify(rig.book).fault)


def test_a_stop_that_failed_before_a_freeze_broke_no_promise() -> None:
    """It had its whole notice then; what it has again after the freeze was taken by nobody."""
    rig = Rig(program(limit=0))
    rig.cloud.add(server())
    rig.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # it does not stop
    while [row["state"] for row in rig.all("intent")] != ["failed"]:
        rig.run(30)
    word(rig, "freeze", "acme", for_s=HOUR_S)
    rig.run_until(rig.clock.now_s() + HOUR_S, 300)
    while last(rig)["state"] == "executing":
        rig.run(10)
    assert last(rig)["state"] == "open" and not last(rig)["is_broken"]
    del rig.cloud.turn_off
    rig.run_until(rig.clock.now_s() + 300)
    assert last(rig)["state"] == "executed" and verify(rig.book).fault is None
    assert not [row for row in rig.all("transfer") if row["kind"] == "refund"]


@pytest.mark.parametrize("left_s", [0, 600])
def test_no_more_can_be_missing_than_was_left_of_an_older_notice(left_s: int) -> None:
    """No channel takes a word: the first notice is short of all of it, the next of its rest."""
    told = acme(program(credits=50, notice_s=1800), contacts=("mailto://cto@example.com",))
    rig = Rig(told)
    rig.cloud.add(server())
    while not [row for row in rig.all("notice") if row["server_id"]]:
        rig.run(30)
    rig.run_until(rig.clock.now_s() + 1800 - left_s if left_s else T0 + 2 * HOUR_S, 150)
    turned(rig, "s1", "stopped")
    turned(rig, "s1", "running")
    rig.run_until(rig.clock.now_s() + left_s + 600, 60)
    turned(rig, "s1", "stopped")
    rows = [row for row in rig.all("decision") if row["verb"] == "break-promise"]
    short = [json.loads(str(row["inputs"]))["short_s"] for row in rows]
    if left_s:  # off before its deadline, the first was cancelled: the rest was due, and untold
        assert len(short) == 1 and 0 < short[0] <= left_s
    else:
        assert short == [1800], "of the second nothing was left"


def test_a_start_that_was_not_sent_yet_is_given_up_when_nothing_asks_for_it() -> None:
    """Throttled, then stopped by an operator: it is not powered on after all."""
    rig = Rig(acme(program(), auto_resume=True))
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")
    rig.run_until(T0 + 150)
    turned(rig, "s1", "stopped")
    _throttled(rig, rig.cloud.starts, 1)
    word(rig, "level", "acme", "open")
    rig.run(30)
    assert len(rig.cloud.starts) == 1
    word(rig, "level", "acme", "stopped")
    rig.run_until(rig.clock.now_s() + 600)
    assert len(rig.cloud.starts) == 1 and rig.all("intent")[-1]["state"] == "abandoned"


def test_a_reclaim_that_was_not_sent_yet_waits_for_every_zone_of_the_pool() -> None:
    """Throttled, then another zone of the pool does not answer: the borrower runs on."""
    base = program()
    lender = Startup("birch", "c", (Tenure(OTHER, 0),), nominal={"h100": 8})
    lender = replace(lender, grants=(Grant("g2", 10**10, T0, END),))
    borrower = replace(base.cohorts[0].startups[0], limit={})
    flavors = (f"{TYPE}@{ZONE}", f"{TYPE}@fr-par-1")
    pool = replace(base.pools[0], capacity=((0, 16),), flavors=flavors)
    policy = replace(base.policy, guard_part_ppm=1_000_000, minimum_runtime_s=60)
    cohort = Cohort("c", T0, END, (borrower, lender))
    rig = Rig(replace(base, pools=(pool,), cohorts=(cohort,), policy=policy))
    rig.cloud.add(server("old"))
    rig.run()
    rig.cloud.add(server("new", T0 + 20))
    rig.run(30)
    open_request(rig.book, Ask("birch", "h100", 8, DAY_S, "t", "birch", rig.clock.now_s()))
    _throttled(rig, rig.cloud.stops, 1)
    while not rig.cloud.stops:
        rig.run(30)
    rig.cloud.answers["fr-par-1"] = lambda at: Unknown("fr-par-1", at, Cause.UNREACHABLE, "down")
    rig.run_until(rig.clock.now_s() + 300)
    assert len(rig.cloud.stops) == 1
    del rig.cloud.answers["fr-par-1"]
    rig.run_until(rig.clock.now_s() + 90)
    assert len(rig.cloud.stops) == 2


SAID = ("freeze", "exempt", "grant", "disarm", "off", "open")


@pytest.mark.parametrize("what", SAID)
def test_what_is_said_while_a_cycle_looks_is_heard_before_it_acts(what: str) -> None:
    """A sweep may take a minute: what was decided from before it is not sent."""
    bases = {"grant": program(credits=20), "open": program()}
    base = bases.get(what, program(limit=0))
    rig = Rig(base)
    rig.cloud.add(server())
    if what == "open":
        word(rig, "level", "acme", "stopped")
    while not any(row["server_id"] for row in rig.all("notice")):
        rig.run(30)

    def speaks(at_s: int) -> Sweep:
        if what == "grant":
            deed(rig, GrantOrder("acme", "g2", 1000 * CREDIT))
        elif what == "off":
            apply_program(rig.book, replace(base, mode="off"), rig.clock.now_s(), "ann")
        elif what == "disarm":
            word(rig, "mode", EVERYONE, "shadow")
        elif what == "open":
            word(rig, "level", "acme", "open")
        else:
            word(rig, what, "acme", for_s=DAY_S)
        del rig.cloud.answers[ZONE]
        return Complete(ZONE, at_s, tuple(rig.cloud.servers.values()))

    rig.clock.move_to(int(str(last(rig)["deadline_s"])))
    rig.cloud.answers[ZONE] = speaks
    rig.run()
    assert last(rig)["state"] == "executing", "decided from what the cycle had read"
    rig.run_until(rig.clock.now_s() + 150)
    assert rig.cloud.stops == []
    assert {row["state"] for row in rig.all("intent")} == {"abandoned"}


def test_a_server_its_owner_started_is_its_owners_to_stop() -> None:
    """`auto_resume` brings back what cohortd stopped last, not what was turned off since."""
    base = acme(program(credits=50, notice_s=1800), auto_resume=True)
    rig = exhausted(base)
    deed(rig, GrantOrder("acme", "g2", 30 * CREDIT))
    rig.run(30)
    assert rig.cloud.starts == [], "too little to carry it for an hour"
    turned(rig, "s1", "running")
    rig.run(600)
    turned(rig, "s1", "stopped")
    deed(rig, GrantOrder("acme", "g3", 1000 * CREDIT))
    rig.run_until(rig.clock.now_s() + 300)
    assert rig.cloud.starts == []


def test_a_stop_that_is_under_way_is_taken_back_when_it_is_done() -> None:
    """Sent, and then nothing asks for it any more: executed, not cancelled, if it happens."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")
    slow = rig.cloud.turn_off
    rig.cloud.turn_off = lambda _: None  # type: ignore[method-assign]  # a read that is stale
    rig.run_until(T0 + 90)
    assert rig.all("intent")[0]["state"] == "sent"
    word(rig, "level", "acme", "open")
    rig.run(15)
    assert last(rig)["state"] == "executing"
    slow("s1")
    rig.run(15)
    assert last(rig)["state"] == "executed" and rig.all("intent")[0]["state"] == "confirmed"

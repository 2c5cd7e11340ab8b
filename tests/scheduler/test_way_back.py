"""What comes back after a stop: undone, resumed, returned to its owner; and why it was so."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from quotas.book.actions.requests import open_request
from quotas.book.actions.undo import undo as take_back
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.decisions.explain import explain
from quotas.decisions.record import recompute
from quotas.decisions.snapshot import Decision
from quotas.model.program import Cohort, Grant, Program, Startup, Tenure
from quotas.queue.requests import RequestSpec
from scheduler.clouds.base import CloudError, OutOfStock, Unreachable
from scheduler.views.status import status_of
from tests.scheduler.harness import END, NOTICE_S, OTHER, T0, Harness, override, program, server

HOUR_S = 3600
DAY_S = 86_400


def stopped(of: Program | None = None) -> Harness:
    """A rig whose one server an operator's word stopped, seen off."""
    harness = Harness(of)
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 150)
    assert harness.cloud.stops == ["s1"]
    off(harness)
    return harness


def off(harness: Harness) -> None:
    """What was stopping is stopped, and seen so."""
    for each in list(harness.cloud.servers.values()):
        if each.state == "stopping":
            harness.cloud.add(replace(each, state="stopped"))
    harness.run(30)


def undo(harness: Harness) -> None:
    """An operator takes the last stop back."""
    decision = next(row for row in harness.all("decision") if row["verb"] == "stop")
    take_back(harness.book, int(str(decision["id"])), "ann", "a test", harness.clock.now_s())


def lending(backing: str = "on-demand", gpus: int = 16, nominal: int = 0) -> Harness:
    """Acme runs 16 GPUs, which fill a pool of 16; birch, 8 of whose they are, has none."""
    base = program()
    acme = replace(base.cohorts[0].startups[0], nominal={"h100": nominal}, limit={})
    birch = Startup(
        "birch",
        "c",
        (Tenure(OTHER, 0),),
        nominal={"h100": 8},
        grants=(Grant("g2", 10**10, T0, END),),
    )
    pool = replace(base.pools[0], capacity=((0, gpus),), backing=backing)  # type: ignore[arg-type]
    cohorts = (Cohort("c", T0, END, (acme, birch)),)
    policy = replace(base.policy, disruption_budget_ppm=1_000_000)
    harness = Harness(replace(base, pools=(pool,), cohorts=cohorts, policy=policy))
    harness.cloud.add(server("old"))
    harness.run()
    harness.cloud.add(server("new", T0 + 20))
    harness.run(30)
    return harness


def recut(harness: Harness, from_s: int, gpus: int) -> None:
    """The program's file says that the pool has another number of GPUs from an instant on."""
    found = load_state(harness.book).program
    assert found is not None
    (pool,) = found.pools
    pools = (replace(pool, capacity=(*pool.capacity, (from_s, gpus))),)
    apply_program(harness.book, replace(found, pools=pools), harness.clock.now_s(), "tests")


def ask_back(harness: Harness, refused: str = "") -> None:
    """Birch asks for its nominal quota, and says what its start was refused for."""
    now_s = harness.clock.now_s()
    ask = RequestSpec("birch", "h100", 8, DAY_S, "training", "birch", now_s, refused=refused)
    open_request(harness.book, ask)


def decisions(harness: Harness) -> list[Decision]:
    """Every decision of the book."""
    names = ("startup", "server_id", "rule", "verb", "episode", "reason")
    return [
        Decision(
            *(str(row[name]) for name in names),
            inputs=json.loads(str(row["inputs"])),
        )
        for row in harness.all("decision")
    ]


def test_an_undone_stop_is_offered_back_and_exempt_for_a_day() -> None:
    """Powered on once, though the cause lasts; after a day the rule counts again."""
    harness = stopped()
    undo(harness)
    harness.run_until(harness.clock.now_s() + 600)
    assert (harness.cloud.starts, harness.cloud.servers["s1"].state) == (["s1"], "starting")
    assert [n["state"] for n in harness.all("notice") if n["server_id"]] == ["restarted"]
    harness.run_until(harness.clock.now_s() + DAY_S + 600, every_s=HOUR_S // 2)
    assert harness.all("notice")[-1]["opened_s"] > T0 + DAY_S
    assert harness.all("intent")[1]["action"] == "poweron"


def test_without_a_word_nothing_comes_back() -> None:
    """Open again: permission returns, and no server is powered on."""
    harness = stopped()
    override(harness, "level", "acme", "open")
    harness.run_until(T0 + 2000)
    assert harness.cloud.starts == []


def test_auto_resume_brings_back_exactly_what_was_stopped() -> None:
    """The startup asked for it: its own stopped server is not touched, ours is powered on."""
    base = program()
    acme = replace(base.cohorts[0].startups[0], auto_resume=True)
    harness = stopped(replace(base, cohorts=(Cohort("c", T0, END, (acme,)),)))
    harness.cloud.add(server("own", state="stopped"))
    harness.run_until(T0 + 1000)
    assert harness.cloud.starts == []
    override(harness, "level", "acme", "open")
    harness.run_until(T0 + 1300)
    assert harness.cloud.starts == ["s1"]


def test_a_shortage_at_poweron_is_visible_and_no_storm() -> None:
    """Out of stock for two hours: a handful of calls, an alarm, then the server is back."""
    harness = stopped()

    def none_left(_: str) -> None:
        raise OutOfStock("no GPUs")

    harness.cloud.on_start = none_left
    undo(harness)
    harness.run_until(harness.clock.now_s() + 2 * HOUR_S, every_s=60)
    assert 4 <= len(harness.cloud.starts) <= 14
    assert any(
        "cannot be powered on again yet: no GPUs" in each for each in harness.views[-1].alarms
    )
    harness.cloud.on_start = lambda _: None
    harness.run_until(harness.clock.now_s() + HOUR_S, every_s=60)
    assert harness.all("notice")[0]["state"] == "restarted"
    live = {row["state"] for row in harness.all("intent")}
    assert live <= {"confirmed", "failed"}, "every intent ended (I21)"


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_crash_around_poweron_ends_as_without_it(cut: str) -> None:
    """The daemon dies before or after the call: another one finds the intent and goes on."""
    harness = stopped()
    undo(harness)

    def die(_: str) -> None:
        if cut == "after":
            harness.cloud.servers["s1"] = replace(harness.cloud.servers["s1"], state="starting")
        harness.cloud.on_start = lambda _: None
        raise KeyboardInterrupt

    harness.cloud.on_start = die
    with pytest.raises(KeyboardInterrupt):
        harness.run(30)
    harness.cycle = harness.daemon("a")
    harness.run_until(harness.clock.now_s() + 300)
    assert harness.cloud.servers["s1"].state == "starting"
    assert [n["state"] for n in harness.all("notice") if n["server_id"]] == ["restarted"]


def test_an_owner_gets_its_quota_back_from_the_newest_server() -> None:
    """Minimum runtime, then notice, then one server, the newest; the other keeps running."""
    harness = lending()
    ask_back(harness)
    harness.run_until(T0 + HOUR_S + 20)
    assert harness.cloud.stops == []
    harness.run_until(T0 + HOUR_S + 300)
    assert harness.cloud.stops == ["new"]
    notice = next(n for n in harness.all("notice") if n["rule"] == "reclaim")
    assert int(str(notice["deadline_s"])) >= T0 + 20 + HOUR_S
    harness.run_until(T0 + 3 * HOUR_S, every_s=600)
    assert harness.cloud.stops == ["new"]


@pytest.mark.parametrize("refused", ["", "quota"])
def test_a_pool_with_room_is_reclaimed_only_where_the_quota_refuses(refused: str) -> None:
    """16 of 24 GPUs run: the owner may start its 8, unless Scaleway's quota refused it that."""
    harness = lending(gpus=24)
    ask_back(harness, refused)
    harness.run_until(T0 + 2 * HOUR_S, every_s=120)
    assert harness.cloud.stops == (["new"] if refused else [])
    given = [n for n in harness.all("notice") if n["rule"] == "reclaim"]
    assert bool(given) == bool(refused)
    harness.cloud.add(server("own", harness.clock.now_s(), project_id=OTHER))
    harness.run(60)
    assert harness.all("request")[0]["state"] == "met"
    harness.run_until(T0 + 4 * HOUR_S, every_s=300)
    assert harness.cloud.stops == (["new"] if refused else [])


def test_a_refusal_for_quota_takes_nothing_of_what_is_an_owners_own() -> None:
    """What a startup runs within its nominal quota stays, whatever another says."""
    harness = lending(gpus=24, nominal=16)
    ask_back(harness, "quota")
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == [] and not any(n["server_id"] for n in harness.all("notice"))


def test_a_refusal_for_quota_in_a_shortage_is_deferred() -> None:
    """The slot would go to Scaleway: an owner's word on its quota changes nothing of that."""
    harness = lending(gpus=24)
    override(harness, "shortage", "h100", for_s=DAY_S)
    ask_back(harness, "quota")
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == [] and any(n["rule"] == "deferral" for n in harness.all("notice"))


def test_a_reclaim_is_deferred_in_a_shortage_and_both_are_told() -> None:
    """The slot would go to Scaleway, not to the owner: nobody is evicted."""
    harness = lending()
    override(harness, "shortage", "h100", for_s=DAY_S)
    ask_back(harness)
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == []
    told = {str(n["startup"]) for n in harness.all("notice") if n["rule"] == "deferral"}
    assert told == {"acme", "birch"}


@pytest.mark.parametrize("stock", ["shortage", "sold out", Unreachable("no answer")])
def test_a_reclaim_is_deferred_while_scaleway_lists_none(stock: str | CloudError) -> None:
    """Its catalogue says shortage, another word, or nothing: nobody is evicted, both are told."""
    harness = lending()
    harness.cloud.in_stock = stock
    assert harness.cloud.stock_reads == 0, "nobody waits"
    ask_back(harness)
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == []
    told = {
        str(n["startup"]): str(n["text"]) for n in harness.all("notice") if n["rule"] == "deferral"
    }
    assert harness.views[-1].deferred_gpus == {"h100": 8}
    override = stock if isinstance(stock, str) else "unread"
    assert set(told) == {"acme", "birch"} and f"Scaleway says {override!r} of what" in told["acme"]
    harness.cloud.in_stock = "scarce"
    harness.run_until(T0 + 4 * HOUR_S, every_s=60)
    assert harness.cloud.stops == ["new"] and harness.views[-1].deferred_gpus == {}


def test_who_was_stopped_takes_nothing_back_and_status_says_the_same() -> None:
    """Birch is stopped within the notice: acme's is cancelled, and birch reads why it waits."""
    harness = lending()
    ask_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["open"]
    override(harness, "level", "birch", "stopped")
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == []
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["cancelled"]
    view, shown = harness.views[-1], status_of(harness.book, harness.clock.now_s())
    assert shown["shares"] == [asdict(share) for share in view.shares]
    (told,), (line,) = view.requests, shown["requests"]
    assert told.text == line["position"]
    assert "it is stopped and asks for nothing: ann said so at" in told.text


def test_a_shortage_that_begins_inside_the_notice_cancels_it() -> None:
    """Never in a shortage: not even where the notice was given before it."""
    harness = lending()
    ask_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["open"]
    harness.cloud.in_stock = "shortage"
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert harness.cloud.stops == []
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["cancelled"]


@pytest.mark.parametrize("others", ["available", "shortage"])
def test_a_stock_that_cannot_be_read_suspends_a_notice(others: str) -> None:
    """Neither yes nor no: nothing is sent, the notice stands; only a real shortage cancels it."""
    harness = lending()
    ask_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    (given,) = [n for n in harness.all("notice") if n["rule"] == "reclaim"]
    harness.cloud.in_stock = Unreachable("no answer")
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert harness.cloud.stops == [] and harness.views[-1].deferred_gpus == {"h100": 8}
    assert [n for n in harness.all("notice") if n["rule"] == "reclaim"] == [given]
    harness.cloud.in_stock = others
    harness.run_until(T0 + 2 * HOUR_S + 600, every_s=60)
    (after,) = [n for n in harness.all("notice") if n["rule"] == "reclaim"]
    assert after["deadline_s"] == given["deadline_s"]
    shortage = others == "shortage"
    assert harness.cloud.stops == ([] if shortage else ["new"])
    assert after["state"] == ("cancelled" if shortage else "executed")


def test_a_suspended_notice_ends_with_its_cause() -> None:
    """The borrower turns its server off while the stock cannot be read: the notice is over."""
    harness = lending()
    ask_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    harness.cloud.in_stock = Unreachable("no answer")
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    harness.cloud.turn_off("new")
    harness.run(60)
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["cancelled"]


def test_reserved_capacity_is_reclaimed_whatever_scaleway_has() -> None:
    """With backing reserved an evicted GPU is ours to give."""
    harness = lending("reserved")
    harness.cloud.in_stock = "shortage"
    override(harness, "shortage", "h100", for_s=DAY_S)
    ask_back(harness)
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert harness.cloud.stops == ["new"]
    (text,) = [str(n["text"]) for n in harness.all("notice") if n["server_id"]]
    assert "is erased; its slot stays the program's; volumes stay." in text


def test_a_cut_pool_is_divided_anew_and_only_a_waiting_owner_takes_back() -> None:
    """From 24 GPUs to 8: acme, with 16, is told at once, and stopped only once birch asks."""
    harness = lending(gpus=24)
    cut_s = harness.clock.now_s() + 600
    recut(harness, cut_s, 8)
    harness.run_until(cut_s - 1, every_s=60)
    assert {each.startup: each.share for each in harness.views[-1].shares}["acme"] == 16
    assert harness.all("notice") == []
    harness.run(1)
    assert {each.startup: each.share for each in harness.views[-1].shares}["acme"] == 8
    (told,) = harness.all("notice")
    assert "acme runs 16 GPUs in h100, 8 above its share of 8" in str(told["text"])
    harness.run_until(cut_s + 3 * HOUR_S, every_s=600)
    assert harness.cloud.stops == [], "nobody waits"
    ask_back(harness)
    asked_s = harness.clock.now_s()
    harness.run_until(asked_s + NOTICE_S - 1, every_s=30)
    assert harness.cloud.stops == []
    harness.run_until(asked_s + HOUR_S, every_s=30)
    assert harness.cloud.stops == ["new", "old"], "birch's nominal 8 are all that the pool has"


def test_every_decision_is_recomputed_from_its_inputs() -> None:
    """Promise 9: stored inputs lead each rule to the stored reason again, in every story."""
    exhausted = Harness(program(credits=1))
    exhausted.cloud.add(server("a"), server("b"))
    exhausted.run_until(T0 + 600)
    lent, undone = lending(), stopped()
    ask_back(lent)
    lent.run_until(T0 + 2 * HOUR_S, every_s=120)
    undo(undone)
    undone.run_until(T0 + 900)
    limited = Harness(program(limit=0))
    limited.cloud.add(server("s1"), server("leak", state="stopped in place"))
    limited.run_until(T0 + HOUR_S, every_s=60)
    found = [d for harness in (exhausted, lent, undone, limited) for d in decisions(harness)]
    assert {d.verb for d in found} >= {
        "notify",
        "stop",
        "executed",
        "defer",
        "restart",
        "restarted",
    }
    for each in found:
        assert recompute(each) == each.reason, each


def test_an_explanation_says_what_follows_and_who_may_change_it() -> None:
    """The same text for command and API: counterfactual, next step, who."""
    harness = Harness(program(limit=4))
    harness.cloud.add(server())
    harness.run()
    (notify,) = decisions(harness)
    told = explain(notify, T0, harness.views[-1].notices, T0)
    assert told.is_recomputed
    assert told.counterfactual == "with at most 4 GPUs in h100 nothing would be stopped"
    assert told.next_step.startswith("its stop follows at ")
    assert "program file" in told.who_may_change_it
    forged = replace(notify, inputs={**notify.inputs, "used_gpus": 3})
    assert not explain(forged, T0, (), T0).is_recomputed


@pytest.mark.parametrize(("measured_s", "most_ucr"), [(5, 450_000), (60, 850_000)])
def test_exhaustion_lands_at_zero(measured_s: int, most_ucr: int) -> None:
    """One SXM-8 with a minute's notice: within 0.45 above zero, 0.02 below, closer if measured."""
    base = program(credits=10)
    policy = replace(
        base.policy, stop_latency_s=measured_s, exhaustion_notices_s=(60, 10), minimum_notice_s=60
    )
    harness = Harness(replace(base, policy=policy))
    harness.cycle = harness.daemon("a", replace(harness.cycle.timing, cycle_s=60))
    harness.cloud.add(server())
    off_s = None
    report = harness.run()
    while not harness.cloud.stops:
        harness.clock.move_to(harness.cycle.next_due_s(report))
        report = harness.run()
        off_s = harness.clock.now_s() + 5
    assert off_s is not None
    left_ucr = 10_000_000 - 25_330_800 * (off_s - T0) // HOUR_S
    assert -20_000 <= left_ucr <= most_ucr
    assert NOTICE_S == 60

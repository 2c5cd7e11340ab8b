"""A stop is announced, explained and done once, and never decided from unknown data."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.enforcement.decide import decide
from quotas.enforcement.stop_lifecycle import FIRST_RETRY_S, LAST_RETRY_S
from quotas.model.program import Program
from quotas.model.units import DAY_S
from quotas.rules import limit
from quotas.state.notices import SEND_WITHIN_S, Intent, resolve_intents
from quotas.state.snapshot import Snapshot
from tests.builders import (
    TYPE,
    YEAR_S,
    Z,
    a_balance_of,
    a_notice,
    a_program,
    a_run,
    a_server,
    a_snapshot,
    a_startup,
    an_intent,
    as_shadow,
    seen,
    shuffled,
    unknown,
)
from tests.quotas.decide_loop import DecideLoop
from tests.quotas.rules.rule_env import violations

NOTICE_S = 1800
DARK_FLAVOR = f"{TYPE}@pl-waw-2"
RESERVE_S = NOTICE_S + 30 + 300


def broke(now_s: int = 100, program: Program | None = None, **changes: object) -> Snapshot:
    """Acme runs s1 with nothing left."""
    return a_snapshot(now_s, program or a_program(), [a_run()], **changes)


def test_used_up_credits_give_notice_and_no_stop() -> None:
    """The first cycle announces: a notice with the policy's minimum, and no intent."""
    decided = decide(broke())
    (notice,) = decided.notices
    assert (notice.server_id, notice.rule, notice.state) == ("s1", "credits", "open")
    assert notice.deadline_s == 100 + NOTICE_S
    assert decided.intents == ()
    assert [d.verb for d in decided.decisions] == ["notify"]
    assert notice.facts["flavor"] == a_run().flavor and "goes_on_s" not in notice.facts
    assert notice.deadline_s in decided.edges


@pytest.mark.parametrize("scratch_bytes", [None, 0, 3 * 10**12])
def test_a_notice_says_what_is_lost(scratch_bytes: int | None) -> None:
    """The scratch disk as the catalogue lists it; nothing if the flavor is not listed."""
    snapshot = broke()
    known = {} if scratch_bytes is None else {a_run().flavor: scratch_bytes}
    catalogue = replace(snapshot.catalogue, scratch_bytes=known)
    (notice,) = decide(replace(snapshot, catalogue=catalogue)).notices
    assert notice.facts.get("scratch_bytes") == scratch_bytes
    assert notice.facts["is_reserved"] is False


def test_a_notice_is_not_given_twice() -> None:
    """A live notice for the same startup, server and rule is enough."""
    decided = decide(broke(200, notices=(a_notice(opened_s=100, deadline_s=1900),)))
    assert (decided.notices, decided.decisions, decided.intents) == ((), (), ())


@pytest.mark.parametrize(("now_s", "stops"), [(1799, False), (1800, True)])
def test_a_stop_waits_for_its_deadline(now_s: int, stops: bool) -> None:
    """Before the deadline nothing; at it the notice executes and one intent is made."""
    decided = decide(broke(now_s, notices=(a_notice(),)))
    if not stops:
        assert decided.intents == ()
        return
    (intent,) = decided.intents
    assert (intent.server_id, intent.replaces, intent.notice_id) == ("s1", "running", 1)
    assert intent.not_after_s == now_s + SEND_WITHIN_S
    assert [n.state for n in decided.notices] == ["executing"]
    assert [d.verb for d in decided.decisions] == ["stop"]


@pytest.mark.parametrize("state", ["open", "executing"])
def test_an_unknown_zone_stops_nothing(state: str) -> None:
    """I12: with its zone Unknown, a notice long due makes no intent and changes no state."""
    decided = decide(broke(99_000, notices=(a_notice(state=state),), sweeps={Z: unknown(99_000)}))
    assert (decided.notices, decided.decisions, decided.intents) == ((), (), ())


def test_shadow_decides_alike_and_touches_nothing() -> None:
    """The same notices and reasons as enforce; at the deadline a would-stop, no intent."""
    shadow, enforce = decide(broke(program=as_shadow(a_program()))), decide(broke())
    assert shadow.decisions == enforce.decisions
    assert [replace(n, mode="enforce") for n in shadow.notices] == list(enforce.notices)
    due = a_notice(mode="shadow")
    decided = decide(broke(1800, as_shadow(a_program()), notices=(due,)))
    assert [d.verb for d in decided.decisions] == ["would-stop"]
    assert ([n.state for n in decided.notices], decided.intents) == (["shadow"], ())
    again = decide(broke(1900, as_shadow(a_program()), notices=(replace(due, state="shadow"),)))
    assert (again.notices, again.decisions, again.intents) == ((), (), ())


def test_off_decides_nothing() -> None:
    """Mode off observes and meters: no notice, no decision, no level."""
    decided = decide(broke(program=replace(a_program(), mode="off")))
    assert (decided.notices, decided.decisions, decided.intents) == ((), (), ())


def test_going_from_shadow_to_enforce_starts_a_full_notice() -> None:
    """A promise made in shadow binds nobody: it is cancelled, and a new one is given."""
    old = a_notice(mode="shadow", state="shadow")
    decided = decide(broke(5000, notices=(old,)))
    assert [(n.id, n.state, n.deadline_s) for n in decided.notices] == [
        (1, "cancelled", 1800),
        (None, "open", 5000 + NOTICE_S),
    ]
    assert decided.intents == ()


def test_a_notice_is_cancelled_when_its_cause_ends() -> None:
    """New credits end the exhaustion: the notice is cancelled and its intent abandoned."""
    notice = a_notice(state="executing")
    decided = decide(
        a_snapshot(
            1900,
            a_program(),
            [a_run()],
            [a_balance_of()],
            notices=(notice,),
            intents=(an_intent(),),
        )
    )
    assert [n.state for n in decided.notices] == ["cancelled"]
    assert [(i.id, i.state) for i in decided.intents] == [(1, "abandoned")]


@pytest.mark.parametrize(("state", "ends"), [("open", "cancelled"), ("executing", "executed")])
def test_a_notice_ends_when_its_server_is_off(state: str, ends: str) -> None:
    """Stopped by its owner before the deadline: cancelled. After it: executed."""
    stopped = seen(1900, a_server(state="stopped"))
    decided = decide(
        a_snapshot(1900, a_program(), [], notices=(a_notice(state=state),), sweeps={Z: stopped})
    )
    assert [n.state for n in decided.notices] == [ends]
    assert decided.intents == ()


def test_two_rules_make_one_intent() -> None:
    """A server due under two notices is powered off once."""
    program = a_program(a_startup(limit={"h100": 0}))
    notices = (a_notice(), a_notice(rule="limit", episode="limit:h100", id=2))
    assert len(decide(broke(1800, program, notices=notices)).intents) == 1


def failed(count: int, ended_s: int) -> tuple[Intent, ...]:
    """Intents for notice 1 that came to nothing, the last one at `ended_s`."""
    return tuple(
        an_intent(id=n, state="failed", ended_s=ended_s - 10 * (count - n))
        for n in range(1, count + 1)
    )


@pytest.mark.parametrize(
    ("failures", "pause_s"),
    [
        (1, FIRST_RETRY_S),
        (2, 2 * FIRST_RETRY_S),
        (4, 8 * FIRST_RETRY_S),
        (5, LAST_RETRY_S),
        (500, LAST_RETRY_S),
    ],
)
def test_retries_back_off(failures: int, pause_s: int) -> None:
    """Each failure doubles the pause before the next attempt, up to fifteen minutes."""
    executing, intents = a_notice(state="executing"), failed(failures, 20_000)
    early = broke(20_000 + pause_s - 1, notices=(executing,), intents=intents)
    late = broke(20_000 + pause_s, notices=(executing,), intents=intents)
    assert decide(early).intents == ()
    assert len(decide(late).intents) == 1


def test_an_intent_under_way_is_not_doubled() -> None:
    """While one is pending or sent, no second intent for the server is made."""
    executing = a_notice(state="executing")
    for intent in (an_intent(), an_intent(state="sent", sent_s=1800)):
        assert decide(broke(1900, notices=(executing,), intents=(intent,))).intents == ()


@pytest.mark.parametrize(
    ("intent", "now_s", "servers", "ends"),
    [
        (an_intent(state="sent", sent_s=1800), 1900, ("stopped",), "confirmed"),
        (an_intent(state="sent", sent_s=1800), 1900, ("stopping",), "confirmed"),
        (an_intent(state="sent", sent_s=1800), 1900, (), "confirmed"),
        (an_intent(state="sent", sent_s=1800), 2100, ("running",), None),
        (an_intent(state="sent", sent_s=1800), 2101, ("running",), "failed"),
        (an_intent(), 2100, ("running",), None),
        (an_intent(), 2101, ("running",), "expired"),
    ],
)
def test_an_intent_ends_by_observation(
    intent: Intent, now_s: int, servers: tuple[str, ...], ends: str | None
) -> None:
    """I21: seen off, still on after the stop latency, or never sent in time: one end each."""
    sweep = seen(now_s, *(a_server(state=state) for state in servers))
    ended = resolve_intents([intent], {Z: sweep}, 300, now_s)
    assert [i.state for i in ended] == ([ends] if ends else [])
    assert all(i.ended_s == now_s for i in ended)


def test_a_dark_zone_ends_no_sent_intent() -> None:
    """Unknown is not empty: a server that is not seen is not taken for stopped."""
    intent = an_intent(state="sent", sent_s=1800)
    assert resolve_intents([intent], {Z: unknown(9000)}, 300, 9000) == ()
    assert resolve_intents([intent], {}, 300, 9000) == ()


servers = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from(["acme", "birch"]), st.integers(0, 2)),
    max_size=6,
)


@given(servers, st.randoms(use_true_random=False), st.integers(0, 5000))
def test_decide_is_pure_whatever_the_order(
    drawn: list[tuple[int, str, int]], random: Random, left_ucr: int
) -> None:
    """I15: same snapshot, same decisions; shuffling its mappings and tuples changes nothing."""
    program = a_program(a_startup("acme", limit={"h100": 2}), a_startup("birch"))
    runs = [
        a_run(f"s{n}", start_s, startup=who, project_id=f"p-{who}")
        for n, (start_s, who, _) in enumerate(drawn)
    ]
    notices = tuple(
        a_notice(f"s{n}", startup=who, rule=("credits", "limit")[kind - 1], id=n + 1)
        for n, (_, who, kind) in enumerate(drawn)
        if kind
    )
    grants = [a_balance_of(left_ucr=left_ucr, expires_s=5000), a_balance_of("g2", startup="birch")]
    snapshot = a_snapshot(2000, program, runs, grants, notices=notices)
    assert decide(snapshot) == decide(snapshot)
    assert decide(shuffled(snapshot, random)) == decide(snapshot)


# Whole lives, with the desk playing book and cloud.


def test_exhaustion_lands_at_zero_after_a_full_notice() -> None:
    """Promise 4: announced a notice ahead, stopped at its end, with the balance at or above 0."""
    decide_loop = DecideLoop(a_program(), [a_balance_of(left_ucr=10_000)], a_server())
    opened_s = stopped_s = None
    for decided in decide_loop.until(12_000):
        if any(d.verb == "notify" for d in decided.decisions):
            opened_s = decide_loop.now_s if opened_s is None else opened_s
        if decided.intents and stopped_s is None:
            stopped_s = decided.intents[0].decided_s
    (notice,) = [n for n in decide_loop.notices.values() if n.server_id]
    (intent, *_) = decide_loop.intents.values()
    assert intent.decided_s - notice.opened_s >= NOTICE_S
    assert 0 <= decide_loop.grants[0].left_ucr <= RESERVE_S
    assert decide_loop.states() == ["executed"]
    assert opened_s is not None
    assert stopped_s is not None


def test_convergence_then_stability() -> None:
    """I17: at most 3 cycles after the deadline all is ended; then 10 cycles decide nothing."""
    program = a_program(a_startup(limit={"h100": 1}), a_startup("birch"))
    machines = [a_server(f"s{n}", modified_s=n, created_s=n) for n in range(4)]
    decide_loop = DecideLoop(program, [a_balance_of()], *machines)
    decide_loop.until(NOTICE_S + 30)
    decide_loop.until(decide_loop.now_s + 90)
    assert sorted(s.state for s in decide_loop.servers.values()) == ["running"] + 3 * ["stopped"]
    assert {i.state for i in decide_loop.intents.values()} == {"confirmed"}
    for decided in decide_loop.until(decide_loop.now_s + 300):
        assert (decided.decisions, decided.notices, decided.intents) == ((), (), ())


def test_exhausted_stays_stopped_until_more_is_granted() -> None:
    """Started again without credits: a notice of its own and a stop; with a grant: neither."""
    decide_loop = DecideLoop(a_program(), [], a_server())
    decide_loop.until(2400)
    assert decide_loop.states() == ["executed"]
    assert decide_loop.decided is not None
    assert decide_loop.decided.context.restrictions["acme"].level == "stopped"
    decide_loop.servers["s1"] = a_server(modified_s=decide_loop.now_s + 1)
    decide_loop.until(decide_loop.now_s + 2400)
    assert decide_loop.states() == ["executed", "executed"]
    decide_loop.grants = [a_balance_of(left_ucr=10**9)]
    decide_loop.servers["s1"] = a_server(modified_s=decide_loop.now_s + 1)
    decide_loop.until(decide_loop.now_s + 4800)
    assert decide_loop.states() == ["executed", "finished"]
    assert decide_loop.servers["s1"].state == "running"


def test_a_server_that_will_not_stop_is_tried_again_ever_slower() -> None:
    """A cloud that ignores poweroff hears of it again and again, never twice at once."""
    decide_loop = DecideLoop(a_program(), [], a_server(), obeys=False)
    decide_loop.until(20_000)
    sent = [i.decided_s for i in decide_loop.intents.values()]
    pauses = [after - before for before, after in itertools.pairwise(sent)]
    assert len(sent) > 5
    assert min(pauses) > 300 + FIRST_RETRY_S
    assert pauses == sorted(pauses)
    assert len([i for i in decide_loop.intents.values() if i.is_live]) <= 1


def test_a_dark_zone_delays_the_stop_and_nothing_else() -> None:
    """Dark over the deadline: no intent until the zone answers; then at once."""
    decide_loop = DecideLoop(a_program(), [], a_server())
    decide_loop.until(600)
    decide_loop.dark = True
    assert all(decided.intents == () for decided in decide_loop.until(6000))
    decide_loop.dark = False
    assert len(decide_loop.cycle().intents) == 1


def test_shadow_runs_a_whole_life_without_an_intent() -> None:
    """Shadow: the would-stop is recorded once, servers run on, then it is quiet."""
    decide_loop = DecideLoop(as_shadow(a_program()), [], a_server())
    decided = decide_loop.until(9000)
    verbs = [d.verb for each in decided for d in each.decisions]
    assert verbs == ["notify", "remind", "would-stop"]
    assert (decide_loop.intents, decide_loop.servers["s1"].state) == ({}, "running")


def test_turning_enforcement_on_stops_after_one_more_notice() -> None:
    """From shadow to enforce: one new notice, one stop, and no notice besides."""
    decide_loop = DecideLoop(as_shadow(a_program()), [], a_server())
    decide_loop.until(3000)
    decide_loop.program = a_program()
    decide_loop.until(6000)
    assert decide_loop.states() == ["cancelled", "executed"]
    assert len(decide_loop.intents) == 1


def test_the_cohorts_end_stops_what_still_runs() -> None:
    """At the end instant, announced a day ahead, servers stop although credits are left."""
    decide_loop = DecideLoop(a_program(ends_s=4000), [a_balance_of(expires_s=YEAR_S)], a_server())
    decide_loop.until(4200)
    (intent,) = decide_loop.intents.values()
    assert 4000 <= intent.decided_s <= 4030
    assert decide_loop.states() == ["executed"]


def test_a_notice_that_goes_on_does_not_outlast_the_cohort() -> None:
    """Off for an hour under the end's notice, then on again: it still stops at the end."""
    decide_loop = DecideLoop(
        a_program(ends_s=2 * DAY_S), [a_balance_of(left_ucr=10**9)], a_server()
    )
    decide_loop.until(DAY_S + 3_600, 3_600)
    running = decide_loop.servers["s1"]
    decide_loop.servers["s1"] = replace(running, state="stopped", modified_s=decide_loop.now_s)
    decide_loop.until(decide_loop.now_s + 7_200, 3_600)
    decide_loop.servers["s1"] = replace(running, modified_s=decide_loop.now_s)
    decide_loop.cycle(3_600)
    assert [n.deadline_s for n in decide_loop.notices.values() if n.state == "open"] == [2 * DAY_S]


def test_what_is_in_an_unknown_zone_gives_nobody_elses_place() -> None:
    """The newest above the limit is not seen: it is left alone, and nothing older is named."""
    program = a_program(a_startup(limit={"h100": 1}), zones=(Z, "pl-waw-2"))
    pool = replace(program.pools[0], flavors=(*program.pools[0].flavors, DARK_FLAVOR))
    program = replace(program, pools=(pool,))
    runs = [a_run("old"), a_run("new", 50, zone="pl-waw-2", flavor=DARK_FLAVOR)]
    dark = {Z: seen(100, a_server("old")), "pl-waw-2": unknown(100, "pl-waw-2")}
    lit = {**dark, "pl-waw-2": seen(100, a_server("new", zone="pl-waw-2"), zone="pl-waw-2")}
    named = [
        [
            v.run.server_id
            for v in violations(limit.RULE, a_snapshot(100, program, runs, sweeps=sweeps))
        ]
        for sweeps in (lit, dark)
    ]
    assert named == [["new"], []]

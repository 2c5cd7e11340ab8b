"""A state machine of startups, operators and outages against `decide`.

An oracle that uses none of the rules of `decide` checks every cycle: notices, calls, and how
many stops happen within an hour.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from quotas.enforcement.decide import DecideResult
from quotas.model.program import Policy, Program
from quotas.state.notices import LIVE_INTENTS, Notice
from quotas.state.overrides import EVERYONE, Override
from quotas.state.snapshot import CountedStop, Enforcement, first_announcements
from tests.builders import BIG_TYPE, TYPE, a_balance_of, a_program, a_server, a_startup, as_shadow
from tests.quotas.decide_loop import DecideLoop

NOTICE_S = 600
HOUR_S = 3600
QUIET = 10
IN_VAIN = {"failed", "expired", "abandoned"}
GPUS = {TYPE: 1, BIG_TYPE: 2}
SERVERS = tuple(f"s{number}" for number in range(5))


def a_world(part_ppm: int = 250_000, **changes: int) -> Program:
    """Acme may run four GPUs and borrows; birch owns eight of a pool of ten."""
    acme = a_startup("acme", limit={"h100": 4}, nominal={"h100": 1})
    birch = a_startup("birch", nominal={"h100": 8})
    policy = Policy(minimum_notice_s=NOTICE_S, disruption_budget_ppm=part_ppm, **changes)
    made = a_program(acme, birch, policy=policy)
    return replace(made, pools=(replace(made.pools[0], capacity=((0, 10),)),))


class OperatorLoop(DecideLoop):
    """A desk with operators: words that stand, an hour of stops, notices whose servers went off."""

    def __init__(self, program: Program, left_ucr: int) -> None:
        grants = [a_balance_of(left_ucr=left_ucr), a_balance_of("g2", 10**12, startup="birch")]
        super().__init__(program, grants)
        self.overrides: list[Override] = []

    def say(self, family: str, subject: str, value: str = "on", for_s: int | None = None) -> None:
        """An operator says something now."""
        until_s = None if for_s is None else self.now_s + for_s
        made = Override(family, subject, value, self.now_s, until_s, "ann", "a test")
        self.overrides.append(replace(made, id=len(self.overrides) + 1))

    def enforcement(self) -> Enforcement:
        """What the book would say of it."""
        past: dict[tuple[str, str, str], Notice] = {}
        for notice in self.notices.values():
            if notice.off_s is not None:
                past[notice.subject] = notice
        stops = (
            CountedStop(self.notices[i.notice_id], self.gpus_of(i.server_id), i.decided_s)
            for i in self.intents.values()
            if i.notice_id is not None
            and i.decided_s > self.now_s - HOUR_S
            and i.state not in IN_VAIN
        )
        runway_announcements = (
            n for n in self.notices.values() if n.rule == "runway" and n.mode == "enforce"
        )
        told = ((n.startup, n.episode, n.opened_s) for n in runway_announcements)
        return Enforcement(
            tuple(self.overrides), tuple(stops), first_announcements(told), tuple(past.values())
        )

    def gpus_of(self, server_id: str) -> int:
        """The GPUs of a server."""
        return GPUS[self.servers[server_id].commercial_type]


class StopLifecycleMachine(RuleBasedStateMachine):
    """Startups, operators, outages and a cloud that may disobey, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.operator_loop = OperatorLoop(a_world(), 10**12)
        self.deadlines: dict[int, int] = {}
        self.ended: dict[int, str] = {}
        self.unexpected: set[int] = set()
        self.decided: DecideResult | None = None

    def cycle(self, step_s: int) -> DecideResult:
        """One cycle, and everything that must be true of it."""
        operator_loop, known = self.operator_loop, set(self.operator_loop.intents)
        self.decided = decided = operator_loop.cycle(step_s)
        for id, notice in operator_loop.notices.items():
            assert notice.deadline_s >= self.deadlines.get(id, 0), "a deadline moved earlier"
            self.deadlines[id] = notice.deadline_s
        for id, intent in operator_loop.intents.items():
            assert self.ended.get(id, intent.state) == intent.state, "an ended intent changed"
            if intent.state not in LIVE_INTENTS:
                self.ended[id] = intent.state
        for id in sorted(set(operator_loop.intents) - known):
            self.sent(id)
        live = [i.server_id for i in operator_loop.intents.values() if i.state in LIVE_INTENTS]
        assert len(live) == len(set(live)), "two intents for one server at a time"
        return decided

    def sent(self, id: int) -> None:
        """A new intent: was it promised for long enough, and does the guard let it?"""
        operator_loop, intent = self.operator_loop, self.operator_loop.intents[id]
        assert not operator_loop.dark, "stopped while its zone was unknown"
        assert intent.notice_id is not None, "a stop without a notice"
        notice = operator_loop.notices[intent.notice_id]
        assert notice.opened_s + NOTICE_S <= operator_loop.now_s >= notice.deadline_s
        approved = any(
            w.family == "approve" and w.subject == str(notice.id) for w in operator_loop.overrides
        )
        if notice.rule == "operator" or approved:
            return
        made = (operator_loop.intents[each] for each in sorted(self.unexpected))
        hour = (i for i in made if i.decided_s > operator_loop.now_s - HOUR_S)
        within = {i.server_id for i in hour if i.state not in IN_VAIN}
        self.unexpected.add(id)
        running = {run.server_id for run in operator_loop.runs.values() if run.end_s is None}
        most = sum(map(operator_loop.gpus_of, running | within)) // 4
        counted = within | {notice.server_id}
        assert (
            len(counted) == 1
            or within == counted
            or sum(map(operator_loop.gpus_of, counted)) <= most
        )

    @initialize(running=st.integers(2, 5), left_ucr=st.sampled_from([0, 2000, 10**12]))
    def servers_run(self, running: int, left_ucr: int) -> None:
        """What is there when it begins."""
        for id in SERVERS[:running]:
            self.a_server_starts(id, TYPE)
        self.credits_come_and_go(left_ucr)

    @rule(cycles=st.integers(1, 12), step_s=st.sampled_from([30, 120, 600]))
    def time_passes(self, cycles: int, step_s: int) -> None:
        """Some cycles."""
        for _ in range(cycles):
            self.cycle(step_s)

    @rule()
    def a_notice_passes(self) -> None:
        """Long enough for what was promised to fall due, and be done."""
        for _ in range(NOTICE_S // 120 + 2):
            self.cycle(120)

    @rule(id=st.sampled_from(SERVERS), kind=st.sampled_from([TYPE, BIG_TYPE]))
    def a_server_starts(self, id: str, kind: str) -> None:
        """A startup starts a server, or starts it again."""
        known = self.operator_loop.servers.get(id)
        kind = known.commercial_type if known else kind
        if known is None or not known.is_billable:
            at_s = self.operator_loop.now_s
            made = a_server(id, commercial_type=kind, created_s=at_s, modified_s=at_s)
            self.operator_loop.servers[id] = made

    @rule(id=st.sampled_from(SERVERS), state=st.sampled_from(["stopped", "stopped in place"]))
    def a_startup_stops(self, id: str, state: str) -> None:
        """A startup powers a server off, or shuts it down inside."""
        if id in self.operator_loop.servers:
            server = self.operator_loop.servers[id]
            changed = replace(server, state=state, modified_s=self.operator_loop.now_s)
            self.operator_loop.servers[id] = changed

    @rule(value=st.sampled_from(["open", "closed", "stopped"]))
    def an_operator_sets_the_level(self, value: str) -> None:
        """A person's word on acme."""
        self.operator_loop.say("level", "acme", value)

    @rule(family=st.sampled_from(["freeze", "maintenance"]), for_s=st.sampled_from([60, 900, 4000]))
    def stops_are_held(self, family: str, for_s: int) -> None:
        """A freeze or maintenance of everyone."""
        self.operator_loop.say(family, EVERYONE, for_s=for_s)

    @rule(id=st.sampled_from(SERVERS))
    def a_server_is_exempt(self, id: str) -> None:
        """For an hour."""
        self.operator_loop.say("exempt", id, for_s=HOUR_S)

    @precondition(
        lambda self: any(n.state == "deferred" for n in self.operator_loop.notices.values())
    )
    @rule()
    def a_held_stop_is_approved(self) -> None:
        """The oldest of them."""
        held = next(n for n in self.operator_loop.notices.values() if n.state == "deferred")
        self.operator_loop.say("approve", str(held.id), "approved")

    @rule()
    def the_owner_asks(self) -> None:
        """Birch asks for what it owns."""
        if not self.operator_loop.requests:
            self.operator_loop.asks("birch", 8, HOUR_S)

    @rule(left_ucr=st.sampled_from([0, 3000, 10**12]))
    def credits_come_and_go(self, left_ucr: int) -> None:
        """Acme's grant is spent or filled up."""
        first, *others = self.operator_loop.grants
        self.operator_loop.grants = [replace(first, left_ucr=left_ucr), *others]

    @rule()
    def the_zone_goes_dark_or_answers(self) -> None:
        """An outage begins or ends."""
        self.operator_loop.dark = not self.operator_loop.dark

    @rule()
    def the_cloud_disobeys_or_obeys(self) -> None:
        """Stops are taken and not done, or done again."""
        self.operator_loop.obeys = not self.operator_loop.obeys

    def teardown(self) -> None:
        """Healed, it comes to rest: every intent ended, and M quiet cycles follow."""
        self.operator_loop.dark, self.operator_loop.obeys = False, True
        first, *others = self.operator_loop.grants
        if first.left_ucr:
            self.operator_loop.grants = [replace(first, left_ucr=10**12), *others]
        for _ in range(10 * HOUR_S // 600):
            self.cycle(600)
        assert not any(i.state in LIVE_INTENTS for i in self.operator_loop.intents.values())
        for _ in range(QUIET):
            decided = self.cycle(60)
            assert [n for n in decided.notices if n.server_id] == [], "it flaps"
            assert decided.intents == ()


TestStopLifecycle = StopLifecycleMachine.TestCase
TestStopLifecycle.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.sampled_from(SERVERS)),
        st.tuples(st.just("rest"), st.sampled_from(SERVERS)),
        st.tuples(st.just("level"), st.sampled_from(["open", "closed", "stopped"])),
        st.tuples(st.just("dark"), st.just("")),
        st.tuples(st.just("wait"), st.sampled_from(["30", "600"])),
    ),
    max_size=25,
)


def step(operator_loop: OperatorLoop, what: str, of: str) -> None:
    """One step of a script."""
    if what == "start":
        made = a_server(of, created_s=operator_loop.now_s, modified_s=operator_loop.now_s)
        operator_loop.servers.setdefault(of, made)
    elif what == "rest" and of in operator_loop.servers:
        server = operator_loop.servers[of]
        changed = replace(server, state="stopped in place", modified_s=operator_loop.now_s)
        operator_loop.servers[of] = changed
    elif what == "level":
        operator_loop.say("level", "acme", of)
    elif what == "dark":
        operator_loop.dark = not operator_loop.dark


@pytest.mark.parametrize("left_ucr", [2500, 10**12])
@settings(max_examples=60, deadline=None)
@given(script=STEPS)
def test_shadow_and_enforce_decide_alike(left_ucr: int, script: list[tuple[str, str]]) -> None:
    """The same promises to the second until the first deed; what shadow would stop is due there."""
    real, shadow = OperatorLoop(a_world(), left_ucr), OperatorLoop(as_shadow(a_world()), left_ucr)
    for what, of in [*script, *[("wait", "600")] * 6]:
        for operator_loop in (real, shadow):
            step(operator_loop, what, of)
        step_s = int(of) if what == "wait" else 30
        done, would = real.cycle(step_s), shadow.cycle(step_s)
        told = [
            [
                (n.subject, n.episode, n.opened_s, n.deadline_s)
                for n in d.notices
                if n.state == "open"
            ]
            for d in (done, would)
        ]
        assert told[0] == told[1]
        assert done.context.restrictions == would.context.restrictions
        assert would.intents == (), "shadow touches nothing"
        due = {(d.server_id, d.rule) for d in done.decisions if d.verb in {"stop", "defer"}}
        named = {(d.server_id, d.rule) for d in would.decisions if d.verb == "would-stop"}
        assert due == named
        if due:
            return

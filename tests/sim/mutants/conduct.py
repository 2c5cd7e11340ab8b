"""Mutants of decisions and calls: levels, notices, disruption budget, shares, the lease."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.book.cycle import commit as book_commit
from quotas.decisions import disruption_budget
from quotas.enforcement import decide, stop_lifecycle
from quotas.model.units import DAY_S, HOUR_S
from quotas.rules.context import Context
from quotas.shares import allocation
from quotas.state.notices import Notice
from scheduler.act import intents

from ..scenario.script import NAMES, ZONES, Event, Script, Window
from .registry import locked_often, mutant_of, shut_down_inside, with_events


def _without(patch: pytest.MonkeyPatch, name: str) -> None:
    rules = tuple(rule for rule in decide.STOP_RULES if rule.name != name)
    assert len(rules) == len(decide.STOP_RULES) - 1, "the rule has another name now"
    patch.setattr(decide, "STOP_RULES", rules)


def _unchecked(patch: pytest.MonkeyPatch) -> None:
    """The check at the end of `decide` would find the bug; the hunt measures the auditor."""
    patch.setattr(decide, "check", lambda *_: None)


@mutant_of()
def credits_never_end(patch: pytest.MonkeyPatch) -> None:
    """The credits rule finds nothing."""
    _without(patch, "credits")


@mutant_of()
def the_end_of_the_cohort_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The cohort-end rule finds nothing."""
    _without(patch, "cohort-end")


def _limited(script: Script) -> Script:
    """Every startup has a limit of one GPU."""
    return replace(script, limits=(1,) * len(script.limits))


@mutant_of(needs=_limited)
def limits_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The limit rule finds nothing."""
    _without(patch, "limit")


@mutant_of(needs=shut_down_inside)
def standby_servers_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The standby rule finds nothing."""
    _without(patch, "standby")


def _leaves_running(script: Script) -> Script:
    """A startup leaves the program within hours of starting a server."""
    started = [e.at_s for e in script.events if e.who == "elder" and e.verb == "on"]
    kept = [e for e in script.events if e.verb != "leave" and (e.who, e.verb) != ("elder", "off")]
    leaves = Event((started or [script.start_s])[0] + DAY_S, "operator", "leave", ("elder",))
    events = sorted((*kept, leaves), key=lambda e: e.at_s)
    return replace(
        script, credits=(script.credits[0],) * 4 + ((90_000, 90_000),), events=tuple(events)
    )


@mutant_of(needs=_leaves_running)
def who_left_runs_on(patch: pytest.MonkeyPatch) -> None:
    """The membership rule finds nothing."""
    _without(patch, "membership")


@mutant_of()
def never_stops(patch: pytest.MonkeyPatch) -> None:
    """A due notice never becomes a stop."""
    patch.setattr(stop_lifecycle.StopLifecycle, "_at_deadline", lambda *_: None)


@mutant_of()
def notices_are_short(patch: pytest.MonkeyPatch) -> None:
    """Every notice falls due ten minutes after it is given."""
    right = stop_lifecycle.StopLifecycle._record

    def wrong(work: Any, notice: Notice, verb: str, facts: Any) -> None:
        if verb == "notify":
            notice = replace(notice, deadline_s=notice.opened_s + 600)
        right(work, notice, verb, facts)

    patch.setattr(stop_lifecycle.StopLifecycle, "_record", wrong)


@mutant_of()
def a_due_notice_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Every server that must stop is stopped in the cycle after its notice."""
    right = stop_lifecycle.StopLifecycle.follow

    def wrong(work: Any, notice: Notice, violation: Any) -> None:
        now_s = work.snapshot.now_s
        right(work, replace(notice, deadline_s=min(notice.deadline_s, now_s)), violation)

    patch.setattr(stop_lifecycle.StopLifecycle, "follow", wrong)
    _unchecked(patch)


def _started_again(script: Script) -> Script:
    """Every startup has few credits, and starts every server again and again."""
    again = [
        replace(e, verb="again", at_s=e.at_s + hours * 3_600, args=e.args[:2])
        for e in script.events
        if e.verb == "on"
        for hours in range(1, 60, 12)
    ]
    events = sorted((*script.events, *again), key=lambda e: e.at_s)
    poor = ((30, 30),) * len(script.credits)
    return replace(script, events=tuple(e for e in events if e.at_s < script.end_s), credits=poor)


@mutant_of(needs=_started_again)
def every_start_has_a_notice_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """A server that is started again gets a whole notice again."""
    patch.setattr(stop_lifecycle.StopLifecycle, "_earlier_notice", lambda *_: None)


def _let_off_at_times(script: Script) -> Script:
    """The same script, in which each startup is exempt for half of every other day."""
    days = range(script.start_s + DAY_S, script.healed_s, 2 * DAY_S)
    half = 12 * HOUR_S
    words = [
        Event(at_s, "operator", "override", ("exempt", name, "on", half))
        for at_s in days
        for name in NAMES
    ]
    return with_events(_started_again(script), words)


@mutant_of(needs=_let_off_at_times)
def a_notice_outlives_its_cause(patch: pytest.MonkeyPatch) -> None:
    """A notice is not closed when its reason has ended."""
    patch.setattr(stop_lifecycle.StopLifecycle, "close_finished", lambda *_: None)


@mutant_of(needs=_limited)
def the_disruption_budget_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """The disruption budget has no limit."""
    patch.setattr(disruption_budget.DisruptionBudget, "allows", lambda *_: True)


@mutant_of()
def the_disruption_budget_allows_nothing(patch: pytest.MonkeyPatch) -> None:
    """The disruption budget lets only expected stops pass."""
    patch.setattr(
        disruption_budget.DisruptionBudget,
        "allows",
        lambda self, notice, _: self.is_expected(notice),
    )


@mutant_of()
def intents_never_settle(patch: pytest.MonkeyPatch) -> None:
    """No observation ends an intent."""
    patch.setattr(decide, "resolve_intents", lambda *_: ())


@mutant_of()
def an_intent_is_confirmed_by_being_sent(patch: pytest.MonkeyPatch) -> None:
    """A server whose stop was called counts as off at once."""
    right = intents._send

    def wrong(cloud: Any, intent: Any, now_s: int) -> Any:
        done = right(cloud, intent, now_s)
        if done is None or done.state != "sent":
            return done
        return replace(done, state="confirmed", ended_s=now_s)

    patch.setattr(intents, "_send", wrong)


def _shadowed(script: Script) -> Script:
    """The program is in shadow mode."""
    return replace(script, mode="shadow")


@mutant_of(needs=_shadowed)
def shadow_stops_too(patch: pytest.MonkeyPatch) -> None:
    """Shadow mode makes calls, although it says that it touches nothing."""
    right = decide.decide

    def wrong(snapshot: Any) -> Any:
        program = replace(snapshot.program, mode="enforce")
        return right(replace(snapshot, program=program))

    patch.setattr("scheduler.cycle.decide", wrong)
    patch.setattr(
        "scheduler.cycle.sendable_intents", lambda book, *_: intents.pending_intents(book)
    )


def _crowded(script: Script) -> Script:
    """The pool has four GPUs in all."""
    return replace(script, capacity=4)


@mutant_of(needs=_crowded)
def more_is_given_than_there_is(patch: pytest.MonkeyPatch) -> None:
    """Every share equals the demand, whatever the pool has."""
    right = allocation.divide

    def wrong(*args: Any) -> Any:
        return tuple(replace(s, share=s.demand, ceiling=s.demand) for s in right(*args))

    patch.setattr(allocation, "divide", wrong)
    _unchecked(patch)


def _lent_out(script: Script) -> Script:
    """A startup repeatedly fills the pool, and an owner asks for its quota."""
    zone, events = "fr-par-2", [e for e in script.events if e.who != "operator"]
    events = [e for e in events if e.who not in ("acme", "cedar")]
    for at_s in range(script.start_s + DAY_S, script.healed_s - DAY_S, 2 * DAY_S):
        for slot, kind in ((70, "H100-SXM-8-80G"), (71, "H100-SXM-4-80G")):
            events.append(Event(at_s, "cedar", "on", (zone, slot, kind)))
            events.append(Event(at_s + DAY_S, "cedar", "off", (zone, slot)))
        events.append(Event(at_s + 7_200, "operator", "request", ("acme", 4, DAY_S)))
    return replace(
        script,
        capacity=12,
        nominal=(4, 4, 0, 0, 0),
        limits=(None,) * 5,
        credits=((90_000, 90_000),) * 5,
        tranches=(),
        events=tuple(sorted(events, key=lambda e: e.at_s)),
    )


@mutant_of(needs=_lent_out)
def what_is_lent_is_kept(patch: pytest.MonkeyPatch) -> None:
    """The reclaim rule finds nothing."""
    _without(patch, "reclaim")


def _half_known(script: Script) -> Script:
    """Much is lent out, and the pool's other zone is down whenever an owner asks."""
    zone, lent = ZONES[2], _lent_out(script)
    asked = [e.at_s for e in lent.events if e.verb == "request"]
    dark = [Window("outage", zone, at_s, at_s + 14 * HOUR_S) for at_s in asked]
    return replace(lent, windows=(*lent.windows, *dark))


@mutant_of(needs=_half_known)
def reclaims_go_on_when_a_zone_of_the_pool_is_not_known(patch: pytest.MonkeyPatch) -> None:
    """Every pool counts as fully observed."""
    patch.setattr(Context, "pools_with_unknown_zones", frozenset())


def _lost_stops(script: Script) -> Script:
    """Every startup has few credits, and in half of every other day no call arrives."""
    poor = ((30, 30),) * len(script.credits)
    spans = [(s, s + DAY_S // 2) for s in range(script.start_s, script.healed_s, 2 * DAY_S)]
    lost = [
        Window("lost-before", zone, a, min(b, script.healed_s)) for zone in ZONES for a, b in spans
    ]
    return replace(script, credits=poor, windows=(*script.windows, *lost))


@mutant_of(needs=_lost_stops)
def never_tried_again_after_a_failed_stop(patch: pytest.MonkeyPatch) -> None:
    """A notice has only one intent, whatever its result."""
    right = stop_lifecycle.StopLifecycle._is_retrying

    def wrong(work: Any, notice: Notice) -> bool:
        tried = any(i.notice_id == notice.id and i.state == "failed" for i in work.intents)
        return tried or right(work, notice)

    patch.setattr(stop_lifecycle.StopLifecycle, "_is_retrying", wrong)


@mutant_of(needs=locked_often)
def nobody_is_stopped_while_a_server_is_locked(patch: pytest.MonkeyPatch) -> None:
    """One server that cannot be stopped blocks all other stops."""
    right = stop_lifecycle.StopLifecycle._at_deadline

    def wrong(work: Any, *of: Any) -> None:
        if all(server.state != "locked" for server in work.seen.values()):
            right(work, *of)

    patch.setattr(stop_lifecycle.StopLifecycle, "_at_deadline", wrong)


def _two_leaders(script: Script) -> Script:
    """Two daemons run, and stalls outlast the lease: the fence must refuse commits."""
    return replace(script, daemons=2, dice={**script.dice, "stall": 0.05})


@mutant_of(sql=True, needs=_two_leaders)
def nothing_is_fenced(patch: pytest.MonkeyPatch) -> None:
    """A commit does not check whether its epoch was superseded."""
    patch.setattr(book_commit, "fence", lambda *_: None)


def _stalled(script: Script) -> Script:
    """Every third step of a cycle takes longer than the lease."""
    return replace(script, dice={"stall": 0.3})


@mutant_of(needs=_stalled)
def a_call_does_not_ask_for_the_lease(patch: pytest.MonkeyPatch) -> None:
    """Calls are made however little of the lease is left."""
    patch.setattr(intents, "CALL_BUDGET_S", -(10**9))

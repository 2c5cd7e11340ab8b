"""Decide: one cycle's decisions, from rules to notices and from notices to intents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quotas.decisions.record import make_decision
from quotas.decisions.restart import restarts
from quotas.enforcement.invariants import InvariantBroken, check
from quotas.enforcement.reminders import reminder_edges
from quotas.enforcement.stop_lifecycle import StopLifecycle
from quotas.enforcement.stop_problems import stop_problems
from quotas.model.program import Mode
from quotas.rules import reclaim
from quotas.rules.context import Context, Violation
from quotas.rules.deferral import deferred_gpus
from quotas.rules.overuse import changed_overuse
from quotas.rules.prepare import prepare
from quotas.rules.registry import ANNOUNCEMENT_RULES, STOP_RULES
from quotas.rules.registry import edges as rule_edges
from quotas.shares.allocation import usage_of
from quotas.state.facts import TypedMessage
from quotas.state.notices import (
    LIVE_NOTICES,
    Intent,
    IntentCode,
    Notice,
    NoticeState,
    resolve_intents,
)
from quotas.state.requests import RULE as REQUEST
from quotas.state.requests import Request, RequestState, advance_requests
from quotas.state.requests import edges as request_edges
from quotas.state.snapshot import Decision, Overuse, Snapshot

__all__ = ["DecideResult", "InvariantBroken", "decide"]

CONFIRM_AFTER_S = 60
"""When to look again after an intent: most servers are off by then."""

Violations = Mapping[tuple[str, str, str], Violation]


@dataclass(frozen=True, slots=True)
class DecideResult:
    """What changes: decisions, notices and intents to write, and what follows from them.

    `requests` and `overuses` are those that changed. `context` is what the rules read.
    `edges` are instants at which something falls due; the next cycle moves to the first.
    """

    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    context: Context = field(repr=False, compare=False)
    edges: tuple[int, ...]
    requests: tuple[Request, ...] = ()
    overuses: tuple[Overuse, ...] = ()
    deferred_gpus: Mapping[str, int] = field(default_factory=dict)
    stop_problems: tuple[TypedMessage, ...] = ()


def decide(snapshot: Snapshot) -> DecideResult:
    """Decide one cycle. Raises InvariantBroken.

    The same snapshot leads to the same decisions, whatever the order of its parts.
    """
    # 1. Settle the intents that this cycle's observation ends. This comes first, so that no
    #    later step waits for a stop that is done.
    intents = sorted(snapshot.intents, key=lambda each: each.id or 0)
    latency_s = snapshot.stop_latency_s
    ended = resolve_intents(intents, snapshot.sweeps, latency_s, snapshot.now_s)
    resolved = {intent.id: intent for intent in ended}

    # 2. Advance the requests at what runs now. Requests that ended are no demand any more.
    usage = usage_of(snapshot.program, snapshot.runs.values())
    outcomes = advance_requests(snapshot.program, snapshot.requests, usage, snapshot.now_s)
    requests = tuple(request for request, _ in outcomes)
    live = {each.id: each for each in (*snapshot.requests, *requests)}

    # 3. Compute once what every rule reads: paces, shares, overuses, restrictions.
    context = prepare(snapshot, live.values(), usage)
    work = StopLifecycle(context, resolved)
    if snapshot.program.mode is Mode.OFF:
        return _withdraw_all(work)

    # 4. Ask each stop rule which servers may not go on, and leave out the exempt ones.
    found = [violation for rule in STOP_RULES for violation in rule.find(context)]
    violations = {
        v.subject: v for v in found if not snapshot.exemption(v.run.startup, v.run.server_id)
    }

    # 5. Follow each notice to its end, its deadline or its intent, and open the new ones.
    _follow_notices(work, violations)

    # 6. Announce what moves nothing yet, record the requests, and power servers on again.
    for rule in ANNOUNCEMENT_RULES:
        for announcement in rule.find(context):
            work.announce(rule, announcement)
    for request, outcome in outcomes:
        verb = "fulfil" if request.state is RequestState.FULFILLED else "finish"
        of, episode = (request.startup, ""), f"request:{request.id}"
        work.decisions.append(make_decision(of, REQUEST, verb, episode, outcome))
    if snapshot.program.mode is Mode.ENFORCE:
        work.restart(restarts(context, work.seen))

    # 7. Say when something falls due next, and check the result before anybody acts on it.
    current = tuple(work.current.values())
    concerned = (*current, *snapshot.enforcement.past)
    return _result(
        work,
        edges=_edges(context, current, work.intents, live.values()),
        requests=requests,
        overuses=changed_overuse(snapshot, context.overuses),
        deferred_gpus=deferred_gpus(context),
        stop_problems=stop_problems(concerned, work.intents, work.seen),
    )


def _result(work: StopLifecycle, **found: Any) -> DecideResult:
    decisions, intents = tuple(work.decisions), (*work.resolved.values(), *work.new_intents)
    result = DecideResult(decisions, work.changed, intents, work.context, **found)
    check(result.context, work.intents, result.overuses)
    return result


def _follow_notices(work: StopLifecycle, violations: Violations) -> None:
    """Follow each notice, and open one for each violation that has none.

    While a zone of its pool or the stock is not known, a reclaim is suspended: nothing is sent
    for it, and its notice stays open.
    """
    context = work.context
    suspended = reclaim.suspended_episodes(context)
    work.close_finished(violations)
    order = {subject: place for place, subject in enumerate(violations)}
    notices = context.snapshot.notices
    for notice in sorted(notices, key=lambda n: (order.get(n.subject, -1), n.id or 0)):
        violation = violations.get(notice.subject)
        pool = reclaim.pool_of_episode(notice.episode) if notice.rule == reclaim.RULE.name else ""
        if pool in context.pools_with_unknown_zones:
            work.abandon(notice, IntentCode.ZONE_UNKNOWN)
        elif violation is not None and violation.episode in suspended:
            work.abandon(notice, IntentCode.STOCK_UNREAD)
        else:
            work.follow(notice, violation)
    work.remind()
    noticed = {n.subject for n in work.current.values() if n.state in LIVE_NOTICES}
    for subject in sorted(violations.keys() - noticed):
        if violations[subject].episode not in suspended:
            work.open_notice(violations[subject])


def _withdraw_all(work: StopLifecycle) -> DecideResult:
    """In mode off nothing is asked of anybody: every notice is cancelled."""
    work.close_finished({})
    for notice in sorted(work.context.snapshot.notices, key=lambda n: n.id or 0):
        work.follow(notice, None)
    return _result(work, edges=_edges(work.context, (), (), ()))


def _edges(
    context: Context,
    notices: Iterable[Notice],
    intents: Iterable[Intent],
    requests: Iterable[Request],
) -> tuple[int, ...]:
    """Instants after now at which something falls due, in order."""
    snapshot, notices = context.snapshot, list(notices)
    edges = {notice.deadline_s for notice in notices if notice.state is NoticeState.OPEN}
    edges |= reminder_edges(notices)
    if any(intent.is_live for intent in intents):
        edges.add(snapshot.now_s + CONFIRM_AFTER_S)
    edges |= set(request_edges(requests)) | set(rule_edges(context))
    edges |= set(snapshot.overrides.ends())
    edges |= {b.next_edge_s for b in snapshot.balances.values() if b.next_edge_s is not None}
    return tuple(sorted(edge for edge in edges if edge > snapshot.now_s))

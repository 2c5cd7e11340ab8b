"""What is to be done, of whom, and why? The stages in their fixed order, purely.

1. intents that this cycle's observation ended are settled;
2. requests that are met, or over, move on; the pools are divided at what runs and what
   is still asked for by those who may start something: shares, ceilings, and who runs more
   than its share;
3. each rule names the servers that may not go on (limits, credits, cohort end, an
   operator's word, leaks), but for those that are exempt;
4. notices: a new one for each new violation, cancelled where the cause ended;
5. a notice past its deadline becomes an intent (enforce), waits for the guard or for an
   operator, or is marked (shadow);
6. forecasts and excesses are told; levels and the next edges follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from quotas.decisions.causes import level_from
from quotas.decisions.exemptions import drop_exempt
from quotas.decisions.levels import (
    END,
    end_announcements,
    expiry_announcements,
    out_of_credits,
    past_cohort_end,
    removed_from_program,
    restriction,
    runway_announcements,
    runway_edges,
    stopped_by_operator,
)
from quotas.decisions.notices import LIVE_NOTICES, Intent, Notice, resolve_intents
from quotas.decisions.restart import restarts
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Decision, Overuse, Snapshot, Violation
from quotas.enforcement.reminders import reminder_edges
from quotas.enforcement.stop_lifecycle import StopLifecycle, stop_problems
from quotas.queue.claims import find_waiting_owners
from quotas.queue.demand import compute_shares
from quotas.queue.requests import RULE as REQUEST
from quotas.queue.requests import Request, advance_requests
from quotas.queue.requests import edges as request_edges
from quotas.rules.limit import over_limit
from quotas.rules.overuse import RULE as OVERUSE
from quotas.rules.overuse import changed_overuse, overuses, unannounced_overuse
from quotas.rules.pace import RULE as PACE
from quotas.rules.pace import Pace, paces, with_pace
from quotas.rules.pace import pace_announcements as pace_news
from quotas.rules.reclaim import (
    DEFERRAL,
    RECLAIM,
    deferral_announcements,
    deferred_gpus,
    pools_with_unknown_zones,
    reclaims,
    standby_edges,
    standby_servers,
    suspended_episodes,
)
from quotas.shares.allocation import Share, usage_of

CONFIRM_AFTER_S = 60
"""When to look again after an intent: most servers are off by then."""


@dataclass(frozen=True, slots=True)
class DecideResult:
    """What changes: decisions, notices and intents to write, and what follows from them.

    `requests` and `excesses` are those that changed; `standing` are all excesses of now.
    `held` is what holds each startup, in figures: its level and the reason follow from it.
    `edges` are instants at which something falls due; the next cycle moves to the first.
    """

    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    restrictions: Mapping[str, Inputs]
    shares: tuple[Share, ...]
    edges: tuple[int, ...]
    requests: tuple[Request, ...] = ()
    overuses: tuple[Overuse, ...] = ()
    current_overuses: tuple[Overuse, ...] = ()
    paces: Mapping[str, Pace] = field(default_factory=dict)
    deferred_gpus: Mapping[str, int] = field(default_factory=dict)
    stop_problems: tuple[str, ...] = ()

    @property
    def levels(self) -> Mapping[str, tuple[str, str]]:
        """Each startup's level, and why."""
        return {name: level_from(inputs) for name, inputs in self.restrictions.items()}


STOP_RULES = (
    over_limit,
    out_of_credits,
    past_cohort_end,
    removed_from_program,
    stopped_by_operator,
    standby_servers,
)


def decide(snapshot: Snapshot) -> DecideResult:
    """Decide one cycle. Same snapshot, same decisions, whatever the order of its parts."""
    pace_by_startup = paces(snapshot)
    usage = usage_of(snapshot.program, snapshot.runs.values())
    request_changes = advance_requests(snapshot.program, snapshot.requests, usage, snapshot.now_s)
    requests = tuple(request for request, _ in request_changes)
    live = {each.id: each for each in (*snapshot.requests, *requests)}
    shares = compute_shares(snapshot, pace_by_startup, live.values())
    intents = sorted(snapshot.intents, key=lambda each: each.id or 0)
    resolved = {
        intent.id: intent
        for intent in resolve_intents(
            intents, snapshot.sweeps, snapshot.stop_latency_s, snapshot.now_s
        )
    }
    work = StopLifecycle(snapshot, resolved)
    if snapshot.program.mode == "off":
        return _withdraw_all(work, shares, pace_by_startup)
    waiting = find_waiting_owners(snapshot, shares)
    current_overuses = overuses(snapshot, shares, waiting)
    found_violations = [v for rule in STOP_RULES for v in rule(snapshot)]
    found_violations += reclaims(snapshot, current_overuses, waiting)
    violations = {
        (v.run.startup, v.run.server_id, v.rule): v for v in drop_exempt(snapshot, found_violations)
    }
    _follow_notices(work, violations, suspended_episodes(snapshot, waiting))
    _announce_all(work, snapshot, current_overuses, shares, pace_by_startup)
    work.decisions += [_request_decision(request, outcome) for request, outcome in request_changes]
    if snapshot.program.mode == "enforce":
        work.restart(restarts(snapshot, work.seen))
    restrictions = {
        name: with_pace(restriction(snapshot, name, shares), pace_by_startup.get(name))
        for name in sorted(snapshot.balances)
    }
    current = tuple(work.current.values())
    return DecideResult(
        tuple(work.decisions),
        tuple(work.changed),
        (*resolved.values(), *work.new_intents),
        restrictions,
        shares,
        _edges(snapshot, current, work.intents, live.values(), current_overuses),
        requests,
        changed_overuse(snapshot, current_overuses),
        current_overuses,
        pace_by_startup,
        deferred_gpus(snapshot, current_overuses, waiting),
        stop_problems((*current, *snapshot.enforcement.past), work.intents, work.seen),
    )


def _follow_notices(
    work: StopLifecycle,
    violations: Mapping[tuple[str, str, str], Violation],
    unread_episodes: Collection[str],
) -> None:
    """Follow each notice, and give one for each violation that has none.

    While a zone of its pool, or the stock (the causes in `unread`), is not known, a reclaim is
    suspended: nothing is sent for it, and its notice stands.
    """
    work.close_finished(violations)
    snapshot, blind = work.snapshot, pools_with_unknown_zones(work.snapshot)
    order = {subject: place for place, subject in enumerate(violations)}
    for notice in sorted(snapshot.notices, key=lambda n: (order.get(n.subject, -1), n.id or 0)):
        violation = violations.get(notice.subject)
        if notice.rule == RECLAIM and notice.episode.split(":")[1] in blind:
            work.abandon(notice, "a zone of its pool is not known")
        elif violation is not None and violation.episode in unread_episodes:
            work.abandon(notice, "what Scaleway has left could not be read")
        else:
            work.follow(notice, violation)
    work.remind()
    noticed = {n.subject for n in work.current.values() if n.state in LIVE_NOTICES}
    for subject in sorted(violations.keys() - noticed):
        if violations[subject].episode not in unread_episodes:
            work.open_notice(violations[subject])


def _withdraw_all(
    work: StopLifecycle, shares: tuple[Share, ...], pace_by_startup: Mapping[str, Pace]
) -> DecideResult:
    """In mode off nothing is asked of anybody: what was promised is taken back."""
    work.close_finished({})
    for notice in sorted(work.snapshot.notices, key=lambda n: n.id or 0):
        work.follow(notice, None)
    intents = (*work.resolved.values(), *work.new_intents)
    edges = _edges(work.snapshot, (), ())
    return DecideResult(
        tuple(work.decisions),
        tuple(work.changed),
        intents,
        {},
        shares,
        edges,
        paces=pace_by_startup,
    )


def _announce_all(
    work: StopLifecycle,
    snapshot: Snapshot,
    current_overuses: Iterable[Overuse],
    shares: Iterable[Share],
    pace_by_startup: Mapping[str, Pace],
) -> None:
    """Say what moves nothing yet, each once: runways, ends, deferred reclaims, excesses."""
    for rule, announced in (
        ("runway", runway_announcements(snapshot)),
        (END, end_announcements(snapshot)),
        ("expiry", expiry_announcements(snapshot)),
        (PACE, pace_news(snapshot, pace_by_startup)),
        (DEFERRAL, deferral_announcements(snapshot, current_overuses)),
        (OVERUSE, unannounced_overuse(snapshot, current_overuses, shares)),
    ):
        for startup, episode, inputs, at_s in announced:
            work.announce(startup, episode, rule, inputs, at_s)


def _request_decision(request: Request, outcome: Inputs) -> Decision:
    """A request was met, or ended."""
    verb = "fulfil" if request.state == "fulfilled" else "finish"
    return Decision.from_inputs(
        (request.startup, ""), REQUEST, verb, f"request:{request.id}", outcome
    )


def _edges(
    snapshot: Snapshot,
    notices: Iterable[Notice],
    intents: Iterable[Intent],
    requests: Iterable[Request] = (),
    current_overuses: Iterable[Overuse] = (),
) -> tuple[int, ...]:
    """Instants after now at which something falls due, in order."""
    program = snapshot.program
    notices = list(notices)
    edges = {notice.deadline_s for notice in notices if notice.state == "open"}
    edges |= reminder_edges(notices)
    if any(intent.is_live for intent in intents):
        edges.add(snapshot.now_s + CONFIRM_AFTER_S)
    edges |= set(request_edges(requests))
    edges |= {overuse.deadline_s for overuse in current_overuses}
    for cohort in program.cohorts:
        edges |= {cohort.starts_s, cohort.ends_s, cohort.ends_s - program.policy.end_notice_s}
    edges |= standby_edges(snapshot) | set(snapshot.overrides.ends())
    for name, balance in snapshot.balances.items():
        edges |= runway_edges(snapshot, name)
        edges |= set() if balance.next_edge_s is None else {balance.next_edge_s}
    return tuple(sorted(edge for edge in edges if edge > snapshot.now_s))

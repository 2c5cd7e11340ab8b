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
from quotas.decisions.exemptions import unless_exempt
from quotas.decisions.levels import (
    END,
    cause,
    endings,
    forecasts,
    forfeits_foretold,
    no_longer_members,
    out_of_credits,
    past_the_end,
    runway_edges,
    told_to_stop,
)
from quotas.decisions.notices import LIVE_NOTICES, Intent, Notice, settle
from quotas.decisions.restart import returns
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Decision, Excess, Snapshot, Violation
from quotas.enforcement.reminders import reminder_edges
from quotas.enforcement.stop_lifecycle import Promises, troubles
from quotas.queue.claims import owners_waiting
from quotas.queue.demand import divided
from quotas.queue.requests import RULE as REQUEST
from quotas.queue.requests import Request, advance
from quotas.queue.requests import edges as request_edges
from quotas.rules.limit import over_limit
from quotas.rules.overuse import RULE as EXCESS
from quotas.rules.overuse import excesses, moved, untold
from quotas.rules.pace import RULE as PACE
from quotas.rules.pace import Pace, paced, paces
from quotas.rules.pace import news as pace_news
from quotas.rules.reclaim import (
    BORROWED,
    DEFERRED,
    blind_pools,
    borrowed,
    deferrals,
    deferred_gpus,
    leak_edges,
    leaked,
    suspended,
)
from quotas.shares.allocation import Share, usage_of

CONFIRM_AFTER_S = 60
"""When to look again after an intent: most servers are off by then."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What changes: decisions, notices and intents to write, and what follows from them.

    `requests` and `excesses` are those that changed; `standing` are all excesses of now.
    `held` is what holds each startup, in figures: its level and the reason follow from it.
    `edges` are instants at which something falls due; the next cycle moves to the first.
    """

    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    held: Mapping[str, Inputs]
    shares: tuple[Share, ...]
    edges: tuple[int, ...]
    requests: tuple[Request, ...] = ()
    excesses: tuple[Excess, ...] = ()
    standing: tuple[Excess, ...] = ()
    paces: Mapping[str, Pace] = field(default_factory=dict)
    deferred_gpus: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()

    @property
    def levels(self) -> Mapping[str, tuple[str, str]]:
        """Each startup's level, and why."""
        return {name: level_from(inputs) for name, inputs in self.held.items()}


RULES = (
    over_limit,
    out_of_credits,
    past_the_end,
    no_longer_members,
    told_to_stop,
    leaked,
)


def decide(snapshot: Snapshot) -> Decided:
    """Decide one cycle. Same snapshot, same decisions, whatever the order of its parts."""
    found = paces(snapshot)
    usage = usage_of(snapshot.program, snapshot.runs.values())
    went = advance(snapshot.program, snapshot.requests, usage, snapshot.now_s)
    requests = tuple(request for request, _ in went)
    live = {each.id: each for each in (*snapshot.requests, *requests)}
    shares = divided(snapshot, found, live.values())
    intents = sorted(snapshot.intents, key=lambda each: each.id or 0)
    settled = {
        intent.id: intent
        for intent in settle(intents, snapshot.sweeps, snapshot.stop_latency_s, snapshot.now_s)
    }
    work = Promises(snapshot, settled)
    if snapshot.program.mode == "off":
        return _let_go(work, shares, found)
    waiting = owners_waiting(snapshot, shares)
    standing = excesses(snapshot, shares, waiting)
    broken = [v for rule in RULES for v in rule(snapshot)]
    broken += borrowed(snapshot, standing, waiting)
    violations = {
        (v.run.startup, v.run.server_id, v.rule): v for v in unless_exempt(snapshot, broken)
    }
    _promise(work, violations, suspended(snapshot, waiting))
    _tell(work, snapshot, standing, shares, found)
    work.decisions += [_of_request(request, fate) for request, fate in went]
    if snapshot.program.mode == "enforce":
        work.bring_back(returns(snapshot, work.seen))
    held = {
        name: paced(cause(snapshot, name, shares), found.get(name))
        for name in sorted(snapshot.balances)
    }
    current = tuple(work.current.values())
    return Decided(
        tuple(work.decisions),
        tuple(work.changed),
        (*settled.values(), *work.new_intents),
        held,
        shares,
        _edges(snapshot, current, work.intents, live.values(), standing),
        requests,
        moved(snapshot, standing),
        standing,
        found,
        deferred_gpus(snapshot, standing, waiting),
        troubles((*current, *snapshot.enforcement.past), work.intents, work.seen),
    )


def _promise(
    work: Promises,
    violations: Mapping[tuple[str, str, str], Violation],
    unread: Collection[str],
) -> None:
    """Follow each notice, and give one for each violation that has none.

    While a zone of its pool, or the stock (the causes in `unread`), is not known, a reclaim is
    suspended: nothing is sent for it, and its notice stands.
    """
    work.look_back(violations)
    snapshot, blind = work.snapshot, blind_pools(work.snapshot)
    order = {subject: place for place, subject in enumerate(violations)}
    for notice in sorted(snapshot.notices, key=lambda n: (order.get(n.subject, -1), n.id or 0)):
        violation = violations.get(notice.subject)
        if notice.rule == BORROWED and notice.cause.split(":")[1] in blind:
            work.abandon(notice, "a zone of its pool is not known")
        elif violation is not None and violation.cause in unread:
            work.abandon(notice, "what Scaleway has left could not be read")
        else:
            work.follow(notice, violation)
    work.remind()
    noticed = {n.subject for n in work.current.values() if n.state in LIVE_NOTICES}
    for subject in sorted(violations.keys() - noticed):
        if violations[subject].cause not in unread:
            work.give(violations[subject])


def _let_go(work: Promises, shares: tuple[Share, ...], found: Mapping[str, Pace]) -> Decided:
    """In mode off nothing is asked of anybody: what was promised is taken back."""
    work.look_back({})
    for notice in sorted(work.snapshot.notices, key=lambda n: n.id or 0):
        work.follow(notice, None)
    intents = (*work.settled.values(), *work.new_intents)
    edges = _edges(work.snapshot, (), ())
    return Decided(
        tuple(work.decisions), tuple(work.changed), intents, {}, shares, edges, paces=found
    )


def _tell(
    work: Promises,
    snapshot: Snapshot,
    standing: Iterable[Excess],
    shares: Iterable[Share],
    found: Mapping[str, Pace],
) -> None:
    """Say what moves nothing yet, each once: runways, ends, deferred reclaims, excesses."""
    for rule, told in (
        ("runway", forecasts(snapshot)),
        (END, endings(snapshot)),
        ("forfeit", forfeits_foretold(snapshot)),
        (PACE, pace_news(snapshot, found)),
        (DEFERRED, deferrals(snapshot, standing)),
        (EXCESS, untold(snapshot, standing, shares)),
    ):
        for startup, news, inputs, at_s in told:
            work.tell(startup, news, rule, inputs, at_s)


def _of_request(request: Request, fate: Inputs) -> Decision:
    """A request was met, or ended."""
    verb = "meet" if request.state == "met" else "end"
    return Decision.made((request.startup, ""), REQUEST, verb, f"request:{request.id}", fate)


def _edges(
    snapshot: Snapshot,
    notices: Iterable[Notice],
    intents: Iterable[Intent],
    requests: Iterable[Request] = (),
    standing: Iterable[Excess] = (),
) -> tuple[int, ...]:
    """Instants after now at which something falls due, in order."""
    program = snapshot.program
    notices = list(notices)
    edges = {notice.deadline_s for notice in notices if notice.state == "open"}
    edges |= reminder_edges(notices, program.policy)
    if any(intent.is_live for intent in intents):
        edges.add(snapshot.now_s + CONFIRM_AFTER_S)
    edges |= set(request_edges(requests, program.policy.longest_wait_s))
    edges |= {excess.deadline_s for excess in standing}
    for cohort in program.cohorts:
        edges |= {cohort.starts_s, cohort.ends_s, cohort.ends_s - program.policy.end_notice_s}
    edges |= leak_edges(snapshot) | set(snapshot.words.ends())
    for name, balance in snapshot.balances.items():
        edges |= runway_edges(snapshot, name)
        edges |= set() if balance.next_edge_s is None else {balance.next_edge_s}
    return tuple(sorted(edge for edge in edges if edge > snapshot.now_s))

"""What is to be done, of whom, and why? The stages in their fixed order, purely.

1. intents that this cycle's observation ended are settled;
2. requests that are met, or over, move on; the pools are divided at what runs and what
   is still asked for: shares, ceilings, and who runs more than its share;
3. each rule names the servers that may not go on (limits, credits, cohort end);
4. notices: a new one for each new violation, cancelled where the cause ended;
5. a notice past its deadline becomes an intent (enforce) or is marked (shadow);
6. forecasts and excesses are told; levels and the next edges follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from quotas.division import Share, divide, usage_of
from quotas.excess import RULE as EXCESS
from quotas.excess import cause_of, excesses, moved, untold
from quotas.levels import END, endings, forecasts, level, out_of_credits, past_the_end
from quotas.limits import over_limit
from quotas.notices import LIVE_NOTICES, SEND_WITHIN_S, Intent, Notice, servers_seen, settle
from quotas.observation import Complete
from quotas.pace import RULE as PACE
from quotas.pace import Pace, limits, paced_level, paces
from quotas.pace import news as pace_news
from quotas.requests import Request, advance, asked_of
from quotas.requests import edges as request_edges
from quotas.snapshot import Decision, Excess, Snapshot, Violation
from quotas.units import format_instant

FIRST_RETRY_S = 60
LAST_RETRY_S = 900
CONFIRM_AFTER_S = 60
"""When to look again after an intent: most servers are off by then."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What changes: decisions, notices and intents to write, and what follows from them.

    `requests` and `excesses` are those that changed; `standing` are all excesses of now.
    `edges` are instants at which something falls due; the next cycle moves to the first.
    """

    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    levels: Mapping[str, tuple[str, str]]
    shares: tuple[Share, ...]
    edges: tuple[int, ...]
    requests: tuple[Request, ...] = ()
    excesses: tuple[Excess, ...] = ()
    standing: tuple[Excess, ...] = ()
    paces: Mapping[str, Pace] = field(default_factory=dict)


def decide(snapshot: Snapshot) -> Decided:
    """Decide one cycle. Same snapshot, same decisions, whatever the order of its parts."""
    found = paces(snapshot)
    usage = usage_of(snapshot.program, snapshot.runs.values())
    requests = advance(snapshot.program, snapshot.requests, usage, snapshot.now_s)
    live = {each.id: each for each in (*snapshot.requests, *requests)}
    shares = _divided(snapshot, found, usage, live.values())
    settled = {
        intent.id: intent
        for intent in settle(
            snapshot.intents, snapshot.sweeps, snapshot.stop_latency_s, snapshot.now_s
        )
    }
    if snapshot.program.mode == "off":
        edges = _edges(snapshot, (), ())
        return Decided((), (), tuple(settled.values()), {}, shares, edges, paces=found)
    violations = {
        (v.run.startup, v.run.server_id, v.rule): v
        for rule in (over_limit, out_of_credits, past_the_end)
        for v in rule(snapshot)
    }
    work = _Work(snapshot, settled)
    for notice in sorted(snapshot.notices, key=lambda each: each.id or 0):
        work.follow(notice, violations.get(notice.subject))
    noticed = {n.subject for n in work.current.values() if n.state in LIVE_NOTICES}
    for subject in sorted(violations.keys() - noticed):
        work.give(violations[subject])
    for startup, cause, text, at_s in forecasts(snapshot):
        work.tell(startup, cause, text, at_s)
    for startup, cause, text, at_s in endings(snapshot):
        work.tell(startup, cause, text, at_s, rule=END)
    for startup, cause, text, at_s in pace_news(snapshot, found):
        work.tell(startup, cause, text, at_s, rule=PACE)
    standing = excesses(snapshot, shares)
    for excess in untold(snapshot, standing):
        work.tell(excess.startup, cause_of(excess), excess.reason, excess.deadline_s, rule=EXCESS)
    for request in requests:
        work.decisions.append(_of_request(request))
    levels = {
        name: paced_level(level(snapshot, name), found.get(name))
        for name in sorted(snapshot.balances)
    }
    current = tuple(work.current.values())
    return Decided(
        tuple(work.decisions),
        tuple(work.changed),
        (*settled.values(), *work.new_intents),
        levels,
        shares,
        _edges(snapshot, current, work.intents, live.values(), standing),
        requests,
        moved(snapshot, standing),
        standing,
        found,
    )


def _divided(
    snapshot: Snapshot,
    found: Mapping[str, Pace],
    usage: Mapping[tuple[str, str], int],
    requests: Iterable[Request],
) -> tuple[Share, ...]:
    """The pools divided at what runs and what is asked for, under the limits of the paces."""
    return divide(
        snapshot.program,
        snapshot.catalogue,
        snapshot.balances,
        usage,
        snapshot.now_s,
        asked_of(requests),
        limits(snapshot, found),
    )


class _Work:
    """The decisions of one cycle as they are collected."""

    def __init__(self, snapshot: Snapshot, settled: Mapping[int | None, Intent]) -> None:
        self.snapshot = snapshot
        self.intents = [settled.get(i.id, i) for i in snapshot.intents]
        self.settled = settled
        self.seen = servers_seen(snapshot.sweeps.values())
        self.decisions: list[Decision] = []
        self.changed: list[Notice] = []
        self.new_intents: list[Intent] = []
        self.current = {notice.subject: notice for notice in snapshot.notices}

    def follow(self, notice: Notice, violation: Violation | None) -> None:
        """Move a live notice on: executed, cancelled, due, or left as it is."""
        sweep = self.snapshot.sweeps.get(notice.zone)
        if not isinstance(sweep, Complete):
            return  # unknown is not empty: the promise stands, nothing is done
        server = self.seen.get(notice.server_id)
        if server is None or not server.is_billable:
            verb = "executed" if notice.state == "executing" else "cancelled"
            why = f"{notice.server_name} is {server.state if server else 'gone'}"
            self._end(notice, verb, why)
        elif violation is None or notice.mode != self.snapshot.program.mode:
            self._end(notice, "cancelled", "the cause ended, or the mode changed")
        elif notice.state != "shadow" and self.snapshot.now_s >= notice.deadline_s:
            self._due(notice, violation, server.state)

    def give(self, violation: Violation) -> None:
        """Promise a stop: a new notice with at least the policy's minimum."""
        run, now_s = violation.run, self.snapshot.now_s
        deadline_s = max(
            violation.deadline_s, now_s + self.snapshot.program.policy.minimum_notice_s
        )
        text = (
            f"{run.server_name} ({run.flavor}) will be powered off at "
            f"{format_instant(deadline_s)}: {violation.reason}. A scratch disk, where it "
            f"has one, is erased, and its slot goes back to Scaleway; volumes stay."
        )
        notice = Notice(
            startup=run.startup,
            server_id=run.server_id,
            server_name=run.server_name,
            zone=run.zone,
            rule=violation.rule,
            cause=violation.cause,
            mode=self.snapshot.program.mode,
            given_s=now_s,
            deadline_s=deadline_s,
            text=text,
        )
        self._record(notice, "notify", violation.reason, violation.inputs)

    def tell(self, startup: str, cause: str, text: str, at_s: int, *, rule: str = "runway") -> None:
        """Tell a forecast or an excess once; it moves nothing."""
        mode, now_s = self.snapshot.program.mode, self.snapshot.now_s
        notice = Notice(startup, "", "", "", rule, cause, mode, now_s, at_s, text, state="told")
        self._record(notice, "tell", text, {"at_s": at_s})

    def _due(self, notice: Notice, violation: Violation, state: str) -> None:
        if self.snapshot.program.mode == "shadow":
            self._record(
                replace(notice, state="shadow"), "would-stop", violation.reason, violation.inputs
            )
            return
        if notice.state == "open":
            notice = replace(notice, state="executing")
            self._record(notice, "stop", violation.reason, violation.inputs)
        if notice.id is None or self._waits(notice):
            return
        now_s = self.snapshot.now_s
        intent = Intent(
            notice_id=notice.id,
            server_id=notice.server_id,
            zone=notice.zone,
            replaces=state,
            decided_s=now_s,
            not_after_s=now_s + SEND_WITHIN_S,
        )
        self.intents.append(intent)
        self.new_intents.append(intent)

    def _waits(self, notice: Notice) -> bool:
        """Whether an intent for the server is under way, or failed too recently."""
        own = [i for i in self.intents if i.server_id == notice.server_id]
        if any(intent.is_live for intent in own):
            return True
        failed = [i.ended_s or 0 for i in own if i.notice_id == notice.id]
        if not failed:
            return False
        pause_s = min(FIRST_RETRY_S << min(len(failed) - 1, 8), LAST_RETRY_S)
        return self.snapshot.now_s < max(failed) + pause_s

    def _end(self, notice: Notice, verb: str, why: str) -> None:
        for intent in self.intents:
            if intent.notice_id == notice.id and intent.is_live and verb == "cancelled":
                ended = replace(intent, state="abandoned", ended_s=self.snapshot.now_s, detail=why)
                self.new_intents.append(ended)
        self._record(replace(notice, state=verb), verb, why, {})

    def _record(
        self, notice: Notice, verb: str, reason: str, inputs: Mapping[str, int | str]
    ) -> None:
        # A notice that ends and its successor share their subject: both are written.
        same = (notice.id, notice.subject)
        self.changed = [n for n in self.changed if (n.id, n.subject) != same] + [notice]
        if notice.state != "told":
            self.current[notice.subject] = notice
        self.decisions.append(
            Decision(
                notice.startup, notice.server_id, notice.rule, verb, notice.cause, reason, inputs
            )
        )


def _of_request(request: Request) -> Decision:
    """A request was met, or ended."""
    verb = "meet" if request.state == "met" else "end"
    why = request.detail or f"{request.startup} runs what it asked for"
    inputs: dict[str, int | str] = {"request": request.id or 0, "gpus": request.gpus}
    return Decision(request.startup, "", "request", verb, f"request:{request.id}", why, inputs)


def _edges(
    snapshot: Snapshot,
    notices: Iterable[Notice],
    intents: Iterable[Intent],
    requests: Iterable[Request] = (),
    standing: Iterable[Excess] = (),
) -> tuple[int, ...]:
    """Instants after now at which something falls due, in order."""
    program = snapshot.program
    edges = {notice.deadline_s for notice in notices if notice.state == "open"}
    if any(intent.is_live for intent in intents):
        edges.add(snapshot.now_s + CONFIRM_AFTER_S)
    edges |= set(request_edges(requests, program.policy.longest_wait_s))
    edges |= {excess.deadline_s for excess in standing}
    for cohort in program.cohorts:
        edges |= {cohort.starts_s, cohort.ends_s, cohort.ends_s - program.policy.end_notice_s}
        for startup in cohort.startups:
            edges |= {e for g in startup.grants for e in (g.effective_s, g.expires_s)}
    for balance in snapshot.balances.values():
        if balance.exhausted_s is not None:
            edges.add(balance.exhausted_s)
    return tuple(sorted(edge for edge in edges if edge > snapshot.now_s))

"""Stop lifecycle: what becomes of each notice in one cycle, from its opening to its end.

Theory of operation
-------------------
A notice is a promise to a startup: this server will be powered off, not before this deadline,
for this reason. `StopLifecycle` collects the decisions of one cycle. `decide` calls its methods
in a fixed order: `close_finished`, `follow`, `remind`, `open_notice`, `announce`, `restart`.

A live notice is open, deferred, executing or shadow. Each cycle compares it with the sweep of its
server, and with what its rule still finds.

- The server is off: the notice ends as executed where we sent the stop, else as cancelled.
- The violation is gone: the notice is cancelled, unless the stop was sent already.
- The deadline has passed: the notice becomes an intent, or in shadow mode is marked. A freeze and
  the disruption budget defer it; after a freeze it has the minimum notice again.
- The zone is not Complete: nothing happens. Unknown is not empty.

Invariants (`invariants` checks the first two in every cycle):
- A stop is sent only for a notice that an earlier cycle recorded, and after its deadline.
- A server has at most one live intent, and a failed one is tried again after a pause.
- A deadline moves later, never earlier. The exception is a restarted server under the same
  episode: its new notice has what was left of the old one, so that restarting gains nothing.
- A server that runs with nothing against it finishes its old notice: the next one is whole.

Rejected alternatives. Timers per notice would have to survive a crash and a failover. Marking a
notice executed when the call returns would believe the answer instead of the next observation.

Warning. `close_finished` comes before `follow`, because a finished notice must not lend its rest
to a new one. `follow` goes by the order of the violations: the budget lets the first ones pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quotas.decisions.disruption_budget import DisruptionBudget
from quotas.decisions.record import make_decision
from quotas.decisions.verbs import Deferral, Extension, Outcome, Reminder, Restart
from quotas.enforcement.reminders import BREACH, notice_shortfall, reminder_due
from quotas.enforcement.stop_problems import may_stop
from quotas.model.observation import Complete, Server
from quotas.model.program import Mode
from quotas.rules.context import Announcement, AnnouncementRule, Context, Violation
from quotas.rules.registry import STOP_BY_NAME
from quotas.state.facts import to_json
from quotas.state.notices import (
    SEND_WITHIN_S,
    Intent,
    IntentCode,
    IntentState,
    Notice,
    NoticeState,
    StopTerms,
    servers_seen,
)
from quotas.state.snapshot import Decision

FIRST_RETRY_S = 60
LAST_RETRY_S = 900
ENDED_STATES = frozenset({NoticeState.EXECUTED, NoticeState.CANCELLED})
"""What a notice is when its server went off, as long as nothing came after."""


class StopLifecycle:
    """The decisions of one cycle as they are collected."""

    def __init__(self, context: Context, resolved: Mapping[int | None, Intent]) -> None:
        self.context, self.snapshot, self.resolved = context, context.snapshot, resolved
        snapshot = context.snapshot
        # By id, whatever the order they were read in: so is what becomes of them.
        self.intents = [resolved.get(i.id, i) for i in sorted(snapshot.intents, key=_by_id)]
        self._places_by_notice: dict[int | None, list[int]] = defaultdict(list)
        self._places_by_server: dict[str, list[int]] = defaultdict(list)
        for place, intent in enumerate(self.intents):
            self._index(place, intent)
        self.seen = servers_seen(snapshot.sweeps.values())
        self.decisions: list[Decision] = []
        self._changed: dict[object, Notice] = {}
        self.new_intents: list[Intent] = []
        self.past = list(snapshot.enforcement.past)
        self._past_places: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for place, notice in enumerate(self.past):
            self._past_places[notice.subject].append(place)
        self.current = {each.subject: each for each in sorted(snapshot.notices, key=_by_id)}
        open_runs = [run for run in snapshot.runs.values() if run.end_s is None]
        self.gpus = {run.server_id: run.gpus for run in open_runs}
        self.disruption_budget = DisruptionBudget(snapshot, self.gpus)

    @property
    def changed(self) -> tuple[Notice, ...]:
        """The notices to write, in the order of their last change."""
        return tuple(self._changed.values())

    def follow(self, notice: Notice, violation: Violation | None) -> None:
        """Move a live notice on: executed, cancelled, due, or left as it is."""
        sweep = self.snapshot.sweeps.get(notice.zone)
        if not isinstance(sweep, Complete):
            return  # unknown is not empty: the promise stands, nothing is done
        server, mode = self.seen.get(notice.server_id), self.snapshot.program.mode
        if server is None or not server.is_billable:
            off = replace(notice, off_s=self.snapshot.now_s)
            is_ours = notice.state is NoticeState.EXECUTING
            end = NoticeState.EXECUTED if is_ours else NoticeState.CANCELLED
            self._finish(off, end, server.state if server else "gone")
        elif violation is None or _is_superseded(notice, violation, mode):
            if not self._is_sent(notice):  # else what was sent tells how it ends
                released = {"ended_by": "resolved"}
                if notice.mode != mode:
                    released = {"ended_by": "mode", "mode": mode, "was": notice.mode}
                self._finish(notice, NoticeState.CANCELLED, server.state, **released)
        elif notice.state is not NoticeState.SHADOW and self.snapshot.now_s >= notice.deadline_s:
            self._at_deadline(notice, violation, server)

    def abandon(self, notice: Notice, why: IntentCode) -> None:
        """Do not send what was decided for a notice and not sent yet: it is decided again."""
        for place in self._places_by_notice[notice.id]:
            intent = self.intents[place]
            if intent.state is IntentState.PENDING:
                ended = intent.ended(IntentState.ABANDONED, why, self.snapshot.now_s)
                self.intents[place] = ended
                self.new_intents.append(ended)

    def close_finished(self, violations: Mapping[tuple[str, str, str], Violation]) -> None:
        """End what is past for good: a server that runs again while nothing asks it to stop.

        It is not brought back when its owner stops it later, and has a whole notice next time.
        """
        mode = self.snapshot.program.mode
        running = {(run.startup, run.server_id) for run, _ in self.context.running}
        for place, notice in enumerate(self.past):
            server, violation = self.seen.get(notice.server_id), violations.get(notice.subject)
            if notice.state not in ENDED_STATES or server is None or not server.is_billable:
                continue
            same = violation is not None and violation.episode == notice.episode
            if (notice.startup, notice.server_id) in running and not (same and notice.mode == mode):
                self.past[place] = notice.to(NoticeState.FINISHED)
                self._changed[notice.id, notice.subject] = self.past[place]

    def remind(self) -> None:
        """Remind of what is near, and own up to promises that were not kept."""
        policy, now_s = self.snapshot.program.policy, self.snapshot.now_s
        for notice in list(self.current.values()):
            nearest = reminder_due(notice, now_s)
            if nearest is not None:
                notice = replace(notice, reminded_s=nearest)
                self._record(notice, "remind", Reminder(left_s=notice.deadline_s - now_s))
            promised_s = min(policy.minimum_notice_s, self._notice_length_s(notice))
            own = self._intents_of(notice)
            missing = notice_shortfall(notice, own, self.snapshot.undelivered, promised_s, now_s)
            if missing is not None:
                self._record(replace(notice, is_breached=True), BREACH, missing)

    def _notice_length_s(self, notice: Notice) -> int:
        """How long a notice was: of one that goes on, what was left of the older one."""
        for before in self._past_of(notice.subject):
            same = before.opened_s == notice.opened_s
            if same and before.id != notice.id and before.off_s is not None:
                return max(0, before.deadline_s - before.off_s)
        return notice.deadline_s - notice.opened_s

    def open_notice(self, violation: Violation) -> None:
        """Promise a stop: a new notice with at least the policy's minimum."""
        run, now_s = violation.run, self.snapshot.now_s
        before = self._earlier_notice(violation)
        opened_s = now_s
        least_s = now_s + self.snapshot.program.policy.minimum_notice_s
        deadline_s = max(violation.deadline_s, least_s)
        if before is not None and before.off_s is not None:
            # What was left of it, and never more than a new one: the end does not wait.
            opened_s = before.opened_s
            deadline_s = min(deadline_s, now_s + max(0, before.deadline_s - before.off_s))
        server = (run.startup, run.server_id, run.server_name, run.zone)
        of = (*server, violation.rule, violation.episode, self.snapshot.program.mode)
        facts = self._facts(violation, goes_on_s=None if before is None else opened_s)
        self._record(Notice(*of, opened_s, deadline_s, facts), "notify", violation.facts)

    def announce(self, rule: AnnouncementRule, found: Announcement) -> None:
        """Announce a fact once; it moves nothing."""
        mode, now_s = self.snapshot.program.mode, self.snapshot.now_s
        of = (found.startup, "", "", "", rule.name, found.episode, mode, now_s, found.at_s)
        notice = Notice(*of, to_json(found.facts), state=NoticeState.ANNOUNCED)
        # Two of one rule share their subject, and each is announced.
        self._changed[rule.name, found.startup, found.episode] = notice
        self._decide(notice, "announce", found.facts)

    def restart(self, wanted: Mapping[int, Restart]) -> None:
        """Power on the servers of ended notices that are to come back, one intent at a time."""
        for notice in self.past:
            server = self.seen.get(notice.server_id)
            why = wanted.get(notice.id or 0)
            if server is None or self.snapshot.overrides.stop_freeze(notice.startup):
                continue
            if server.is_billable:
                if notice.state is NoticeState.RESTARTING:
                    self._finish(notice, NoticeState.RESTARTED, server.state)
                continue
            if why is None:
                if notice.state is NoticeState.RESTARTING:
                    self._finish(notice, NoticeState.EXECUTED, server.state, ended_by="unwanted")
                continue
            if notice.state is not NoticeState.RESTARTING:
                notice = notice.to(NoticeState.RESTARTING)
                self._record(notice, "restart", why)
            may_start = notice.id is not None and server.state == "stopped"
            if may_start and not self._is_retrying(notice):
                self._intend(notice, server, "poweron")

    def _facts(self, violation: Violation, **course: int | None) -> dict[str, int | str]:
        """The facts of the notice that a violation opens or extends."""
        flavor = violation.run.flavor
        pool = self.snapshot.program.pool_of(flavor)
        terms = StopTerms(
            flavor=flavor,
            scratch_bytes=self.snapshot.catalogue.scratch_bytes.get(flavor),
            is_reserved=pool is not None and pool.backing == "reserved",
            **course,
        )
        return to_json(violation.facts) | to_json(terms)

    def _intents_of(self, notice: Notice) -> list[Intent]:
        return [self.intents[place] for place in self._places_by_notice[notice.id]]

    def _past_of(self, subject: tuple[str, str, str]) -> list[Notice]:
        return [self.past[place] for place in self._past_places[subject]]

    def _index(self, place: int, intent: Intent) -> None:
        self._places_by_notice[intent.notice_id].append(place)
        self._places_by_server[intent.server_id].append(place)

    def _earlier_notice(self, violation: Violation) -> Notice | None:
        """The notice that a restarted server had under the same cause, in the same mode."""
        if not STOP_BY_NAME[violation.rule].notice_survives_restart:
            return None
        for notice in self._past_of(violation.subject):
            same = notice.episode == violation.episode
            lasts = notice.state not in {NoticeState.RESTARTED, NoticeState.FINISHED}
            if same and lasts and notice.mode == self.snapshot.program.mode:
                return notice
        return None

    def _at_deadline(self, notice: Notice, violation: Violation, server: Server) -> None:
        if self.snapshot.program.mode is Mode.SHADOW:
            self._record(notice.to(NoticeState.SHADOW), "would-stop", violation.facts)
            return
        if self.snapshot.overrides.stop_freeze(notice.startup):
            self.abandon(notice, IntentCode.STOPS_WAIT)
            return  # it has its minimum notice when that ends
        waited = self.snapshot.overrides.resumed_s(notice.startup) > notice.deadline_s
        if waited and not self._is_sent(notice):
            self._extend(notice, violation)
            return
        begun = notice.state is NoticeState.EXECUTING
        if begun and (self._is_retrying(notice) or not may_stop(server)):
            return  # what cannot be stopped now takes nobody's place with the guard
        budget, gpus = self.disruption_budget, self.gpus.get(notice.server_id, 0)
        if not budget.allows(notice, gpus):
            if notice.state is not NoticeState.DEFERRED:
                sums = {"gpus": gpus, "counted_gpus": sum(budget.counted.values())}
                facts = Deferral.of(budget, server=notice.server_name, **sums)
                self._record(notice.to(NoticeState.DEFERRED), "defer", facts)
            return
        if not begun:
            notice = notice.to(NoticeState.EXECUTING)
            self._record(notice, "stop", violation.facts)
        if notice.id is None or self._is_retrying(notice) or not may_stop(server):
            return
        self._intend(notice, server, "poweroff")

    def _extend(self, notice: Notice, violation: Violation) -> None:
        """A notice that fell due while stops waited has the policy's minimum again."""
        now_s, minimum_s = self.snapshot.now_s, self.snapshot.program.policy.minimum_notice_s
        resumed_s = self.snapshot.overrides.resumed_s(notice.startup)
        course = {"was_due_s": notice.deadline_s, "resumed_s": resumed_s}
        changes = {"deadline_s": now_s + minimum_s, "reminded_s": minimum_s}
        self.abandon(notice, IntentCode.EXTENDED)
        own = self._facts(violation, **course)
        extended = notice.to(NoticeState.OPEN, facts=own, **changes)
        facts = Extension.of(extended, server=notice.server_name, **course)
        self._record(extended, "extend", facts)

    def _intend(self, notice: Notice, server: Server, action: str) -> None:
        now_s = self.snapshot.now_s
        of = (notice.id, notice.server_id, notice.zone, server.state)
        intent = Intent(*of, now_s, now_s + SEND_WITHIN_S, action=action)
        self._index(len(self.intents), intent)
        self.intents.append(intent)
        self.new_intents.append(intent)

    def _is_sent(self, notice: Notice) -> bool:
        """Whether a stop is on its way that nobody can take back."""
        return any(intent.state is IntentState.SENT for intent in self._intents_of(notice))

    def _is_retrying(self, notice: Notice) -> bool:
        """Whether an intent for the server is under way, or failed too recently."""
        own = [self.intents[place] for place in self._places_by_server[notice.server_id]]
        if any(intent.is_live for intent in own):
            return True
        action = "poweron" if notice.state is NoticeState.RESTARTING else "poweroff"
        failed = [i.ended_s or 0 for i in own if i.notice_id == notice.id and i.action == action]
        if not failed:
            return False
        pause_s = min(FIRST_RETRY_S << min(len(failed) - 1, 8), LAST_RETRY_S)
        return self.snapshot.now_s < max(failed) + pause_s

    def _finish(self, notice: Notice, end: NoticeState, seen: str, **released: str) -> None:
        self.abandon(notice, IntentCode.SERVER_ENDED)
        facts = Outcome(server=notice.server_name, state=seen, **released)
        self._record(notice.to(end), end, facts)  # each end has a verb of its name

    def _record(self, notice: Notice, verb: str, facts: Any) -> None:
        # A notice that ends and its successor share their subject: both are written.
        self._changed.pop((notice.id, notice.subject), None)
        self._changed[notice.id, notice.subject] = notice
        self.current[notice.subject] = notice
        self._decide(notice, verb, facts)

    def _decide(self, notice: Notice, verb: str, facts: Any) -> None:
        of = (notice.startup, notice.server_id)
        self.decisions.append(make_decision(of, notice.rule, verb, notice.episode, facts))


def _is_superseded(notice: Notice, violation: Violation, mode: Mode) -> bool:
    """Whether a violation is not the one that a notice was given for."""
    return notice.mode != mode or (
        STOP_BY_NAME[notice.rule].one_notice_per_episode and notice.episode != violation.episode
    )


def _by_id(each: Notice | Intent) -> int:
    return each.id or 0

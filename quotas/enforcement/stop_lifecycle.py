"""What becomes of each promise in one cycle: given, kept, held back, or taken back?

A notice goes on where it stopped when its server is started again under the same cause:
the notice is the startup's once, not once for each start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from quotas.decisions.disruption_budget import DisruptionBudget
from quotas.decisions.explain import counterfactual
from quotas.decisions.notices import SEND_WITHIN_S, Intent, Notice, servers_seen
from quotas.decisions.reasons import conclude, rule_of
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Decision, Snapshot, Violation
from quotas.enforcement.reminders import BREACH, notice_shortfall, reminder_due
from quotas.metering.runs import Run
from quotas.model.observation import Complete, Server
from quotas.model.units import format_instant

FIRST_RETRY_S = 60
LAST_RETRY_S = 900
NOTICE_SURVIVES_RESTART = frozenset({"credits", "cohort-end", "membership", "operator"})
"""Rules whose cause outlasts a server's stop: a restart finds the notice where it was."""

ONE_NOTICE_PER_EPISODE = frozenset({"standby", "cohort-end"})
"""Rules of which each cause has a notice of its own: a new leak, an end that was moved."""
ENDED_STATES = frozenset({"executed", "cancelled"})
"""What a notice is when its server went off, as long as nothing came after."""


class StopLifecycle:
    """The decisions of one cycle as they are collected."""

    def __init__(self, snapshot: Snapshot, resolved: Mapping[int | None, Intent]) -> None:
        self.snapshot, self.resolved = snapshot, resolved
        # By id, whatever the order they were read in: so is what becomes of them.
        self.intents = [resolved.get(i.id, i) for i in sorted(snapshot.intents, key=_by_id)]
        self.seen = servers_seen(snapshot.sweeps.values())
        self.decisions: list[Decision] = []
        self.changed: list[Notice] = []
        self.new_intents: list[Intent] = []
        self.past = list(snapshot.enforcement.past)
        self.current = {each.subject: each for each in sorted(snapshot.notices, key=_by_id)}
        open_runs = [run for run in snapshot.runs.values() if run.end_s is None]
        self.gpus = {run.server_id: run.gpus for run in open_runs}
        part_ppm = snapshot.program.policy.disruption_budget_ppm
        self.disruption_budget = DisruptionBudget(
            snapshot.enforcement, snapshot.overrides, self.gpus, part_ppm, snapshot.now_s
        )

    def follow(self, notice: Notice, violation: Violation | None) -> None:
        """Move a live notice on: executed, cancelled, due, or left as it is."""
        sweep = self.snapshot.sweeps.get(notice.zone)
        if not isinstance(sweep, Complete):
            return  # unknown is not empty: the promise stands, nothing is done
        server = self.seen.get(notice.server_id)
        if server is None or not server.is_billable:
            off = replace(notice, off_s=self.snapshot.now_s)
            verb = "executed" if notice.state == "executing" else "cancelled"
            self._finish(off, verb, server.state if server else "gone")
        elif violation is None or _is_superseded(notice, violation, self.snapshot.program.mode):
            if not self._is_sent(notice):  # else what was sent tells how it ends
                self._finish(notice, "cancelled", server.state, **self._released_by(notice))
        elif notice.state != "shadow" and self.snapshot.now_s >= notice.deadline_s:
            self._at_deadline(notice, violation, server)

    def abandon(self, notice: Notice, why: str) -> None:
        """Do not send what was decided for a notice and not sent yet: it is decided anew."""
        for place, intent in enumerate(self.intents):
            if intent.notice_id == notice.id and intent.state == "pending":
                ended = replace(intent, state="abandoned", ended_s=self.snapshot.now_s, detail=why)
                self.intents[place] = ended
                self.new_intents.append(ended)

    def close_finished(self, violations: Mapping[tuple[str, str, str], Violation]) -> None:
        """End what is past for good: a server that runs again while nothing asks it to stop.

        It is not brought back when its owner stops it later, and has a whole notice next time.
        """
        mode = self.snapshot.program.mode
        running = {(run.startup, run.server_id) for run, _ in self.snapshot.running()}
        for place, notice in enumerate(self.past):
            server, violation = self.seen.get(notice.server_id), violations.get(notice.subject)
            if notice.state not in ENDED_STATES or server is None or not server.is_billable:
                continue
            same = violation is not None and violation.episode == notice.episode
            if (notice.startup, notice.server_id) in running and not (same and notice.mode == mode):
                self.past[place] = replace(notice, state="finished")
                self.changed.append(self.past[place])

    def remind(self) -> None:
        """Remind of what is near, and own up to promises that were not kept."""
        policy, now_s = self.snapshot.program.policy, self.snapshot.now_s
        for notice in list(self.current.values()):
            nearest = reminder_due(notice, now_s)
            if nearest is not None:
                notice = replace(notice, reminded_s=nearest)
                self._record(notice, "remind", {"left_s": notice.deadline_s - now_s})
            promised_s = min(policy.minimum_notice_s, self._notice_length_s(notice))
            missing = notice_shortfall(
                notice, self.intents, self.snapshot.undelivered, promised_s, now_s
            )
            if missing is not None:
                self._record(replace(notice, is_breached=True), BREACH, missing)

    def _notice_length_s(self, notice: Notice) -> int:
        """How long a notice was: of one that goes on, what was left of the older one."""
        for before in self.past:
            same = before.subject == notice.subject and before.opened_s == notice.opened_s
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
        text = (
            f"{run.server_name} ({run.flavor}) will be powered off at "
            f"{format_instant(deadline_s)}: {violation.reason}. "
            f"{_sentence(counterfactual(violation.rule, violation.inputs))} "
            f"{self._data_loss_text(run)}"
        )
        if before is not None:
            text += f" This goes on with the notice of {format_instant(opened_s)}."
        notice = Notice(
            startup=run.startup,
            server_id=run.server_id,
            server_name=run.server_name,
            zone=run.zone,
            rule=violation.rule,
            episode=violation.episode,
            mode=self.snapshot.program.mode,
            opened_s=opened_s,
            deadline_s=deadline_s,
            text=text,
        )
        self._record(notice, "notify", violation.inputs)

    def announce(self, startup: str, episode: str, rule: str, inputs: Inputs, at_s: int) -> None:
        """Tell a forecast or an excess once; it moves nothing."""
        mode, now_s = self.snapshot.program.mode, self.snapshot.now_s
        text = conclude(rule_of(rule, "announce"), inputs)
        notice = Notice(
            startup, "", "", "", rule, episode, mode, now_s, at_s, text, state="announced"
        )
        # Two of one rule share their subject, and each is said.
        self.changed.append(notice)
        self._decide(notice, "announce", inputs)

    def restart(self, wanted: Mapping[int, Inputs]) -> None:
        """Power on the servers of ended notices that are to come back, one intent at a time."""
        for notice in self.past:
            server = self.seen.get(notice.server_id)
            why = wanted.get(notice.id or 0)
            if server is None or self.snapshot.overrides.stop_freeze(notice.startup):
                continue
            if server.is_billable:
                if notice.state == "restarting":
                    self._finish(notice, "restarted", server.state)
                continue
            if why is None:
                if notice.state == "restarting":
                    self._finish(notice, "executed", server.state, why="unwanted")
                continue
            if notice.state != "restarting":
                notice = replace(notice, state="restarting")
                named = {"server": notice.server_name, "startup": notice.startup}
                self._record(notice, "restart", {**named, **why})
            if (
                notice.id is not None
                and server.state == "stopped"
                and not self._is_retrying(notice)
            ):
                self._intend(notice, server, "poweron")

    def _data_loss_text(self, run: Run) -> str:
        """What the stop of a server takes from its startup, and what it leaves."""
        pool = self.snapshot.program.pool_of(run.flavor)
        is_ours = pool is not None and pool.backing == "reserved"
        slot = "stays the program's" if is_ours else "goes back to Scaleway"
        scratch = _scratch(self.snapshot.catalogue.scratch_bytes.get(run.flavor))
        return f"{scratch}; its slot {slot}; volumes stay."

    def _earlier_notice(self, violation: Violation) -> Notice | None:
        """The notice that a restarted server had under the same cause, in the same mode."""
        if violation.rule not in NOTICE_SURVIVES_RESTART:
            return None
        subject = (violation.run.startup, violation.run.server_id, violation.rule)
        for notice in self.past:
            same = notice.subject == subject and notice.episode == violation.episode
            lasts = notice.state not in {"restarted", "finished"}
            if same and lasts and notice.mode == self.snapshot.program.mode:
                return notice
        return None

    def _at_deadline(self, notice: Notice, violation: Violation, server: Server) -> None:
        if self.snapshot.program.mode == "shadow":
            self._record(replace(notice, state="shadow"), "would-stop", violation.inputs)
            return
        if self.snapshot.overrides.stop_freeze(notice.startup):
            self.abandon(notice, "stops wait: it is frozen, or in maintenance")
            return  # it has its minimum notice when that ends
        waited = self.snapshot.overrides.resumed_s(notice.startup) > notice.deadline_s
        if waited and not self._is_sent(notice):
            self._extend(notice, violation)
            return
        begun = notice.state == "executing"
        if begun and (self._is_retrying(notice) or not may_stop(server)):
            return  # what cannot be stopped now takes nobody's place with the guard
        if not self.disruption_budget.allows(notice, self.gpus.get(notice.server_id, 0)):
            self._defer(notice)
            return
        if not begun:
            notice = replace(notice, state="executing")
            self._record(notice, "stop", violation.inputs)
        if notice.id is None or self._is_retrying(notice) or not may_stop(server):
            return
        self._intend(notice, server, "poweroff")

    def _extend(self, notice: Notice, violation: Violation) -> None:
        """A notice that fell due while stops waited has the policy's minimum again."""
        now_s, minimum_s = self.snapshot.now_s, self.snapshot.program.policy.minimum_notice_s
        inputs: dict[str, int | str] = {
            "server": notice.server_name,
            "was_due_s": notice.deadline_s,
            "resumed_s": self.snapshot.overrides.resumed_s(notice.startup),
            "deadline_s": now_s + minimum_s,
        }
        why = conclude("extend", inputs)
        self.abandon(notice, why)
        again = replace(notice, state="open", deadline_s=now_s + minimum_s, reminded_s=minimum_s)
        text = f"{why}: {violation.reason}. {self._data_loss_text(violation.run)}"
        self._record(replace(again, text=text), "extend", inputs)

    def _intend(self, notice: Notice, server: Server, action: str) -> None:
        now_s = self.snapshot.now_s
        intent = Intent(
            notice_id=notice.id,
            server_id=notice.server_id,
            zone=notice.zone,
            replaces=server.state,
            decided_s=now_s,
            not_after_s=now_s + SEND_WITHIN_S,
            action=action,
        )
        self.intents.append(intent)
        self.new_intents.append(intent)

    def _defer(self, notice: Notice) -> None:
        if notice.state == "deferred":
            return
        inputs: dict[str, int | str] = {
            "server": notice.server_name,
            "gpus": self.gpus.get(notice.server_id, 0),
            "counted_gpus": sum(self.disruption_budget.counted.values()),
            "most_gpus": self.disruption_budget.most_gpus,
        }
        self._record(replace(notice, state="deferred"), "defer", inputs)

    def _is_sent(self, notice: Notice) -> bool:
        """Whether a stop is on its way that nobody can take back."""
        return any(i.notice_id == notice.id and i.state == "sent" for i in self.intents)

    def _is_retrying(self, notice: Notice) -> bool:
        """Whether an intent for the server is under way, or failed too recently."""
        own = [i for i in self.intents if i.server_id == notice.server_id]
        if any(intent.is_live for intent in own):
            return True
        action = "poweron" if notice.state == "restarting" else "poweroff"
        same = [i for i in own if i.notice_id == notice.id and i.action == action]
        failed = [i.ended_s or 0 for i in same]
        if not failed:
            return False
        pause_s = min(FIRST_RETRY_S << min(len(failed) - 1, 8), LAST_RETRY_S)
        return self.snapshot.now_s < max(failed) + pause_s

    def _released_by(self, notice: Notice) -> Mapping[str, str]:
        """Why a server that runs needs its notice no more."""
        mode = self.snapshot.program.mode
        if notice.mode == mode:
            return {"ended_by": "resolved"}
        return {"ended_by": "mode", "mode": mode, "was": notice.mode}

    def _finish(self, notice: Notice, verb: str, state: str, **why: str) -> None:
        self.abandon(notice, f"its server is {state}")
        self._record(
            replace(notice, state=verb), verb, {"server": notice.server_name, "state": state, **why}
        )

    def _record(self, notice: Notice, verb: str, inputs: Inputs) -> None:
        # A notice that ends and its successor share their subject: both are written.
        same = (notice.id, notice.subject)
        self.changed = [n for n in self.changed if (n.id, n.subject) != same] + [notice]
        self.current[notice.subject] = notice
        self._decide(notice, verb, inputs)

    def _decide(self, notice: Notice, verb: str, inputs: Inputs) -> None:
        of = (notice.startup, notice.server_id)
        self.decisions.append(Decision.from_inputs(of, notice.rule, verb, notice.episode, inputs))


def _is_superseded(notice: Notice, violation: Violation, mode: str) -> bool:
    """Whether a violation is not the one that a notice was given for."""
    return notice.mode != mode or (
        notice.rule in ONE_NOTICE_PER_EPISODE and notice.episode != violation.episode
    )


def _by_id(each: Notice | Intent) -> int:
    return each.id or 0


def _scratch(size_bytes: int | None) -> str:
    """What becomes of the scratch disk; None where the flavor is not known from the catalogue."""
    if size_bytes is None:
        return "A scratch disk, where it has one, is erased"
    if not size_bytes:
        return "It has no scratch disk"
    return f"Its scratch disk of {size_bytes // 10**9} GB is erased"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def may_stop(server: Server) -> bool:
    """Whether the provider lists poweroff among what the server's state allows."""
    return not server.allowed_actions or "poweroff" in server.allowed_actions


def stop_problems(
    notices: Iterable[Notice], intents: Iterable[Intent], seen: Mapping[str, Server]
) -> tuple[str, ...]:
    """Each server that was to be stopped and could not be, with what stands in the way."""
    failed: dict[int | None, list[Intent]] = {}
    for intent in sorted(intents, key=_by_id):
        if intent.state in {"failed", "expired"} and intent.notice_id is not None:
            failed.setdefault(intent.notice_id, []).append(intent)
    found = []
    for notice in sorted(notices, key=_by_id):
        server = seen.get(notice.server_id)
        tries = failed.get(notice.id, [])
        if notice.state == "restarting" and tries:
            name = f"{notice.server_name} of {notice.startup}"
            found.append(f"{name} cannot be powered on again yet: {tries[-1].detail}")
        if notice.state != "executing" or server is None or not server.is_billable:
            continue
        why = f"tried {len(tries)} times: {tries[-1].detail}" if tries else ""
        if not may_stop(server):
            why = f"its state {server.state} allows no poweroff"
        if why:
            found.append(f"{notice.server_name} of {notice.startup} cannot be stopped: {why}")
    return tuple(found)

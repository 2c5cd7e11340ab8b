"""I17 in mid-play: a healed daemon converges while servers run, and is then quiet.

A quiescence begins at the first chance after an instant of the script: a server runs and, if the
script waits for it, has an open notice. Nothing goes wrong in a quiescence, and nobody does
anything. Events that fall into it happen afterwards, except the results of earlier calls.

Convergence: after three cycles, and T_stop while a stop is under way, the book and the region
agree on every running server, its owner and its type. Charges equal true runs (I4), and no due
action waits.

Quiet: ten more cycles follow. A cycle writes nothing if nothing moved and nothing fell due. If
something fell due, the same cycle writes nothing when it is repeated at the same instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from quotas.book.cycle.state import BookState, load_state
from quotas.model.units import HOUR_S, month_start_s
from quotas.state.snapshot import announced_in_mode

from ..audit.evidence import evidence_of
from ..audit.metering import metering
from .memory_book import InMemoryBook

if TYPE_CHECKING:
    from scheduler.cycle import CycleReport

    from .play import Play

N_CYCLES, M_CYCLES = 3, 10
STOP_S = 2 * 30 + 300 + 188
"""T_stop, and the longest that a stop takes."""
LEASE_S = 180
RETRIES_S = (60, 120, 240, 480, 900)
"""How long after a failure something may be tried again."""
LIVE = ("open", "deferred", "executing")
WRITES = (
    "transfers",
    "runs",
    "unconfirmed_periods",
    "decisions",
    "notices",
    "intents",
    "requests",
    "overuses",
    "pending_messages",
)
"""The parts of a cycle's result that count as written. The known instants of zones do not."""


class Quiescence:
    """The quiescences of one play, with their beginnings and faults."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.due: list[tuple[int, str]] = []
        """The end of the wait of each due quiescence, and what it waits for."""
        self.is_on = False
        self.leader: int | None = None
        """The daemon that acts, once one of them leads."""
        self.saw: list[tuple[str, str, int]] = []
        """The servers as the last cycle saw them."""
        self.held = self.notices = 0
        """The number of quiescences, and of notices that were open during one."""
        self.wrong: list[str] = []

    def plan(self, at_s: int, wait_s: int, for_: str) -> None:
        """Plan a quiescence, which waits for an open or a reminded notice."""
        self.due.append((at_s + wait_s, for_))

    def run_if_due(self) -> None:
        """Run a quiescence if one is due and its conditions hold."""
        if not self.due or self.play.is_healed or not self._may_begin(*self.due[0]):
            return
        self.due.pop(0)
        self.is_on, self.held = True, self.held + 1
        try:
            self.wrong += [f"I17 {text}" for text in self._rested()]
        finally:
            self.is_on, self.leader = False, None

    def _may_begin(self, patience_s: int, for_: str) -> bool:
        """Whether clocks agree, a server runs, and the awaited notice is there or late."""
        play = self.play
        now_s, view = play.region.now_s, play.report.view if play.report else None
        if play.offset_s or max(play.cycle_checks.committed, default=now_s) > now_s or view is None:
            return False
        program = play.program_operator.program
        ours = (s for s in self._servers() if program.owner(s.project_id, now_s))
        if not any(server.is_billable for server in ours):
            return False
        live = [n for n in view.status.notices if n.server_id and n.state == "open"]
        return now_s >= patience_s or any(for_ == "open" or n.reminded_s for n in live)

    def _rested(self) -> Iterator[str]:
        converged = yield from self._converges()
        if converged:
            yield from self._stays()

    # -- convergence --------------------------------------------------------------------

    def _converges(self) -> Any:
        """Run cycles at the daemon's pace for its time to converge; return the faults then."""
        play, done, began_s = self.play, 0, self.play.region.now_s
        until_s = began_s + LEASE_S + N_CYCLES * 30 + STOP_S
        while play.region.now_s < until_s and not (done >= N_CYCLES and not self._under_way()):
            report = self._cycle(self._pause_s())
            if report is not None:
                done += 1
                if done == 1:  # it leads from now on: the other one only stands by
                    self.leader = play.acting
                    until_s = play.region.now_s + N_CYCLES * 30 + STOP_S
        at = f"at {play.region.now_s}, healed at {began_s}"
        if done < N_CYCLES:
            yield f"only {done} cycles were done {at}"
            return False
        yield from (f"{text} {at}" for text in self._unlike_the_truth())
        yield from (f"{text} {at}" for text in metering(evidence_of(play)))
        return True

    def _under_way(self) -> bool:
        """Whether something moves in the region, or is about to."""
        passing = ("starting", "stopping")
        if any(s.state in passing for s in self._servers()):
            return True
        state = self._state()
        return any(i.is_live for i in state.intents) or bool(self._executing(state))

    def _executing(self, state: BookState) -> list[Any]:
        """Notices whose servers can be stopped now, and for which no call has failed."""
        may = {s.id for s in self._servers() if s.state in ("running", "stopped in place")}
        failed = {i.notice_id for i in state.intents if i.state in ("failed", "expired")}
        return [
            n
            for n in state.notices
            if n.state == "executing" and n.server_id in may and n.id not in failed
        ]

    def _unlike_the_truth(self) -> Iterator[str]:
        """Where the book differs from the region after the last cycle."""
        play, state = self.play, self._state()
        now_s, program = play.region.now_s, play.program_operator.applied[-1][1]
        runs = {run.server_id: run for run in state.runs if run.end_s is None}
        real = {run.server_id: run for run in play.region.truth() if run.end_s is None}
        for id, run in sorted(real.items()):
            owner, own = program.owner(run.project_id, now_s), runs.get(id)
            known = own and (own.startup, own.flavor)
            if owner and known != (owner.name, f"{run.commercial_type}@{run.zone}"):
                yield f"{id} of {owner.name} runs in {run.zone}, and the book has {known}"
        for id in sorted(runs.keys() - real.keys()):
            yield f"{id} does not run, and the book has it running"
        for zone in program.zones:
            if state.confirmed.get(zone) != now_s:
                yield f"{zone} is known to {state.confirmed.get(zone)}"
        for run in runs.values():
            if run.rate_ucr_per_h is not None and now_s - run.posted_until_s >= HOUR_S:
                yield f"{run.server_id} is charged to {run.posted_until_s}"
        yield from self._overdue(state)

    def _overdue(self, state: BookState) -> Iterator[str]:
        """I11: what fell due and was neither done nor deferred."""
        now_s = self.play.region.now_s
        if self.play.script.mode != "enforce":
            return
        overrides = {
            (w.family, w.subject)
            for w in state.enforcement.overrides
            if w.is_active_at(now_s) and w.value != "off"
        }
        stopping = [notice.id for notice in self._executing(state)]
        for notice in state.notices:
            names = ("*", notice.startup)
            if any((f, n) in overrides for f in ("freeze", "maintenance") for n in names):
                continue
            if notice.state == "open" and notice.deadline_s <= now_s:
                yield f"notice {notice.id} of {notice.server_name} is due, and open"
            if notice.id in stopping:
                yield f"{notice.server_name} was to be stopped at {notice.deadline_s}, and runs"

    # -- quiet --------------------------------------------------------------------------

    def _stays(self) -> Iterator[str]:
        self.notices += sum(n.server_id != "" and n.state == "open" for n in self._state().notices)
        yield from self._repeated(2)
        for _ in range(M_CYCLES):
            state, saw, before_s = self._state(), self.saw, self.play.region.now_s
            due = self._due(state)
            report = self._cycle(self._pause_s())
            now_s = self.play.region.now_s
            due_now = any(before_s < at_s <= now_s for at_s in due)
            if report is None:
                yield f"the cycle at {now_s} was not done"
            elif news := self._news():
                if saw != self.saw or due_now or self._only_tells(state):
                    yield from self._repeated(1)
                else:
                    yield f"nothing had happened at {now_s}, and it wrote {news}"

    def _only_tells(self, before: BookState) -> bool:
        """Whether the cycle wrote only announcements that time alone brought about.

        A startup may pass its pace, or come near the end of its credits, at any instant.
        """
        wrote = self.play.cycle_checks.wrote
        others = [
            name for name in WRITES if name not in ("decisions", "notices", "pending_messages")
        ]
        announced = announced_in_mode(before.announced, wrote.mode)
        return not any(getattr(wrote, name) for name in others) and all(
            d.verb == "announce" and (d.startup, d.episode) not in announced
            for d in wrote.decisions
        )

    def _repeated(self, times: int) -> Iterator[str]:
        """The same cycle at the same instant writes nothing new, unless it made a call."""
        for _ in range(times):
            if self.play.report is None or self.play.report.sent:
                return
            if self._cycle(0) is None:
                yield f"the cycle at {self.play.region.now_s} could not be repeated"
            elif news := self._news():
                yield f"repeated at {self.play.region.now_s}, the cycle wrote {news}"

    def _news(self) -> str:
        """What the last cycle wrote."""
        wrote = self.play.cycle_checks.wrote
        parts = ((name, getattr(wrote, name)) for name in WRITES)
        announced = [f"{len(part)} {name}" for name, part in parts if part]
        verbs = sorted({f"{d.rule} {d.verb}" for d in wrote.decisions})
        return ", ".join(announced) + (f" ({', '.join(verbs)})" if verbs else "")

    def _due(self, state: BookState) -> set[int]:
        """Every instant at which something falls due by time alone."""
        report = self.play.report
        due = set(report.view.edges) if report and report.view else set()
        now_s = self.play.region.now_s
        due.add(month_start_s(now_s, 1))
        due |= {run.posted_until_s + HOUR_S for run in state.runs}
        for intent in state.intents:
            due |= {(intent.ended_s or 0) + pause_s for pause_s in RETRIES_S}
            due |= {intent.not_after_s + 1, (intent.sent_s or 0) + _latency_s(state) + 1}
        due |= {stop.decided_s + HOUR_S for stop in state.enforcement.stops}
        for past in state.closing_history.values():
            for intent in past.intents[:1]:
                due |= {(intent.ended_s or 0) + s for s in (*RETRIES_S, HOUR_S)}
        return due

    # -- cycles -------------------------------------------------------------------------

    def _pause_s(self) -> int:
        """The pause to the next cycle: the ordinary one, or up to the next edge."""
        play, report = self.play, self.play.report
        now_s = play.region.now_s
        next_s = now_s + play.cycles[0].timing.cycle_s
        if report is not None and report.outcome == "done":
            next_s = min(next_s, play.cycles[0].next_due_s(report))
        return max(1, next_s - now_s)

    def _cycle(self, after_s: int) -> CycleReport | None:
        """Run a cycle after some seconds in which nobody acts; None if it was not done."""
        play = self.play
        play.wait(play.region.now_s + after_s)
        self.saw = [(s.id, s.state, s.modified_s) for s in self._servers()]
        before = play.report
        play.once()
        report = play.report
        return report if report is not before and report and report.outcome == "done" else None

    def _state(self) -> BookState:
        """The current state of the book."""
        book = self.play.book
        return book.state() if isinstance(book, InMemoryBook) else load_state(book)

    def _servers(self) -> Iterator[Any]:
        return (
            s
            for zone in self.play.program_operator.program.zones
            for s in self.play.region.servers(zone)
        )


def _latency_s(state: BookState) -> int:
    """How long a stop may take before it has failed."""
    assert state.program is not None
    return state.program.policy.stop_latency_s

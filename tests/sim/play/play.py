"""A play of one script: a region, a program, a book, and one or two daemons in lock-step.

Cycles run at polls some hours apart, at each edge that the daemon names, half a minute after a
stop, and within 30 s of each change that costs or saves money. Looks that find nothing new need no
cycle. The book is the one in memory or the real one; both run the same `scheduler.cycle`.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from quotas.book import Book
from quotas.book.cycle.commit import StaleNotice
from quotas.book.cycle.lease import StaleEpoch
from quotas.book.schema.tables import ZONE
from quotas.book.transfers import StaleBalance
from scheduler.clock import ManualClock
from scheduler.cycle import Cycle, CycleReport
from scheduler.timing import Timing

from ..scenario.events import HAND, IAM, IAM_POINTS, NOBODY, OFTEN
from ..scenario.iam_edits import LAST_EDIT_S
from ..scenario.people import STRANGER
from ..scenario.script import NAMES, POINTS, START_S, ZONES, Event, Script
from .book_rows import balances_of, transfers_of
from .cloud import RegionCloud
from .cycle_checks import CycleChecks
from .iam import CycleRecord, Organization, RegionPermissions
from .manual_iam_edits import ManualIamEdits
from .memory_book import InMemoryBook
from .program_operator import ProgramOperator, program_of
from .quiescence import Quiescence
from .region import Region
from .wiring import POINTS as NOW

AFTER_A_STOP_S = 30
LOOK_S = 15
"""How long before and after each change a daemon that looks every 30 s looks, on average."""
AFTER_AN_ERROR_S = 30
LONGER_THAN_THE_LEASE_S = 200
DUE = ("open", "executing", "deferred")
MOST_CYCLES = 30_000


class Died(Exception):
    """The daemon is killed at a point of its cycle; all its objects are dropped."""


class Play:
    """The region, book and daemons of a script; `run` plays the script to its end."""

    def __init__(self, script: Script, *, sql: bool = False, book: Book | None = None) -> None:
        is_real = sql or book is not None
        script = script if is_real else replace(script, milestones=())
        self.script, self.is_keyed = script, script.iam and is_real
        self.region = Region(script.seed, script.days, (*NAMES, "fir", STRANGER))
        played = [e for e in script.events if e.who != HAND or self.is_keyed]
        self.events = [(e.at_s, i, e) for i, e in enumerate(played)]
        heapq.heapify(self.events)
        self._planned = len(script.events)
        self.cloud = RegionCloud(self.region, script.windows, later=self.plan)
        self.cloud.point = self.at_point
        self.cloud.offset_s = lambda: self.offset_s
        self.quiescence = Quiescence(self)
        self.cloud.is_calm = lambda: self.quiescence.is_on
        self.clock = ManualClock(START_S)
        self.offset_s = 0
        self.offsets: list[tuple[int, int]] = []
        self.book: Any = book or (Book.in_memory() if sql else InMemoryBook())
        self.program_operator = ProgramOperator(
            self.book, program_of(script, self.region), self.region
        )
        self.injected: Counter[str] = self.cloud.injected
        self._dice = random.Random(f"{script.seed}/cycles")
        self._polls = random.Random(f"{script.seed}/polls")
        self._answers = random.Random(f"{script.seed}/answers")
        self._read: set[tuple[str, str, int]] = set()
        self._held: set[int | None] = set()
        self.cycle_checks = CycleChecks(
            script.seed, partial(transfers_of, self.book), partial(balances_of, self.book)
        )
        self._is_nested = False
        self.cycle_records: list[CycleRecord] = []
        self.organization = Organization(self.region)
        self.permissions = self._permissions() if self.is_keyed else None
        self.cycles = [self._daemon(holder) for holder in "ab"[: script.daemons]]
        self._acting = self.cycles[0]
        self.count = self._waits = 0
        self.most_cycles = MOST_CYCLES
        self._due: set[tuple[str, str, str]] = set()
        self.views: list[Any] = []
        self.report: CycleReport | None = None
        self.is_healed = self._was_cut = False
        self.incidents: list[int] = []

    def _daemon(self, holder: str) -> Cycle:
        return Cycle(
            cloud=self.cloud,
            book=self.book,
            clock=self.clock,
            holder=holder,
            timing=Timing(),
            publish=self._published,
            permissions=self.permissions,
        )

    def _permissions(self) -> RegionPermissions:
        """The daemon's access to IAM, and the people who edit IAM from now on."""
        script = self.script
        self.region.checks_permissions = True
        self.manual_iam_edits = ManualIamEdits(
            self.organization, script.seed, script.end_s + LAST_EDIT_S
        )
        return RegionPermissions(
            self.organization,
            script.windows,
            self.injected,
            now_s=self.clock.now_s,
            point=self.at_point,
            revoked_rules=self._revoked_rules,
            edits=self.manual_iam_edits.hasty,
            later=self.plan,
            manual_iam_edits=(script.hasty, random.Random(f"{script.seed}/hasty edits")),
            is_calm=lambda: self.quiescence.is_on,
        )

    def _revoked_rules(self) -> list[dict[str, Any]]:
        """The rules that the book names as revoked now."""
        query = text("SELECT * FROM revoked_rules WHERE state = 'revoked' ORDER BY id")
        with self.book.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # -- time ---------------------------------------------------------------------------

    def plan(self, event: Event) -> None:
        """Add an event."""
        self._planned += 1
        heapq.heappush(self.events, (event.at_s, self._planned, event))

    def move(self, to_s: int) -> None:
        """Let time pass: every event up to then at its instant, then the clocks."""
        while self.events and self.events[0][0] <= to_s:
            at_s, _, event = heapq.heappop(self.events)
            self._move_clocks(max(at_s, self.region.now_s))
            self._happens(event)
        self._move_clocks(to_s)

    def wait(self, to_s: int) -> None:
        """Let time pass without any event but the results of earlier calls."""
        late = sorted(e for e in self.events if e[0] <= to_s and e[2].verb == "late_stop")
        for each in late:
            self.events.remove(each)
            self._move_clocks(max(each[0], self.region.now_s))
            self._happens(each[2])
        if late:
            heapq.heapify(self.events)
        self._move_clocks(to_s)

    def _move_clocks(self, to_s: int) -> None:
        self.region.advance(to_s)
        self.clock.move_to(to_s + self.offset_s)

    def _happens(self, event: Event) -> None:
        if event.who == "operator":
            self.program_operator.does(event, self.clock.now_s())
        elif event.who == NOBODY:
            self.quiescence.plan(event.at_s, *event.args)
        elif event.who == "clock":
            (step_s,) = event.args
            self._step(step_s)
        elif event.who == HAND and event.verb == "level":
            overridden = replace(event, verb="override", args=("level", *event.args))
            self.program_operator.does(overridden, self.clock.now_s())
        elif event.who == HAND:
            self.manual_iam_edits.does(event)
        else:
            self.region.play(event)

    def _step(self, step_s: int) -> None:
        self.injected["clock step"] += 1
        self.offset_s += step_s
        self.clock.step(step_s)
        self.offsets.append((self.region.now_s, self.offset_s))

    # -- cycles -------------------------------------------------------------------------

    def run(self) -> None:
        """Play to half a day past the end, because the disruption budget defers some stops."""
        self.run_to(self.script.end_s + 12 * 3600)
        # A daemon that polls twice a day may have given a notice just now, or deferred some stops.
        for _ in range(24):
            notices = self.report.view.status.notices if self.report and self.report.view else ()
            if not any(notice.state in ("open", "deferred") for notice in notices):
                break
            self.run_to(self.region.now_s + 3600)
        self.settle(3)

    def run_to(self, until_s: int) -> None:
        """Play on to an instant."""
        while self.region.now_s < until_s and self.count < self.most_cycles:
            if not self.is_healed and self.region.now_s >= self.script.healed_s:
                self._heal()
            now_s = self.region.now_s
            pause_s = self.once()
            self._are_answered()
            self.quiescence.run_if_due()
            due_s = now_s + (pause_s or self._polls.randint(*self.script.poll_s))
            edges = self.report.view.edges if self.report and self.report.view else ()
            soon = [e - self.offset_s for e in edges if e - self.offset_s > self.region.now_s]
            self._move_to_next_cycle(min([until_s, due_s, *soon[:1]]))

    def _move_to_next_cycle(self, due_s: int) -> None:
        """Let time pass to the next cycle of a daemon that looks every 30 s.

        Such a daemon looks within 30 s before and after each change. A look that finds nothing
        new only confirms the zones, so it needs no cycle.
        """
        while True:
            now_s = self.region.now_s
            planned_s = self.events[0][0] if self.events else due_s
            change_s = min(planned_s, self.region.next_change_s() or planned_s)
            before_s = change_s - LOOK_S
            look_s = before_s if before_s > now_s else max(now_s, change_s) + LOOK_S
            self.move(max(now_s + 1, min(look_s, due_s)))
            if look_s >= due_s or not self._confirms_quietly():
                return

    def _confirms_quietly(self) -> bool:
        """Whether every zone is as the last commit saw it; if so, the zones are confirmed now."""
        if self.report is None or self.report.outcome != "done" or self._was_cut or self.offset_s:
            return False
        now_s = self.clock.now_s()
        if not self.cloud.is_unchanged(ZONES, now_s):
            return False
        if isinstance(self.book, InMemoryBook):
            self.book.confirmed |= dict.fromkeys(ZONES, now_s)
        else:
            with self.book.writing() as connection:
                connection.execute(update(ZONE).values(confirmed_until_s=now_s))
        self.cycle_checks.looks.add(now_s)
        return True

    def _are_answered(self) -> None:
        """People read the notices of the last cycle, and some ask for more time.

        Operators approve some of the deferred stops.
        """
        notices = self.report.view.status.notices if self.report and self.report.view else ()
        for notice in notices:
            key = (notice.server_id, notice.rule, notice.deadline_s)
            if notice.state == "deferred" and notice.id not in self._held:
                self._held.add(notice.id)
                if self._answers.random() < self.script.answers:
                    self.plan(Event(self.region.now_s + 600, "operator", "approve"))
            if notice.state != "open" or not notice.server_id or key in self._read:
                continue
            self._read.add(key)
            if self._answers.random() < self.script.answers:
                at_s, who = self.region.now_s + 20, notice.startup
                self.plan(Event(at_s, "operator", "acknowledge", (who,)))
                for_s = self._answers.choice([600, 3_600, 9_000])
                self.plan(Event(at_s + 20, "operator", "snooze", (who, for_s)))

    def _published(self, view: Any) -> None:
        """The view of a cycle in which no time passed: nobody did anything meanwhile."""
        if view.status.at_s - self.offset_s == self.region.now_s and not self._is_nested:
            self.cycle_checks.published(view)

    def once(self) -> int:
        """Run one cycle of one daemon; returns the pause before the next, or 0 for a poll."""
        self.count += 1
        which = self._dice.randrange(len(self.cycles))
        which = which if self.quiescence.leader is None else self.quiescence.leader
        NOW.hit, NOW.cycle_checks = self.at_point, self.cycle_checks
        self._acting = self.cycles[which]
        trouble, self._was_cut = self._trouble(), True
        try:
            self.report = report = self._acting.run()
        except Died:
            self._looked(None)
            self.cycles[which] = self._daemon("ab"[which])
            return AFTER_AN_ERROR_S
        except (OperationalError, StaleEpoch, StaleBalance, StaleNotice) as error:
            self.injected[f"cycle failed {type(error).__name__}"] += 1
            self._looked(None)
            return AFTER_AN_ERROR_S
        self._was_cut = False
        if report.outcome != "follower":
            self._looked(report.view if trouble == self._trouble() else None)
        if report.outcome in ("observed", "follower"):
            self.injected[report.outcome] += 1
            return AFTER_AN_ERROR_S
        return AFTER_A_STOP_S if report.sent else self._pause_s(report)

    @property
    def acting(self) -> int:
        """The daemon whose cycle was the last."""
        return self.cycles.index(self._acting)

    def _trouble(self) -> int:
        """How many faults have hit cycles and calls to IAM so far."""
        return len(self.incidents) + sum(self.injected[kind] for kind in IAM)

    def _looked(self, view: Any) -> None:
        """Record a finished cycle, with its view if nothing went wrong."""
        if self.is_keyed:
            levels = {s.name: s.level for s in view.status.startups} if view else {}
            now_s, changes = self.clock.now_s(), len(self.organization.log)
            self.cycle_records.append(
                CycleRecord(self.region.now_s, now_s, levels, changes, view is not None)
            )

    def _pause_s(self, report: CycleReport) -> int:
        """A pause that grows while something is due; 0 for the next poll."""
        now_s = self.clock.now_s()
        notices = report.view.status.notices if report.view else ()
        due = {n.subject for n in notices if n.state in DUE and n.deadline_s <= now_s}
        self._waits = self._waits + 1 if due == self._due else 0
        self._due = due
        return AFTER_A_STOP_S << min(self._waits, 4) if due else 0

    def at_point(self, name: str) -> None:
        """Throw the dice for the point that the cycle has come to."""
        if name == "before call":
            lease = self._acting.lease
            self.cycle_checks.called(self.clock.now_s(), lease.expires_s if lease else None)
        if not self.script.dice or self.is_healed or self._is_nested or self.quiescence.is_on:
            return
        if name not in POINTS and name not in IAM_POINTS:
            return
        drawn = self._dice.random() / (OFTEN if name in IAM_POINTS else 1)
        for kind, rng in sorted(self.script.dice.items()):
            if drawn < rng:
                self._inject(kind, name)
                return
            drawn -= rng

    def _inject(self, kind: str, name: str) -> None:
        self.injected[f"{kind} {name}"] += 1
        self.incidents.append(self.region.now_s)
        if kind == "crash":
            raise Died(name)
        if kind == "error":
            raise OperationalError(name, {}, Exception("simulated"))
        if kind == "slow":
            self.move(self.region.now_s + 20)
            return
        self.move(self.region.now_s + LONGER_THAN_THE_LEASE_S)
        if len(self.cycles) > 1:
            self._is_nested, mine = True, self._acting
            self._acting = self._daemon("c")
            try:
                self._acting.run()
            finally:
                self._is_nested, self._acting = False, mine

    def _heal(self) -> None:
        self.is_healed = True
        if self.offset_s:
            self._step(-self.offset_s)

    def settle(self, cycles: int) -> list[CycleReport]:
        """Run cycles at the daemon's own pace after everything is healed."""
        reports = []
        for _ in range(cycles):
            self.move(self.region.now_s + self.cycles[0].timing.cycle_s)
            self.once()
            if self.report is not None and self.report.outcome == "done":
                reports.append(self.report)
        return reports


def played(script: Script, *, sql: bool = False) -> Play:
    """The finished play of a script."""
    play = Play(script, sql=sql)
    play.run()
    return play


def calm(script: Script) -> Script:
    """The script without its faults."""
    return replace(script.without_faults(), dice={})

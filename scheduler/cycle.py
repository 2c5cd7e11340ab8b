"""One cycle of the daemon, in eleven steps. Read this first: it is the map of the program.

cohortd reads catalogues, loads the book, observes the cloud, meters and charges the servers,
decides, commits under the lease, acts, and publishes. Each cycle starts from the book and the
cloud as they are now. If a cycle dies anywhere, the book stays consistent, and the next cycle
catches up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quotas.book.cycle.catalogues import read_catalogue_needs, save_catalogue
from quotas.book.cycle.commit import commit
from quotas.book.cycle.lease import Lease
from quotas.book.cycle.state import BookState, load_state
from quotas.book.reads.status import build_snapshot, build_status, in_force, undecided
from quotas.book.session import Book
from quotas.enforcement.decide import DecideResult, decide
from quotas.enforcement.invariants import InvariantBroken
from quotas.iam.closing import Closings, projects_at
from quotas.ledger.posting import post_due
from quotas.state.snapshot import Snapshot
from quotas.view import View
from scheduler.act.access import (
    NO_CLOSINGS,
    AccessChanger,
    closing_status,
    decide_access_changes,
)
from scheduler.act.intents import act, sendable_intents
from scheduler.clock import Clock
from scheduler.clouds.base import Cloud
from scheduler.clouds.permissions import Permissions
from scheduler.jobs.cycle_log import CycleLog
from scheduler.leadership import Leadership
from scheduler.observe.catalogue import CatalogueReader
from scheduler.observe.clock_jump import ClockJumpDetector
from scheduler.observe.provider_stock import ProviderStock
from scheduler.observe.zones import Observer
from scheduler.timing import Timing
from scheduler.views.assemble import assemble_result, meter_runs, with_posting
from scheduler.views.view import build_view


@dataclass(frozen=True, slots=True)
class CycleReport:
    """How a cycle ended: its outcome in one sentence, its view, and the intents sent."""

    outcome: str
    sentence: str
    view: View | None = None
    sent: int = 0


class Cycle:
    """One daemon's cycle over one book and one cloud. Start reading at `run`."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        book: Book,
        clock: Clock,
        holder: str,
        timing: Timing,
        publish: Callable[[View], None],
        permissions: Permissions | None = None,
        drain_inbox: Callable[[int], int] = lambda _now_s: 0,
        on_standby: Callable[[int], int] = lambda _now_s: 0,
    ) -> None:
        self.book, self.clock, self.holder, self.timing = book, clock, holder, timing
        self.publish, self.drain_inbox, self.on_standby = publish, drain_inbox, on_standby
        self.lease: Lease | None = None
        self.leadership = Leadership(book, clock, holder, timing.lease_s)
        self.cycle_log, self.clock_jump = CycleLog(), ClockJumpDetector(clock)
        self._connect(cloud, permissions)

    def run(self) -> CycleReport:
        """Run one cycle. Raises only errors of the database and of programming, for the loop."""
        # 1. Read the clocks. After a jump of the wall clock, nobody knows what ran in between.
        now_s, jump_s = self.clock.now_s(), self.clock_jump.jump_s()
        if jump_s:
            return CycleReport("observed", f"the clock jumped by {jump_s} s: nothing is decided")
        # 2. Take or renew the lease. Every later write is refused once another daemon leads.
        lease = self.lease = self.leadership.lease(now_s)
        if lease is None:
            self.on_standby(now_s)
            return CycleReport("follower", "another daemon leads: standing by")
        # 3. Perform the startups' writes to the API, so that this cycle decides with them.
        self.drain_inbox(now_s)
        # 4. Read the catalogues that are due (network), and save each under the lease.
        due = self.catalogues.due_zones(read_catalogue_needs(self.book), now_s)
        for zone, offers in self.catalogues.read(due, now_s).items():
            save_catalogue(self.book, lease, offers, now_s)
            self.catalogues.mark_saved(zone, offers, now_s)
        # 5. Load the state, once. A program that was applied during step 4 is in force from here.
        state = load_state(self.book)
        if state.program is None:
            return CycleReport("idle", "no program is applied yet: run 'cohortd apply'")
        state = in_force(state, now_s)
        assert state.program is not None
        # 6. Sweep the zones and read the stock (network). A zone without an answer is Unknown.
        seen = self.observer.observe(state.program.zones, now_s)
        sweeps, read_s = self.catalogues.mask_unlisted(seen, state, now_s), self.clock.now_s()
        stock = self.provider_stock.read_stock(state, now_s)
        # 7. Meter the servers and post due charges. Both are pure, and never need decisions.
        metered = meter_runs(state, sweeps, read_s)
        posting = post_due(state.program, state.grants, metered, now_s, state.holds)
        posted = with_posting(state, metered, posting)
        # 8. Decide, purely, from the books as the commit will leave them.
        snapshot = build_snapshot(posted, now_s, self.timing.cycle_s, sweeps, stock)
        decided, closings, faults = self._decide(state, snapshot)
        # 9. Commit in one transaction under the lease: the book gets the whole cycle or nothing.
        result = assemble_result(state, sweeps, metered, posting, decided, closings, now_s)
        chain_heads = commit(self.book, result, lease, now_s)
        self.cycle_log.log_commit(chain_heads, result.decisions)
        # 10. Act (network). Only intents that are in the book are sent, and none after a fault.
        changer = None
        if self.permissions is not None:
            projects = projects_at(state.program, self.clock.now_s())
            changer = AccessChanger(self.permissions, self.book, lease, self.clock, projects)
        intents = () if faults else sendable_intents(self.book, state, snapshot.overrides, sweeps)
        sent = act(self.cloud, self.book, lease, self.clock, intents, changer)
        # 11. Publish the view. Metrics and people see only what was committed.
        closing_views, alarms = closing_status(self.permissions, state, snapshot.overrides)
        status = build_status(posted, snapshot, decided, closing_views)
        prices = self.catalogues.alarms(state.catalogue)
        view = build_view(status, snapshot, decided, lease, prices, (*faults, *alarms))
        self.cycle_log.log_alarms(view.alarms)
        self.publish(view)
        return CycleReport("undecided" if faults else "done", view.sentence, view, sent)

    def _decide(
        self, state: BookState, snapshot: Snapshot
    ) -> tuple[DecideResult, Closings, tuple[str, ...]]:
        """The decisions; none and an alarm if `decide` found its own result wrong.

        The cycle still charges. Its outcome is not "done", so that the operators are paged
        unless a later cycle decides.
        """
        try:
            decided = decide(snapshot)
        except InvariantBroken as error:
            self.cycle_log.log_broken_invariant(error)
            return undecided(snapshot), NO_CLOSINGS, (f"nothing is decided: {error}",)
        closings = decide_access_changes(
            self.permissions, state, decided, snapshot.overrides, snapshot.now_s
        )
        return decided, closings, ()

    def reconnect(self, cloud: Cloud, permissions: Permissions | None = None) -> None:
        """Use other connections to the cloud from the next cycle on."""
        for reader in (self.observer, self.catalogues, self.provider_stock):
            reader.close()
        self._connect(cloud, permissions)

    def next_due_s(self, report: CycleReport) -> int:
        """When the next cycle is due: the regular instant, or an edge before it."""
        now_s = self.clock.now_s()
        edges = report.view.edges if report.view else ()
        return min([now_s + self.timing.cycle_s, *(edge for edge in edges if edge > now_s)])

    def _connect(self, cloud: Cloud, permissions: Permissions | None) -> None:
        self.cloud, self.permissions = cloud, permissions
        self.observer = Observer(cloud, self.timing.sweep_s)
        self.catalogues = CatalogueReader(cloud, self.timing.read_s)
        self.provider_stock = ProviderStock(cloud, self.timing.read_s)

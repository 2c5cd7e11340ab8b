"""What happens in one cycle? Read this first: it is the map of the program.

observe the clouds -> meter what ran -> charge the books -> decide -> commit, fenced by
the lease -> act -> publish. It looks at the whole truth each time and closes the
distance; there is no second way to the same result. A cycle that dies anywhere leaves
the book as it was, and the next one catches up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quotas.book.cycle.commit import commit
from quotas.book.cycle.lease import Lease
from quotas.book.cycle.state import load_state
from quotas.book.session import Book
from quotas.enforcement.decide import decide
from quotas.view import View
from scheduler.act.access import closing_status, decide_access_changes, make_access_changer
from scheduler.act.intents import act, sendable_intents
from scheduler.clock import Clock
from scheduler.clouds.base import Cloud
from scheduler.clouds.permissions import Permissions
from scheduler.jobs.cycle_log import CycleLog
from scheduler.leadership import Leadership
from scheduler.observe.catalogue import PriceWatch
from scheduler.observe.clock_jump import ClockJumpDetector
from scheduler.observe.provider_stock import ProviderStock
from scheduler.observe.zones import Observer
from scheduler.timing import Timing
from scheduler.views.assemble import assemble_result, meter_runs, post_charges, with_swept_zones
from scheduler.views.snapshot import build_snapshot, build_view


@dataclass(frozen=True, slots=True)
class CycleReport:
    """How a cycle ended: one sentence, what to show, and when the next edge falls."""

    outcome: str
    sentence: str
    view: View | None = None
    sent: int = 0


class Cycle:
    """One daemon's cycle over one book and one cloud; `run` is the whole of it."""

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
        """Run one cycle. Raises only what the loop must hear of (database, programming)."""
        now_s, jump_s = self.clock.now_s(), self.clock_jump.jump_s()
        if jump_s:
            return CycleReport("observed", f"the clock jumped by {jump_s} s: nothing is decided")
        lease = self.lease = self.leadership.lease(now_s)
        if lease is None:
            self.on_standby(now_s)
            return CycleReport("follower", "another daemon leads: standing by")
        self.drain_inbox(now_s)
        state = load_state(self.book)
        if state.program is None:
            return CycleReport("idle", "no program is applied yet: run 'cohortd apply'")
        state = self.prices.apply_prices(with_swept_zones(state), now_s)
        program = state.program
        assert program is not None

        seen = self.observer.observe(program.zones, now_s)
        sweeps = self.prices.mask_unlisted(seen, state, now_s)
        read_s = self.clock.now_s()
        metered = meter_runs(state, sweeps, read_s)
        posting = post_charges(state, metered, now_s)
        stock, cycle_s = self.provider_stock.read_stock(state, now_s), self.timing.cycle_s
        snapshot = build_snapshot(state, sweeps, metered, posting, now_s, cycle_s, stock)
        decided = decide(snapshot)
        closings = decide_access_changes(
            self.permissions, state, decided, snapshot.overrides, now_s
        )

        result = assemble_result(state, sweeps, metered, posting, decided, closings, now_s)
        chain_heads = commit(self.book, result, lease, now_s)
        self.cycle_log.log_commit(chain_heads, result.decisions)

        access_changer = make_access_changer(
            self.permissions, self.book, lease, self.clock, program
        )
        intents = sendable_intents(self.book, state, snapshot.overrides, sweeps)
        sent = act(self.cloud, self.book, lease, self.clock, intents, access_changer)

        closing_view = closing_status(self.permissions, state, snapshot.overrides)
        view = build_view(
            state, snapshot, posting, decided, lease, self.prices.alarms, *closing_view
        )
        self.cycle_log.log_alarms(view.alarms)
        self.publish(view)
        return CycleReport("done", view.sentence, view, sent)

    def reconnect(self, cloud: Cloud, permissions: Permissions | None = None) -> None:
        """Talk to the cloud through other connections from the next cycle on."""
        for reader in (self.observer, self.prices, self.provider_stock):
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
        self.prices = PriceWatch(cloud, self.book, self.timing.read_s)
        self.provider_stock = ProviderStock(cloud, self.timing.read_s)

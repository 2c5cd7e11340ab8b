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
from quotas.book.cycle.state import load
from quotas.book.session import Book
from quotas.enforcement.decide import decide
from quotas.view import View
from scheduler.act.access import closer_of, closings_of, closings_shown
from scheduler.act.intents import act, sendable
from scheduler.clock import Clock
from scheduler.clouds.base import Cloud
from scheduler.clouds.permissions import Permissions
from scheduler.jobs.cycle_log import News
from scheduler.leadership import Lead
from scheduler.observe.catalogue import PriceWatch
from scheduler.observe.clock_jump import StepDetector
from scheduler.observe.provider_stock import StockWatch
from scheduler.observe.zones import Observer
from scheduler.timing import Timing
from scheduler.views.assemble import metered_of, posting_of, result_of, with_zones
from scheduler.views.snapshot import snapshot_of, view_of


@dataclass(frozen=True, slots=True)
class Report:
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
        take_inbox: Callable[[int], int] = lambda _now_s: 0,
        stand_by: Callable[[int], int] = lambda _now_s: 0,
    ) -> None:
        self.book, self.clock, self.holder, self.timing = book, clock, holder, timing
        self.publish, self.take_inbox, self.stand_by = publish, take_inbox, stand_by
        self.lease: Lease | None = None
        self.lead = Lead(book, clock, holder, timing.lease_s)
        self.news, self.steps = News(), StepDetector(clock)
        self._connect(cloud, permissions)

    def run(self) -> Report:
        """Run one cycle. Raises only what the loop must hear of (database, programming)."""
        now_s, stepped_s = self.clock.now_s(), self.steps.stepped_s()
        if stepped_s:
            return Report("observed", f"the clock jumped by {stepped_s} s: nothing is decided")
        lease = self.lease = self.lead.lease(now_s)
        if lease is None:
            self.stand_by(now_s)
            return Report("standby", "another daemon leads: standing by")
        self.take_inbox(now_s)
        state = load(self.book)
        if state.program is None:
            return Report("idle", "no program is applied yet: run 'cohortd apply'")
        state = self.prices.priced(with_zones(state), now_s)
        program = state.program
        assert program is not None

        seen = self.observer.observe(program.zones, now_s)
        sweeps = self.prices.vouched(seen, state, now_s)
        read_s = self.clock.now_s()
        metered = metered_of(state, sweeps, read_s)
        posting = posting_of(state, metered, now_s)
        stock, cycle_s = self.stock.seen(state, now_s), self.timing.cycle_s
        snapshot = snapshot_of(state, sweeps, metered, posting, now_s, cycle_s, stock)
        decided = decide(snapshot)
        closings = closings_of(self.permissions, state, decided, snapshot.words, now_s)

        result = result_of(state, sweeps, metered, posting, decided, closings, now_s)
        heads = commit(self.book, result, lease, now_s)
        self.news.committed(heads, result.decisions)

        closer = closer_of(self.permissions, self.book, lease, self.clock, program)
        intents = sendable(self.book, state, snapshot.words, sweeps)
        sent = act(self.cloud, self.book, lease, self.clock, intents, closer)

        closed = closings_shown(self.permissions, state, snapshot.words)
        view = view_of(state, snapshot, posting, decided, lease, self.prices.alarms, *closed)
        self.news.sound(view.alarms)
        self.publish(view)
        return Report("done", view.sentence, view, sent)

    def use(self, cloud: Cloud, permissions: Permissions | None = None) -> None:
        """Talk to the cloud through other connections from the next cycle on."""
        for reader in (self.observer, self.prices, self.stock):
            reader.close()
        self._connect(cloud, permissions)

    def next_s(self, report: Report) -> int:
        """When the next cycle is due: the regular instant, or an edge before it."""
        now_s = self.clock.now_s()
        edges = report.view.edges if report.view else ()
        return min([now_s + self.timing.cycle_s, *(edge for edge in edges if edge > now_s)])

    def _connect(self, cloud: Cloud, permissions: Permissions | None) -> None:
        self.cloud, self.permissions = cloud, permissions
        self.observer = Observer(cloud, self.timing.sweep_s)
        self.prices = PriceWatch(cloud, self.book, self.timing.read_s)
        self.stock = StockWatch(cloud, self.timing.read_s)

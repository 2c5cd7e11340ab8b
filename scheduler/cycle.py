"""What happens in one cycle? Read this first: it is the map of the program.

observe the clouds -> meter what ran -> charge the books -> decide -> commit, fenced by
the lease -> act -> publish. It looks at the whole truth each time and closes the
distance; there is no second way to the same result. A cycle that dies anywhere leaves
the book as it was, and the next one catches up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import structlog

from quotas.book.commit import Result, commit
from quotas.book.lease import Lease, acquire
from quotas.book.session import Book
from quotas.book.state import State, load, pending_intents
from quotas.charging import Aside, Posting, post_due
from quotas.closing import Closings, closing_alarms, decide_closings, projects_at, seen_as
from quotas.decide import Decided, decide
from quotas.metering import Metered, meter
from quotas.notices import Intent
from quotas.observation import Sweep
from quotas.program import Program
from quotas.rating import rated
from quotas.repricing import with_differences
from quotas.view import View
from quotas.words import EVERYONE, Words, in_mode
from scheduler.act import act
from scheduler.clock import Clock
from scheduler.closing import Closer
from scheduler.clouds.base import Cloud
from scheduler.clouds.permissions import Permissions
from scheduler.observe import Observer
from scheduler.prices import PriceWatch
from scheduler.publish import snapshot_of, view_of
from scheduler.steps import StepDetector

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    """The loop's timing promises, checked when they are put together (promise 6)."""

    cycle_s: int = 30
    cycle_max_s: int = 120
    database_timeout_s: int = 10
    lease_s: int = 180

    def __post_init__(self) -> None:
        if not self.cycle_max_s + 2 * self.database_timeout_s < self.lease_s:
            raise ValueError(
                f"lease of {self.lease_s} s is too short: it must be longer than a whole "
                f"cycle ({self.cycle_max_s} s) and two database timeouts"
            )


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
    ) -> None:
        self.cloud, self.book, self.clock = cloud, book, clock
        self.holder, self.timing, self.publish = holder, timing, publish
        self.permissions, self.take_inbox = permissions, take_inbox
        self.lease: Lease | None = None
        self.alarms: set[str] = set()
        self.observer = Observer(cloud, timing.cycle_max_s / 2)
        self.prices = PriceWatch(cloud, book)
        self.steps = StepDetector(clock)

    def run(self) -> Report:
        """Run one cycle. Raises only what the loop must hear of (database, programming)."""
        now_s, stepped_s = self.clock.now_s(), self.steps.stepped_s()
        self.lease = acquire(self.book, self.holder, now_s, self.timing.lease_s)
        if self.lease is None:
            return Report("standby", "another daemon leads: standing by")
        self.take_inbox(now_s)
        state = load(self.book)
        if state.program is None:
            return Report("idle", "no program is applied yet: run 'cohortd apply'")
        state = self._priced(state, now_s)
        assert state.program is not None
        sweeps = self.observer.observe(state.program.zones, now_s)
        if stepped_s:
            return Report("observed", f"the clock jumped by {stepped_s} s: nothing is decided")
        metered = _metered(state, sweeps.values())
        posting = _posted(state.program, state, metered, now_s)
        snapshot = snapshot_of(state, sweeps, metered, posting, now_s, self.timing.cycle_s)
        decided = decide(snapshot)
        closings = self._closings(state, decided, now_s)
        result = Result(
            sweeps=list(sweeps.values()),
            confirmed=dict(metered.confirmed),
            runs=posting.changed,
            disputes=metered.disputes,
            transfers=with_differences(posting.transfers, state.catalogue.prices),
            decisions=(*decided.decisions, *closings.decisions),
            notices=(*decided.notices, *closings.notices),
            intents=(*decided.intents, *closings.intents),
            mode=state.program.mode,
            requests=decided.requests,
            excesses=decided.excesses,
            priced_with=state.catalogue.prices.newest,
        )
        for head in commit(self.book, result, self.lease, now_s):
            log.info("book.head", **asdict(head))
        for decision in result.decisions:
            log.info(
                f"decision.{decision.verb}",
                startup=decision.startup,
                server=decision.server_id,
                rule=decision.rule,
                reason=decision.reason,
            )
        pending = self._pending(state, now_s)
        sent = act(
            self.cloud,
            self.book,
            self.lease,
            self.clock,
            pending,
            self._closer(state.program, now_s),
        )
        view = view_of(state, snapshot, posting, decided, self.lease, self._alarms(state))
        for alarm in sorted(set(view.alarms) - self.alarms):
            log.warning("alarm", text=alarm)
        self.alarms = set(view.alarms)
        self.publish(view)
        return Report("done", view.sentence, view, sent)

    def _closings(self, state: State, decided: Decided, now_s: int) -> Closings:
        """Whom to close and reopen: nobody without a key for IAM, or outside enforce mode."""
        assert state.program is not None
        if self.permissions is None or state.program.mode != "enforce":
            return Closings((), (), ())
        members = {startup.name for startup in state.program.startups()}
        past = seen_as(state.closings, decided.intents)
        return decide_closings(decided.levels, past, members, now_s)

    def _alarms(self, state: State) -> tuple[str, ...]:
        """What is wrong with prices and with closings."""
        assert state.program is not None
        has_key, mode = self.permissions is not None, state.program.mode
        closings = closing_alarms(state.closings, has_key=has_key, mode=mode)
        return (*self.prices.alarms, *closings)

    def _closer(self, program: Program, now_s: int) -> Closer | None:
        """What carries closings out in this cycle, with the projects that each startup owns."""
        if self.permissions is None or self.lease is None:
            return None
        projects = projects_at(program, now_s)
        return Closer(self.permissions, self.book, self.lease, self.clock, projects)

    def _pending(self, state: State, now_s: int) -> tuple[Intent, ...]:
        """The intents that may be sent: none outside enforce, none in maintenance."""
        words = Words(state.enforcement.words, now_s)
        armed = state.program is not None and state.program.mode == "enforce"
        return pending_intents(self.book) if armed and not words.on("maintenance", EVERYONE) else ()

    def _priced(self, state: State, now_s: int) -> State:
        """The state, read again after a catalogue was."""
        assert state.program is not None
        self.prices.unpriced = any(run.rate_ucr_per_h is None for run in state.runs)
        program = state.program
        factor_max = program.policy.price_factor_max
        read = self.prices.refresh(program.zones, state.catalogue.at(now_s), factor_max, now_s)
        state = load(self.book) if read else state
        words = Words(state.enforcement.words, now_s)
        catalogue = state.catalogue.at(now_s)
        return replace(state, program=in_mode(program, words), catalogue=catalogue)

    def use(self, cloud: Cloud, permissions: Permissions | None = None) -> None:
        """Talk to the cloud through other connections from the next cycle on."""
        self.cloud, self.permissions = cloud, permissions
        self.observer.close()
        self.observer = Observer(cloud, self.timing.cycle_max_s / 2)
        self.prices = PriceWatch(cloud, self.book)

    def next_s(self, report: Report) -> int:
        """When the next cycle is due: the regular instant, or an edge before it."""
        now_s = self.clock.now_s()
        regular_s = now_s + self.timing.cycle_s
        edges = report.view.edges if report.view else ()
        return min([regular_s, *(edge for edge in edges if edge > now_s)])


def _metered(state: State, sweeps: Iterable[Sweep]) -> Metered:
    """What ran, each run at its rate."""
    assert state.program is not None
    program, catalogue = state.program, state.catalogue
    return rated(program, catalogue, meter(program, catalogue, state.runs, state.confirmed, sweeps))


def _posted(program: Program, state: State, metered: Metered, now_s: int) -> Posting:
    """What is posted now, with the holds and debts that the book has."""
    return post_due(program, state.grants, metered, Aside(now_s, state.holds, state.owed))

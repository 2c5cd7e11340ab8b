"""What does the book say of now, without asking the cloud? One answer for everyone who asks.

`cohortd status`, the API and the portal show this; the cycle decides from the same rules,
with what it has just seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quotas.book.cycle.state import BookState
from quotas.decisions.overrides import Overrides, with_effective_mode
from quotas.decisions.prepare import prepare
from quotas.decisions.snapshot import Snapshot, announced_in_mode
from quotas.decisions.zones import with_open_zones
from quotas.ledger.balance import CYCLE_S, balances_of
from quotas.messages.catalogue import level_text
from quotas.metering.stop_latency import reserves_s
from quotas.model.program import Program
from quotas.rules.context import Context
from quotas.rules.pace import Pace
from quotas.rules.registry import find_restriction
from quotas.shares.allocation import Share


@dataclass(frozen=True, slots=True)
class BookStatus:
    """The book's state at an instant with everything that follows from it."""

    state: BookState
    program: Program
    context: Context

    @property
    def snapshot(self) -> Snapshot:
        """What the rules read of the book."""
        return self.context.snapshot

    @property
    def paces(self) -> Mapping[str, Pace]:
        """The pace of each startup."""
        return self.context.paces

    @property
    def shares(self) -> tuple[Share, ...]:
        """The pools as they are divided."""
        return self.context.shares

    def level(self, startup: str) -> tuple[str, str]:
        """Its level, and why; pace counts too."""
        return level_text(find_restriction(self.context, startup))

    def shares_of(self, startup: str) -> tuple[Share, ...]:
        """What the division gives it in each pool."""
        return tuple(self.context.shares_by_startup.get(startup, ()))


def compute_book_status(state: BookState, now_s: int, cycle_s: int = CYCLE_S) -> BookStatus:
    """What stands at an instant, or where the book lies ahead of the clock, at its own."""
    assert state.program is not None
    now_s = max([now_s, *state.confirmed.values()])  # a kept demo's book lies in the future
    program = with_open_zones(state.program, state.runs, state.notices, state.intents)
    program = with_effective_mode(program, Overrides(state.enforcement.overrides, now_s))
    state = replace(state, catalogue=state.catalogue.at(now_s))
    names = {s.name for s in program.startups()} | {grant.startup for grant in state.grants}
    names |= {run.startup for run in state.runs}
    measured, reserved_s = reserves_s(program.policy, names, state.runs, state.stops, cycle_s)
    balances = balances_of(
        reserved_s,
        now_s,
        state.grants,
        state.runs,
        state.confirmed,
        state.holds,
    )
    snapshot = Snapshot(
        now_s=now_s,
        program=program,
        catalogue=state.catalogue,
        sweeps={},
        confirmed=state.confirmed,
        runs={run.id: run for run in state.runs},
        balances=balances,
        notices=state.notices,
        intents=state.intents,
        announced=announced_in_mode(state.announced, program.mode),
        stop_latency_s=program.policy.stop_latency_s,
        measured_latency_s=measured,
        requests=state.requests,
        overuses=state.overuses,
        recent=state.recent,
        charged=state.charged,
        enforcement=state.enforcement,
    )
    # The overuses stay those of the last cycle: the book alone does not show the servers.
    context = replace(prepare(snapshot, state.requests), overuses=state.overuses)
    return BookStatus(state, program, context)

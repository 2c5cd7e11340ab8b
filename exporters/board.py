"""Where does a startup stand, from one instant? What the API, the portal and people are shown.

A board is made from one read of the book, through the same rules as the cycle: paces,
the division, levels. It is made once for each version of the book, never for a request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from quotas.balances import Balance, balances_of
from quotas.book.state import State
from quotas.division import Share, divide, usage_of
from quotas.latency import latencies_s
from quotas.ledger import GrantBalance
from quotas.levels import level
from quotas.metering import Run
from quotas.notices import Notice
from quotas.pace import Pace, limits, paced_level, paces
from quotas.program import Cohort, Program
from quotas.requests import asked_of
from quotas.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Expiry:
    """Credit that ends unused at an instant, as far as it is left by now."""

    grant: str
    amount_ucr: int
    expires_s: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One startup at `balance.as_of_s`. `cohort` is None once it left the program."""

    name: str
    cohort: Cohort | None
    known_until_s: int | None
    level: str
    level_reason: str
    balance: Balance
    pace: Pace | None
    charged_ucr: int
    disputed_ucr: int
    expiring_next: Expiry | None
    runs: tuple[Run, ...]
    notices: tuple[Notice, ...]


class Board:
    """Every startup at one instant, from one read of the book."""

    def __init__(self, state: State, program: Program, now_s: int, cycle_s: int) -> None:
        # A simulated program's book may lie ahead of the clock.
        self.at_s = max([now_s, *state.confirmed.values()])
        state = replace(state, catalogue=state.catalogue.at(self.at_s))
        self.state, self.program = state, program
        self.known_until_s = min(state.confirmed.values(), default=None)
        policy = program.policy
        _, slowest_s = latencies_s(state.runs, state.stops, policy.stop_latency_s)
        self._slowest_s, self._reserve_s = slowest_s, policy.minimum_notice_s + cycle_s
        self._grants: dict[str, list[GrantBalance]] = defaultdict(list)
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._notices: dict[str, list[Notice]] = defaultdict(list)
        for grant in state.grants:
            self._grants[grant.startup].append(grant)
        for run in state.runs:
            self._runs[run.startup].append(run)
        for notice in state.notices:
            self._notices[notice.startup].append(notice)
        self._snapshot = self._seen()
        self._paces = paces(self._snapshot)
        self._shares = self._divided()

    def names(self) -> tuple[str, ...]:
        """Every startup of the program, and those that left with books of their own."""
        return tuple(sorted({s.name for s in self.program.startups()} | self._grants.keys()))

    def standing(self, name: str) -> Standing:
        """Where one startup stands."""
        entry, pace = self.program.startup(name), self._paces.get(name)
        reached = level(self._snapshot, name, self._shares.get(name, ()))
        word, why = paced_level(reached, pace)
        return Standing(
            name=name,
            cohort=self.program.cohort(entry.cohort) if entry else None,
            known_until_s=self.known_until_s,
            level=word,
            level_reason=why,
            balance=self._snapshot.balances[name],
            pace=pace,
            charged_ucr=self.state.charged.get(name, 0),
            disputed_ucr=self.state.disputed.get(name, 0),
            expiring_next=self._expiring_next(name),
            runs=tuple(run for run in self._runs.get(name, ()) if run.end_s is None),
            notices=tuple(self._notices.get(name, ())),
        )

    def shares(self, name: str) -> tuple[Share, ...]:
        """What the division gives one startup in each pool."""
        return self._shares.get(name, ())

    def _divided(self) -> Mapping[str, tuple[Share, ...]]:
        found: dict[str, list[Share]] = defaultdict(list)
        for share in divide(
            self.program,
            self.state.catalogue,
            self._snapshot.balances,
            usage_of(self.program, self.state.runs),
            self.at_s,
            asked_of(self.state.requests),
            limits(self._snapshot, self._paces),
        ):
            found[share.startup].append(share)
        return {name: tuple(own) for name, own in found.items()}

    def _expiring_next(self, name: str) -> Expiry | None:
        ahead = [g for g in self._grants.get(name, ()) if g.expires_s > self.at_s and g.left_ucr]
        if not ahead:
            return None
        first = min(ahead, key=lambda g: (g.expires_s, g.created))
        return Expiry(first.id, first.left_ucr, first.expires_s)

    def _reserved_s(self, name: str) -> int:
        """Time of an orderly stop: the notice, a cycle, and the slowest server that it runs."""
        return self._reserve_s + self._slowest_s.get(name, self.program.policy.stop_latency_s)

    def _seen(self) -> Snapshot:
        state = self.state
        return Snapshot(
            now_s=self.at_s,
            program=self.program,
            sweeps={},
            confirmed=state.confirmed,
            runs={run.id: run for run in state.runs},
            balances=balances_of(
                {name: self._reserved_s(name) for name in self.names()},
                self.at_s,
                state.grants,
                state.runs,
                state.confirmed,
                state.holds,
                state.owed,
            ),
            notices=state.notices,
            intents=state.intents,
            told=state.told,
            stop_latency_s=self.program.policy.stop_latency_s,
            catalogue=state.catalogue,
            requests=state.requests,
            excesses=state.excesses,
            recent=state.recent,
            charged=state.charged,
            enforcement=state.enforcement,
        )

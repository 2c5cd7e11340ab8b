"""Where does a startup stand, from one instant? What the API, the portal and people are shown.

A board is made from one read of the book; what it says of a startup is worked out when
asked, from that startup's own rows, so that 10,000 startups cost nothing until they ask.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from quotas.balances import Balance, balance
from quotas.book.state import State
from quotas.division import Share, divide, usage_of
from quotas.ledger import GrantBalance
from quotas.levels import level
from quotas.metering import Run
from quotas.notices import Notice
from quotas.pacing import Curve, allowance_ucr
from quotas.program import Cohort, Program
from quotas.requests import asked_of
from quotas.snapshot import Snapshot
from quotas.units import Period


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
    allowance_ucr: int
    charged_ucr: int
    disputed_ucr: int
    expiring_next: Expiry | None
    runs: tuple[Run, ...]
    notices: tuple[Notice, ...]


class Board:
    """Every startup at one instant, from one read of the book."""

    def __init__(self, state: State, program: Program, now_s: int, cycle_s: int) -> None:
        self.state, self.program = state, program
        # A simulated program's book may lie ahead of the clock.
        self.at_s = max([now_s, *state.confirmed.values()])
        self.known_until_s = min(state.confirmed.values(), default=None)
        policy = program.policy
        self._reserve_s = policy.minimum_notice_s + cycle_s + policy.stop_latency_s
        self._grants: dict[str, list[GrantBalance]] = defaultdict(list)
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._notices: dict[str, list[Notice]] = defaultdict(list)
        self._shares: Mapping[str, tuple[Share, ...]] | None = None
        self._dividing = threading.Lock()
        for grant in state.grants:
            self._grants[grant.startup].append(grant)
        for run in state.runs:
            self._runs[run.startup].append(run)
        for notice in state.notices:
            self._notices[notice.startup].append(notice)

    def names(self) -> tuple[str, ...]:
        """Every startup of the program, and those that left with books of their own."""
        return tuple(sorted({s.name for s in self.program.startups()} | self._grants.keys()))

    def balance(self, name: str) -> Balance:
        """The credits of one startup."""
        return balance(
            name,
            self.at_s,
            self._grants.get(name, ()),
            self._runs.get(name, ()),
            dict(self.state.confirmed),
            self._reserve_s,
        )

    def standing(self, name: str) -> Standing:
        """Where one startup stands."""
        own = self.balance(name)
        entry = self.program.startup(name)
        cohort = self.program.cohort(entry.cohort) if entry else None
        term = Period(cohort.starts_s, cohort.ends_s) if cohort else None
        granted_ucr = own.granted_ucr
        word, why = level(self._snapshot(name, own), name)
        return Standing(
            name=name,
            cohort=cohort,
            known_until_s=self.known_until_s,
            level=word,
            level_reason=why,
            balance=own,
            allowance_ucr=allowance_ucr(granted_ucr, term, self.at_s, Curve.FLAT) if term else 0,
            charged_ucr=self.state.charged.get(name, 0),
            disputed_ucr=self.state.disputed.get(name, 0),
            expiring_next=self._expiring_next(name),
            runs=tuple(run for run in self._runs.get(name, ()) if run.end_s is None),
            notices=tuple(self._notices.get(name, ())),
        )

    def shares(self) -> Mapping[str, tuple[Share, ...]]:
        """Every startup's shares: one division of all pools, made when first asked."""
        with self._dividing:
            if self._shares is None:
                self._shares = self._divided()
            return self._shares

    def _divided(self) -> Mapping[str, tuple[Share, ...]]:
        balances = {name: self.balance(name) for name in self.names()}
        usage = usage_of(self.program, self.state.runs)
        found: dict[str, list[Share]] = defaultdict(list)
        asked = asked_of(self.state.requests)
        catalogue = self.state.catalogue
        for share in divide(self.program, catalogue, balances, usage, self.at_s, asked):
            found[share.startup].append(share)
        return {name: tuple(own) for name, own in found.items()}

    def _expiring_next(self, name: str) -> Expiry | None:
        ahead = [g for g in self._grants.get(name, ()) if g.expires_s > self.at_s and g.left_ucr]
        if not ahead:
            return None
        first = min(ahead, key=lambda g: (g.expires_s, g.created))
        return Expiry(first.id, first.left_ucr, first.expires_s)

    def _snapshot(self, name: str, own: Balance) -> Snapshot:
        return Snapshot(
            now_s=self.at_s,
            program=self.program,
            sweeps={},
            confirmed=self.state.confirmed,
            runs={run.id: run for run in self._runs.get(name, ())},
            balances={name: own},
            notices=self.state.notices,
            intents=(),
            told=self.state.told,
            stop_latency_s=self.program.policy.stop_latency_s,
            catalogue=self.state.catalogue,
        )

"""The status of every startup at one instant, for the API and the portal.

A status is built from one read of the book, by the same rules as the cycle: paces, shares, levels.
It is built once for each version of the book, never for a request.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from quotas.book.cycle.state import BookState
from quotas.book.reads.present import compute_book_status
from quotas.decisions.notices import Notice
from quotas.decisions.zones import known_until_s
from quotas.ledger.balance import Balance
from quotas.metering.runs import Run
from quotas.model.program import Cohort
from quotas.rules.pace import Pace
from quotas.shares.allocation import Share


@dataclass(frozen=True, slots=True)
class StartupStatus:
    """One startup at `balance.as_of_s`. `cohort` is None after it left the program."""

    name: str
    cohort: Cohort | None
    known_until_s: int | None
    level: str
    level_reason: str
    balance: Balance
    pace: Pace | None
    charged_ucr: int
    unconfirmed_ucr: int
    runs: tuple[Run, ...]
    notices: tuple[Notice, ...]


class ProgramStatus:
    """Every startup at one instant, from one read of the book."""

    def __init__(self, state: BookState, now_s: int, cycle_s: int) -> None:
        self._present = compute_book_status(state, now_s, cycle_s)
        self.state, self.program = self._present.state, self._present.program
        self.at_s = self._present.snapshot.now_s
        self.known_until_s = known_until_s(self.program, self.state.confirmed)
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._notices: dict[str, list[Notice]] = defaultdict(list)
        for run in state.runs:
            self._runs[run.startup].append(run)
        for notice in state.notices:
            self._notices[notice.startup].append(notice)

    def names(self) -> tuple[str, ...]:
        """Every startup of the program, and former members that still have books."""
        return tuple(self._present.snapshot.balances)

    def status(self, name: str) -> StartupStatus:
        """The status of one startup."""
        entry = self.program.startup(name)
        word, why = self._present.level(name)
        return StartupStatus(
            name=name,
            cohort=self.program.cohort(entry.cohort) if entry else None,
            known_until_s=self.known_until_s,
            level=word,
            level_reason=why,
            balance=self._present.snapshot.balances[name],
            pace=self._present.paces.get(name),
            charged_ucr=self.state.charged.get(name, 0),
            unconfirmed_ucr=self.state.unconfirmed.get(name, 0),
            runs=tuple(run for run in self._runs.get(name, ()) if run.end_s is None),
            notices=tuple(self._notices.get(name, ())),
        )

    def shares(self, name: str) -> tuple[Share, ...]:
        """The shares of one startup, one for each pool."""
        return self._present.shares_of(name)

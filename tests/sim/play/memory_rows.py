"""The rows of the book in memory, and what a cycle reads of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace

from quotas.book.cycle.lease import Lease
from quotas.book.cycle.state import MAX_STOPS, BookState
from quotas.iam.closing import closed_by
from quotas.ledger.forecast import WINDOWS_S
from quotas.ledger.holds import Hold
from quotas.ledger.transfers import GrantBalance, Transfer
from quotas.metering.prices import Prices
from quotas.metering.runs import Catalogue, Run, UnconfirmedPeriod
from quotas.metering.stop_latency import MeasuredStop
from quotas.model.program import Program
from quotas.state.notices import LIVE_NOTICES, Intent, Notice
from quotas.state.overrides import Override
from quotas.state.requests import Request
from quotas.state.snapshot import (
    COUNTED_STATES,
    WINDOW_S,
    CountedStop,
    Decision,
    Enforcement,
    Overuse,
)

MAX_ID = chr(0x10FFFF)
"""Sorts after every id."""


@dataclass(frozen=True, slots=True)
class PostedTransfer:
    """A transfer as the book keeps it."""

    transfer: Transfer
    recorded_s: int
    epoch: int
    actor: str


class InMemoryRows:
    """The rows of the book, by the keys that find them. No row is ever deleted."""

    def __init__(self) -> None:
        self.program: Program | None = None
        self.version = 0
        self.prices = Prices()
        self.gpus: dict[str, int] = {}
        self.scratch_bytes: dict[str, int] = {}
        self.confirmed: dict[str, int] = {}
        self.runs: dict[str, Run] = {}
        self.unposted: dict[str, Run] = {}
        self.recent: dict[str, Run] = {}
        self.grants: dict[str, GrantBalance] = {}
        self.balances: dict[str, int] = defaultdict(int)
        self.posted: dict[str, PostedTransfer] = {}
        self.decisions: list[tuple[int, str, Decision]] = []
        self.notices: dict[int, Notice] = {}
        self.live: dict[int, Notice] = {}
        self.past: dict[tuple[str, str, str], Notice] = {}
        self.announced: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.stopped: dict[int, tuple[str, str]] = {}
        self.first_announced_s: dict[tuple[str, str], int] = {}
        self.closing_history: list[Notice] = []
        self.intents: dict[int, Intent] = {}
        self.active: dict[int, Intent] = {}
        self.requests: dict[int, Request] = {}
        self.overuses: dict[tuple[str, str], Overuse] = {}
        self.unconfirmed_periods: dict[tuple[str, int], UnconfirmedPeriod] = {}
        self.unconfirmed: dict[str, int] = defaultdict(int)
        self.gpus_of: dict[str, int] = {}
        self.runs_of: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.overrides: list[Override] = []
        self.holds: dict[str, Hold] = {}
        self.lease: Lease | None = None
        self.took: tuple[MeasuredStop, ...] | None = None
        self.halted: set[str] = set()

    def state(self) -> BookState:
        """The answer of `quotas.book.cycle.state.load_state`."""
        return BookState(
            program=self.program,
            program_version=self.version,
            catalogue=self._catalogue(),
            confirmed=dict(self.confirmed),
            runs=tuple(self.unposted.values()),
            grants=self._grants(),
            notices=tuple(n for n in self.live.values() if n.state in LIVE_NOTICES),
            intents=tuple(self._known_intents()),
            # Only in enforce mode a notice stops anything.
            announced={m: frozenset(announced) for m, announced in self.announced.items()}
            | {"enforce": frozenset(self.announced["enforce"].union(self.stopped.values()))},
            charged=self._sums("usage:"),
            unconfirmed=dict(self.unconfirmed),
            overdraft={cohort: -ucr for cohort, ucr in self._sums("overdraft:").items()},
            holds=tuple(self.holds[id] for id in sorted(self.holds)),
            stops=self._measured() if self.took is None else self.took,
            requests=tuple(r for r in self.requests.values() if r.is_live),
            overuses=tuple(self.overuses[key] for key in sorted(self.overuses)),
            closing_history={},
            recent=self._recent(),
            enforcement=self._enforcement(),
            newest_transfer=len(self.posted),
        )

    def pending(self) -> tuple[Intent, ...]:
        """The intents that wait for their call."""
        return tuple(i for i in self.active.values() if i.state == "pending")

    def _grants(self) -> tuple[GrantBalance, ...]:
        for account, grant in self.grants.items():
            if grant.left_ucr != self.balances[account]:
                self.grants[account] = replace(grant, left_ucr=self.balances[account])
        return tuple(self.grants.values())

    def _known_intents(self) -> list[Intent]:
        gone = [
            id
            for id, intent in self.active.items()
            if not intent.is_live and intent.notice_id not in self.live
        ]
        for id in gone:
            del self.active[id]
        return list(self.active.values())

    def _sums(self, prefix: str) -> dict[str, int]:
        return {
            account.removeprefix(prefix): ucr
            for account, ucr in self.balances.items()
            if account.startswith(prefix)
        }

    def _catalogue(self) -> Catalogue:
        newest = {flavor: versions[-1] for flavor, versions in self.prices.versions.items()}
        rates = {flavor: version.rate_ucr_per_h for flavor, version in newest.items()}
        return Catalogue(rates, dict(self.gpus), self.prices, dict(self.scratch_bytes))

    def _measured(self) -> tuple[MeasuredStop, ...]:
        found: list[MeasuredStop] = []
        for intent in reversed(self.intents.values()):
            if intent.state == "confirmed" and intent.sent_s and intent.ended_s is not None:
                last = self._ended_by(intent.server_id, intent.sent_s)
                if last is not None:
                    took_s = intent.ended_s - intent.sent_s
                    found.append(MeasuredStop(last.flavor, took_s, last.end_error_s))
            if len(found) == MAX_STOPS:
                break
        self.took = tuple(found)
        return self.took

    def _ended_by(self, server_id: str, sent_s: int) -> Run | None:
        """The last run of a server that began before a stop was sent and ended after it."""
        own = self.runs_of[server_id]
        for start_s, id in reversed(own[: bisect_right(own, (sent_s, MAX_ID))]):
            run = self.runs[id]
            assert run.start_s == start_s, "a run's start is part of its id"
            if run.end_s is not None and sent_s <= run.end_s + run.end_error_s:
                return run
        return None

    def _recent(self) -> tuple[Run, ...]:
        since_s = max(self.confirmed.values(), default=0) - max(WINDOWS_S)
        old = [id for id, run in self.recent.items() if (run.end_s or 0) <= since_s]
        for id in old:
            del self.recent[id]
        return tuple(self.recent[id] for id in sorted(self.recent))

    def _enforcement(self) -> Enforcement:
        newest = {(override.family, override.subject): override for override in self.overrides}
        return Enforcement(
            overrides=tuple(newest.values()),
            stops=self._stops(),
            first_announced_s=dict(self.first_announced_s),
            past=tuple(sorted(self.past.values(), key=lambda n: n.id or 0)),
            closed=closed_by((n.startup, n.mode, n.episode) for n in self.closing_history),
        )

    def _stops(self) -> tuple[CountedStop, ...]:
        found: list[Intent] = []
        for intent in reversed(self.intents.values()):
            if intent.action == "poweroff" and intent.state in COUNTED_STATES:
                if found and intent.decided_s <= found[0].decided_s - WINDOW_S:
                    break
                found.append(intent)
        return tuple(
            CountedStop(
                self.notices[i.notice_id or 0], self.gpus_of.get(i.server_id, 0), i.decided_s
            )
            for i in reversed(found)
        )

"""A book in memory: Python objects instead of the SQL of `quotas.book`, for thousands of plays.

It returns the same BookState and takes the same CycleResult as the real book, so the same
cycle runs on both. A test compares the ledgers of both.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quotas.book.cycle.catalogues import CatalogueNeeds
from quotas.book.cycle.commit import UPDATED_COLUMNS, CycleResult, StaleNotice
from quotas.book.cycle.lease import Lease, StaleEpoch
from quotas.book.cycle.state import MAX_STOPS, BookState
from quotas.book.transfers import OVERDRAWABLE, StaleBalance
from quotas.iam.closing import RULE, closed_by
from quotas.ledger.forecast import WINDOWS_S
from quotas.ledger.holds import Hold
from quotas.ledger.tranches import parts
from quotas.ledger.transfers import GrantBalance, Transfer, grant_account, grant_transfer
from quotas.metering.prices import STARTUP, Prices, Step, Version, is_believable
from quotas.metering.runs import Catalogue, Run, UnconfirmedPeriod
from quotas.metering.stop_latency import MeasuredStop
from quotas.model.observation import Offer
from quotas.model.program import Program
from quotas.model.units import cost_ucr
from quotas.state.notices import LIVE_NOTICES, NOTICES_WITH_INTENTS, Intent, Notice
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
from quotas.state.zones import open_zones, with_zones

MAX_ID = chr(0x10FFFF)
"""Sorts after every id."""
ENDS_A_HOLD = frozenset({"settle", "hold-void", "hold-expiry"})
TOLD_BY_CREDITS = frozenset({"executing", "executed", "restarting"})


@dataclass(frozen=True, slots=True)
class PostedTransfer:
    """A transfer as the book keeps it."""

    transfer: Transfer
    recorded_s: int
    epoch: int
    actor: str


class InMemoryBook:
    """Rows by the keys that find them; nothing is ever deleted."""

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

    # -- reading ------------------------------------------------------------------------

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

    # -- writing ------------------------------------------------------------------------

    def fence(self, lease: Lease) -> None:
        """Refuse a stale epoch."""
        assert self.lease is not None, "a cycle writes under a lease"
        if self.lease.epoch != lease.epoch:
            raise StaleEpoch(f"epoch {lease.epoch} was superseded by {self.lease.epoch}")

    def acquire(
        self, holder: str, now_s: int, length_s: int, expired_lease: Lease | None = None
    ) -> Lease | None:
        """The lease, taken or renewed; None while another daemon holds a live one."""
        old = self.lease
        if (
            old is not None
            and old.holder != holder
            and old.expires_s > now_s
            and old != expired_lease
        ):
            return None
        renewed = old is not None and old.holder == holder and old.expires_s > now_s
        self.lease = Lease(holder, (old.epoch if old else 0) + (not renewed), now_s + length_s)
        return self.lease

    def commit(self, result: CycleResult, lease: Lease, now_s: int) -> tuple[Any, ...]:
        """Keep a cycle's whole result, or nothing."""
        self.fence(lease)
        self._refuse_overtaken(result.notices)
        self.post(result.transfers, now_s, lease.epoch, "cohortd")
        for run in result.runs:
            self._keep_run(run)
        for unconfirmed_period in result.unconfirmed_periods:
            self._keep_unconfirmed(unconfirmed_period)
        self.confirmed |= result.confirmed
        self.decisions += [(now_s, result.mode, each) for each in result.decisions]
        self._save_notices(result.notices)
        self._save_intents(result.intents)
        for request in result.requests:
            assert request.id is not None
            self.requests[request.id] = _moved(self.requests[request.id], request)
        for overuse in result.overuses:
            self.overuses[overuse.startup, overuse.pool] = overuse
            if overuse.ended_s is not None:
                del self.overuses[overuse.startup, overuse.pool]
        return ()

    def _refuse_overtaken(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            known = self.notices.get(notice.id or 0)
            if known and notice.state == "executing" and known.deadline_s > notice.deadline_s:
                raise StaleNotice(f"notice {notice.id} was snoozed while this cycle decided")

    def save_intents(self, intents: Iterable[Intent], lease: Lease) -> None:
        """Keep the outcome of intents after their calls."""
        self.fence(lease)
        self._save_intents(intents)

    def post(self, transfers: Sequence[Transfer], now_s: int, epoch: int, actor: str) -> None:
        """Append new transfers; refuse to overdraw."""
        fresh = [transfer for transfer in transfers if transfer.key not in self.posted]
        moved: dict[str, int] = defaultdict(int)
        for transfer in fresh:
            for entry in transfer.entries:
                moved[entry.account] += entry.amount_ucr
        for account, ucr in moved.items():
            falls = ucr < 0 and self.balances[account] + ucr < 0
            if falls and not account.startswith(OVERDRAWABLE):
                raise StaleBalance(f"{account} would fall below zero")
        for account, ucr in moved.items():
            self.balances[account] += ucr
        for transfer in fresh:
            self.posted[transfer.key] = PostedTransfer(transfer, now_s, epoch, actor)
            if transfer.kind in ENDS_A_HOLD:
                self.holds.pop(str(transfer.detail["hold"]), None)

    def apply(self, program: Program, now_s: int) -> None:
        """Put a program in force, and post its grants once."""
        self.program, self.version = program, self.version + 1
        for startup in program.startups():
            for each in startup.grants:
                for part in parts(each):
                    terms = (each.priority, part.effective_s, part.expires_s)
                    of = (startup.cohort, startup.name, part.id)
                    self.grant(*of, part.amount_ucr, terms, now_s)
                    rolls = {"rolls_to": part.rolls_to, "rollover": part.rollover}
                    account = grant_account(startup.name, part.id)
                    self.grants[account] = replace(self.grants[account], **rolls)

    def grant(
        self,
        cohort: str,
        startup: str,
        id: str,
        amount_ucr: int,
        terms: tuple[int, int, int],
        now_s: int,
    ) -> None:
        """Post a grant with its priority, start and end, once for each id."""
        made = grant_transfer(cohort, startup, id, amount_ucr, terms[1])
        if made.key not in self.posted:
            new = GrantBalance(
                startup, cohort, id, *terms, len(self.grants) + 1, amount_ucr, amount_ucr
            )
            self.grants[new.account] = new
            self.post([made], now_s, 0, "operator")

    def catalogue_needs(self) -> CatalogueNeeds:
        """What `quotas.book.cycle.catalogues.read_catalogue_needs` would answer."""
        if self.program is None:
            return CatalogueNeeds()
        runs = self.unposted.values()
        notices = [n for n in self.live.values() if n.state in LIVE_NOTICES]
        zones = open_zones(runs, notices, self.active.values())
        is_unpriced = any(run.rate_ucr_per_h is None for run in runs)
        return CatalogueNeeds(with_zones(self.program, zones).zones, is_unpriced)

    def save_catalogue(self, lease: Lease, offers: Sequence[Offer], now_s: int) -> None:
        """Remember what is sold and listed, and the first rate of each flavor."""
        self.fence(lease)
        rates = self._catalogue().at(now_s).rates_ucr_per_h
        self.gpus |= {offer.flavor: offer.gpus for offer in offers}
        self.scratch_bytes |= {offer.flavor: offer.scratch_bytes for offer in offers}
        versions, listings = dict(self.prices.versions), dict(self.prices.listings)
        for offer in offers:
            if not is_believable(offer, rates):
                continue
            rate, last = offer.rate_ucr_per_h, listings.get(offer.flavor, ())
            is_news = not last or (last[-1].rate_ucr_per_h != rate and now_s > last[-1].from_s)
            if rate is None or not is_news:
                continue
            listings[offer.flavor] = (*last, Step(now_s, rate))
            first = Version(len(versions) + 1, now_s, rate, now_s, STARTUP)
            versions.setdefault(offer.flavor, (first,))
        if (versions, listings) != (self.prices.versions, self.prices.listings):
            self.prices = Prices(versions, listings)

    def _keep_unconfirmed(self, unconfirmed_period: UnconfirmedPeriod) -> None:
        key = (unconfirmed_period.server_id, unconfirmed_period.period.start_s)
        for each, sign in ((self.unconfirmed_periods.get(key), -1), (unconfirmed_period, 1)):
            if each is not None:
                cost = cost_ucr(each.rate_ucr_per_h or 0, each.period.start_s, each.period)
                self.unconfirmed[each.startup] += sign * cost
        self.unconfirmed_periods[key] = unconfirmed_period

    def _keep_run(self, run: Run) -> None:
        if run.id not in self.runs:
            insort(self.runs_of[run.server_id], (run.start_s, run.id))
        self.runs[run.id] = run
        if run.end_s is not None and run.server_id in self.halted:
            self.took = None
        self.gpus_of[run.server_id] = max(run.gpus, self.gpus_of.get(run.server_id, 0))
        if run.end_s is None or run.end_s > run.posted_until_s:
            self.unposted[run.id] = run
            return
        self.unposted.pop(run.id, None)
        if run.end_s == run.posted_until_s:
            self.recent[run.id] = run

    def _save_notices(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            id = notice.id or len(self.notices) + 1
            known = self.notices.get(id)
            kept = _moved(known, notice) if known else replace(notice, id=id)
            if known and notice.deadline_s > known.deadline_s:
                kept = replace(kept, deadline_s=notice.deadline_s, facts=notice.facts)
            self.notices[id] = kept
            self.live.pop(id, None)
            if kept.state in NOTICES_WITH_INTENTS:
                self.live[id] = kept
            if kept.state == "announced":
                self.announced[kept.mode].add((kept.startup, kept.episode))
            if kept.rule == RULE and known is None:
                self.closing_history.append(kept)
            if kept.rule == "credits":
                self.stopped.pop(id, None)
                if kept.state in TOLD_BY_CREDITS:
                    self.stopped[id] = (kept.startup, kept.episode)
            if kept.rule == "runway" and kept.state == "announced" and kept.mode == "enforce":
                key = (kept.startup, kept.episode.rpartition(":")[2])
                self.first_announced_s[key] = min(
                    kept.opened_s, self.first_announced_s.get(key, kept.opened_s)
                )
            last = self.past.get(kept.subject)
            if kept.off_s is not None and (last is None or (last.id or 0) <= id):
                self.past[kept.subject] = kept
        self.live = dict(sorted(self.live.items()))

    def _save_intents(self, intents: Iterable[Intent]) -> None:
        for intent in intents:
            id = intent.id or len(self.intents) + 1
            known = self.intents.get(id)
            kept = _moved(known, intent) if known else replace(intent, id=id)
            if kept.state == "confirmed":
                self.halted.add(kept.server_id)
                self.took = None
            self.intents[id] = self.active[id] = kept


def _moved(before: Any, after: Any) -> Any:
    """The row after an UPDATE of the columns that may change. Its state follows its table."""
    assert before.state in after.stored_states, f"{before} changed to {after.state}"
    named = {name: getattr(after, name) for name in UPDATED_COLUMNS if hasattr(before, name)}
    return replace(before, **named)

"""A book in memory: Python objects instead of the SQL of `quotas.book`, for thousands of plays.

It returns the same BookState and takes the same CycleResult as the real book, so the same
cycle runs on both. A test compares the ledgers of both.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from quotas.book.cycle.catalogues import CatalogueNeeds
from quotas.book.cycle.commit import UPDATED_COLUMNS, CycleResult, StaleNotice
from quotas.book.cycle.lease import Lease, StaleEpoch
from quotas.book.transfers import OVERDRAWABLE, StaleBalance
from quotas.iam.closing import RULE
from quotas.ledger.tranches import parts
from quotas.ledger.transfers import GrantBalance, Transfer, grant_account, grant_transfer
from quotas.metering.prices import STARTUP, Prices, Step, Version, is_believable
from quotas.metering.runs import Run, UnconfirmedPeriod
from quotas.model.observation import Offer
from quotas.model.program import Program
from quotas.model.units import cost_ucr
from quotas.state.notices import LIVE_NOTICES, NOTICES_WITH_INTENTS, Intent, Notice
from quotas.state.zones import open_zones, with_zones

from .memory_rows import InMemoryRows, PostedTransfer

ENDS_A_HOLD = frozenset({"settle", "hold-void", "hold-expiry"})
TOLD_BY_CREDITS = frozenset({"executing", "executed", "restarting"})


class InMemoryBook(InMemoryRows):
    """The writes of the book: the lease, commits, transfers, programs and catalogues."""

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
        """Keep the offers and listings, and the first rate of each flavor."""
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

"""The tie-out: compares what was charged with the seconds that the region itself counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from quotas.book import Book
from quotas.book.reads.audit import (
    account_sums,
    read_runs,
    read_unconfirmed_periods,
    refunded_sums,
    transfer_counts,
)
from quotas.book.verify.verify import verify
from quotas.metering.runs import Catalogue
from quotas.model.program import Program
from quotas.model.units import Period, cost_ucr
from scheduler.views.json_fields import json_fields


@dataclass(frozen=True, slots=True)
class Truth:
    """A billable stretch of a server as the simulated region itself knows it."""

    project_id: str
    flavor: str
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class TieOut:
    """Sums of a whole program in ucr; `bound_ucr` is what the recorded errors allow.

    `startups` has what each was charged, what the region counted, and the bound, in ucr.
    """

    granted_ucr: int
    charged_ucr: int
    left_ucr: int
    expired_ucr: int
    overdraft_ucr: int
    settled_ucr: int
    held_ucr: int
    refunded_ucr: int
    truth_ucr: int
    bound_ucr: int
    unconfirmed_ucr: int
    fault: str | None
    startups: Mapping[str, tuple[int, int, int]]
    transfers: Mapping[str, int]

    @property
    def conserves(self) -> bool:
        """granted + overdraft = charged + settled + left + held + expired, to the micro-credit."""
        spent_ucr = self.charged_ucr + self.settled_ucr + self.expired_ucr
        return self.granted_ucr + self.overdraft_ucr == spent_ucr + self.left_ucr + self.held_ucr

    @property
    def matches(self) -> bool:
        """Whether every startup's charges lie within the bounds recorded for its runs."""
        return all(abs(charged - true) <= bound for charged, true, bound in self.startups.values())

    @property
    def is_sharp(self) -> bool:
        """Whether charges miss the region's own by at most 0.1 %, and as little is unconfirmed."""
        metered_ucr = self.charged_ucr + self.refunded_ucr
        missed_ucr = max(abs(metered_ucr - self.truth_ucr), self.unconfirmed_ucr)
        return missed_ucr * 1000 <= self.truth_ucr

    @property
    def ok(self) -> bool:
        """The books conserve, match the world, and verify."""
        return self.conserves and self.matches and self.is_sharp and self.fault is None

    def as_json(self) -> dict[str, Any]:
        """For `demo --json`; credits as decimal strings."""
        amounts = " ".join(each.name for each in fields(self) if each.name.endswith("_ucr"))
        return {
            **json_fields(self, f"{amounts} fault"),
            "transfers": dict(self.transfers),
            "tie_out": self.ok,
            "verified": self.fault is None,
        }


def tie_out(book: Book, program: Program, catalogue: Catalogue, truth: Iterable[Truth]) -> TieOut:
    """Compare the book with the truth, startup by startup.

    The rates are the accepted ones: list prices at the cohort's start (prices = "fixed").
    """
    true, bound = Counter[str](), Counter[str]()
    for each in truth:
        owner = program.owner(each.project_id, each.start_s)
        rate = catalogue.rates_ucr_per_h.get(each.flavor)
        if owner is not None and rate is not None:
            true[owner.name] += cost_ucr(rate, each.start_s, Period(each.start_s, each.end_s))
            bound[owner.name] += 1  # each stretch is rounded down once
    for run in read_runs(book):
        seconds = run.start_error_s + run.end_error_s
        bound[run.startup] += -(-(run.rate_ucr_per_h or 0) * seconds // 3600) + 1
    unconfirmed_ucr = 0
    for gap in read_unconfirmed_periods(book):
        cost = cost_ucr(gap.rate_ucr_per_h or 0, gap.period.start_s, gap.period)
        unconfirmed_ucr += cost
        bound[gap.startup] += cost + 1
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for account, amount_ucr in account_sums(book).items():
        kind, _, name = account.partition(":")
        sums[kind][name] += amount_ucr
    charged, refunded = sums["usage"], Counter(refunded_sums(book))
    names = sorted({startup.name for startup in program.startups()} | set(charged))
    return TieOut(
        granted_ucr=-sums["sponsor"].total(),
        charged_ucr=charged.total(),
        left_ucr=sums["grant"].total(),
        expired_ucr=sums["expired"].total(),
        overdraft_ucr=-sums["overdraft"].total(),
        settled_ucr=sums["settled"].total(),
        held_ucr=sums["held"].total(),
        refunded_ucr=refunded.total(),
        truth_ucr=true.total(),
        bound_ucr=bound.total(),
        unconfirmed_ucr=unconfirmed_ucr,
        fault=verify(book).fault,
        startups={n: (charged[n] + refunded[n], true[n], bound[n]) for n in names},
        transfers=transfer_counts(book),
    )

"""The tie-out: compares what was charged with the seconds that the region itself counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
from quotas.model.units import Period, cost_ucr, format_credits


@dataclass(frozen=True, slots=True)
class Truth:
    """A billable stretch of a server as the simulated region itself knows it."""

    server_id: str
    project_id: str
    flavor: str
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class TieOut:
    """Sums of a whole program in ucr; `bound_ucr` is what the recorded errors allow."""

    granted_ucr: int
    charged_ucr: int
    left_ucr: int
    expired_ucr: int
    overdraft_ucr: int
    truth_ucr: int
    bound_ucr: int
    unconfirmed_ucr: int
    worst_ucr: int
    fault: str | None
    startups: Mapping[str, tuple[int, int, int]]
    settled_ucr: int = 0
    held_ucr: int = 0
    refunded_ucr: int = 0
    transfers: Mapping[str, int] = field(default_factory=dict)

    @property
    def conserves(self) -> bool:
        """granted + overdraft = charged + settled + left + held + expired, to the micro-credit."""
        spent_ucr = self.charged_ucr + self.settled_ucr + self.expired_ucr
        spent_ucr += self.left_ucr + self.held_ucr
        return self.granted_ucr + self.overdraft_ucr == spent_ucr

    @property
    def matches(self) -> bool:
        """Whether every startup's charges lie within the bounds recorded for its runs."""
        return all(abs(charged - true) <= bound for charged, true, bound in self.startups.values())

    @property
    def ok(self) -> bool:
        """The books conserve, match the world, and verify."""
        return self.conserves and self.matches and self.fault is None

    def as_json(self) -> dict[str, Any]:
        """For `demo --json`; credits as decimal strings."""
        names = (
            "granted",
            "charged",
            "left",
            "expired",
            "overdraft",
            "truth",
            "bound",
            "unconfirmed",
        )
        more = ("settled", "held", "refunded")
        sums = {name: format_credits(getattr(self, f"{name}_ucr")) for name in (*names, *more)}
        return {
            **sums,
            "transfers": dict(self.transfers),
            "tie_out": self.ok,
            "verified": self.fault is None,
            "fault": self.fault,
        }


def tie_out(book: Book, program: Program, catalogue: Catalogue, truth: Iterable[Truth]) -> TieOut:
    """Compare the book with the truth, startup by startup.

    The rates are the accepted ones: list prices at the cohort's start (prices = "fixed").
    """
    sums = account_sums(book)
    true: dict[str, int] = defaultdict(int)
    bound: dict[str, int] = defaultdict(int)
    unconfirmed: dict[str, int] = defaultdict(int)
    for each in truth:
        owner = program.owner(each.project_id, each.start_s)
        rate = catalogue.rates_ucr_per_h.get(each.flavor)
        if owner is not None and rate is not None:
            period = Period(each.start_s, each.end_s)
            true[owner.name] += cost_ucr(rate, each.start_s, period)
            bound[owner.name] += 1  # each stretch is rounded down once
    for run in read_runs(book):
        seconds = run.start_error_s + run.end_error_s
        bound[run.startup] += -(-(run.rate_ucr_per_h or 0) * seconds // 3600) + 1
    for unconfirmed_period in read_unconfirmed_periods(book):
        cost = cost_ucr(
            unconfirmed_period.rate_ucr_per_h or 0,
            unconfirmed_period.period.start_s,
            unconfirmed_period.period,
        )
        unconfirmed[unconfirmed_period.startup] += cost
        bound[unconfirmed_period.startup] += cost + 1
    charged = _by_name(sums, "usage:")
    refunded = refunded_sums(book)
    metered = {name: ucr + refunded.get(name, 0) for name, ucr in charged.items()}
    names = {startup.name for startup in program.startups()} | set(charged)
    return TieOut(
        granted_ucr=-sum(_by_name(sums, "sponsor:").values()),
        charged_ucr=sum(charged.values()),
        left_ucr=sum(_by_name(sums, "grant:").values()),
        expired_ucr=sum(_by_name(sums, "expired:").values()),
        overdraft_ucr=-sum(_by_name(sums, "overdraft:").values()),
        truth_ucr=sum(true.values()),
        bound_ucr=sum(bound.values()),
        unconfirmed_ucr=sum(unconfirmed.values()),
        worst_ucr=max((abs(metered.get(n, 0) - true[n]) for n in names), default=0),
        fault=verify(book).fault,
        startups={n: (metered.get(n, 0), true[n], bound[n]) for n in sorted(names)},
        settled_ucr=sum(_by_name(sums, "settled:").values()),
        held_ucr=sum(_by_name(sums, "held:").values()),
        refunded_ucr=sum(refunded.values()),
        transfers=transfer_counts(book),
    )


def _by_name(sums: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {a.removeprefix(prefix): s for a, s in sums.items() if a.startswith(prefix)}

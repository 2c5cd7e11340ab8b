"""Posting: holds that ran out, charges that fell due, and grants that end or roll over.

Theory of operation

`post_due` takes the grants, the open holds and the metered runs, and returns the transfers to
write with the books as they are afterwards. The same input gives the same transfers. A charge
falls due when a run has ended, an hour is unposted, or a month or a grant begins or ends (see
`periods_due`). Until then its cost is accrued: the balance counts it, and no transfer exists.

Transfers are posted in the order of time. A charge first ends what ended before its period, so a
day that is caught up at once posts what a day of cycles would have posted.

Invariants

* A period of a run is charged once: `posted_until_s` moves to its end in the same commit.
* Each transfer sums to zero. Its key follows from its content, so a repeated cycle posts
  nothing twice.
* A grant expires only when every zone is known past its end, and when everything that its
  startup ran before that is charged. Usage before the end therefore draws on it first.
* An expiry moves all that is left. If a person posts meanwhile, the commit refuses the expiry, and
  the next cycle computes it again.
* Usage that no grant covers goes to the overdraft of the cohort: a charge is never refused.

Rejected: to post each cycle (a row for every server and cycle), and to expire a grant by the
clock alone (an outage would take credits that pay for earlier usage).

Warning: a zone that is never Complete again holds back every expiry. That is why a zone that
the program left is swept until nothing is open in it (`quotas.state.zones`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quotas.ledger.holds import Hold, HoldEnding, end_hold
from quotas.ledger.transfers import (
    GrantBalance,
    Transfer,
    apply_transfer,
    charge_transfer,
    end_transfers,
)
from quotas.metering.runs import Metered, Run
from quotas.model.program import Program
from quotas.model.units import HOUR_S, Period, month_start_s


@dataclass(frozen=True, slots=True)
class Posting:
    """Transfers to write, and the runs, grants and holds as they stand after them."""

    transfers: tuple[Transfer, ...]
    runs: Mapping[str, Run]
    changed: tuple[Run, ...]
    grants: tuple[GrantBalance, ...]
    holds: tuple[Hold, ...] = ()


def post_due(
    program: Program,
    grants: Sequence[GrantBalance],
    metered: Metered,
    now_s: int = 0,
    holds: Sequence[Hold] = (),
) -> Posting:
    """End the open holds that ran out by `now_s`, charge what is due, and expire grants."""
    work = _Work(program, grants, metered)
    for hold in holds:
        if hold.expires_s <= now_s:
            work.post(end_hold(hold, HoldEnding.EXPIRY, hold.expires_s))
    for period, run_id in sorted(_due_periods(metered, work.book)):
        work.charge(period, run_id)
    for name in sorted(work.book):
        work.end(name, work.known_s)
    return Posting(
        tuple(work.transfers),
        work.runs,
        tuple(work.changed.values()),
        tuple(grant for _, own in sorted(work.book.items()) for grant in own),
        tuple(hold for hold in holds if hold.expires_s > now_s),
    )


class _Work:
    """The books of every startup as the transfers of one cycle move them."""

    def __init__(self, program: Program, grants: Sequence[GrantBalance], metered: Metered) -> None:
        self.metered = metered
        self.runs = dict(metered.runs)
        self.changed = {run.id: run for run in metered.changed}
        self.cohorts = _cohorts(program, grants)
        self.book: dict[str, list[GrantBalance]] = defaultdict(list)
        for grant in grants:
            self.book[grant.startup].append(grant)
        self.transfers: list[Transfer] = []
        zones = program.zones
        self.known_s = min((metered.confirmed.get(zone, 0) for zone in zones), default=0)
        self.of: dict[str, list[str]] = defaultdict(list)
        for run in self.runs.values():
            self.of[run.startup].append(run.id)

    def post(self, transfer: Transfer) -> None:
        """Add a transfer, and move the grants that it moves."""
        self.transfers.append(transfer)
        self.book[transfer.startup] = apply_transfer(self.book[transfer.startup], transfer)

    def charge(self, period: Period, run_id: str) -> None:
        """Charge one period of a run, after what ended before it."""
        run = self.runs[run_id]
        if run.startup not in self.cohorts:
            return  # neither in the program nor ever granted: unposted until it is again
        self.end(run.startup, period.start_s)
        own, cohort = self.book.get(run.startup, []), self.cohorts[run.startup]
        transfer = charge_transfer(cohort, run, period, own)
        if transfer is not None:
            self.post(transfer)
        self.runs[run_id] = self.changed[run_id] = replace(run, posted_until_s=period.end_s)

    def end(self, name: str, until_s: int) -> None:
        """End the grants that ended by an instant, in the order of their ends."""
        while over := [
            grant
            for grant in self.book.get(name, ())
            if grant.left_ucr > 0 and grant.expires_s <= min(until_s, self.known_s)
        ]:
            first_s = min(grant.expires_s for grant in over)
            if first_s > self._charged_until_s(name):
                return
            for transfer in end_transfers(grant for grant in over if grant.expires_s == first_s):
                self.post(transfer)

    def _charged_until_s(self, name: str) -> int:
        """The instant up to which the known usage of a startup has been charged."""
        confirmed, own = self.metered.confirmed, (self.runs[id] for id in self.of.get(name, ()))
        waiting = (run for run in own if run.unposted(confirmed.get(run.zone, run.start_s)).seconds)
        return min((run.posted_until_s for run in waiting), default=self.known_s)


def _due_periods(
    metered: Metered, book: Mapping[str, list[GrantBalance]]
) -> Iterable[tuple[Period, str]]:
    for run in metered.runs.values():
        own = book.get(run.startup, [])
        edges = {edge for grant in own for edge in (grant.effective_s, grant.expires_s)}
        for period in periods_due(run, metered.confirmed.get(run.zone, run.start_s), edges):
            yield period, run.id


def _cohorts(program: Program, grants: Iterable[GrantBalance]) -> dict[str, str]:
    """Cohort of each startup, of those no longer in the program file too."""
    left = {grant.startup: grant.cohort for grant in grants}
    left |= {startup.name: startup.cohort for startup in program.former_members()}
    return left | {startup.name: startup.cohort for startup in program.startups()}


def periods_due(run: Run, confirmed_s: int, edges: Iterable[int]) -> tuple[Period, ...]:
    """The periods of a run to post now: none, or all that is unposted, cut at each edge.

    Due are an ended run, an hour unposted, and an edge (month end, grant edge) passed.
    A run without an accepted rate posts nothing.
    """
    period = run.unposted(confirmed_s)
    if run.rate_ucr_per_h is None or period.seconds == 0:
        return ()
    cuts = set(edges)
    month_s = month_start_s(period.start_s, 1)
    while month_s <= period.end_s:
        cuts.add(month_s)
        month_s = month_start_s(month_s, 1)
    parts = period.split(cuts)
    passed = len(parts) > 1 or period.end_s in cuts
    if run.end_s is None and period.seconds < HOUR_S and not passed:
        return ()
    return tuple(parts)

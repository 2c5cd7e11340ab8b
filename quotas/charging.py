"""What is posted now? Charges that fell due, then what grants forfeit at their end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quotas.ledger import GrantBalance, Transfer, charge_transfer, draw, expiry_transfer
from quotas.metering import Metered, Run, due
from quotas.program import Program
from quotas.units import Period


@dataclass(frozen=True, slots=True)
class Posting:
    """Transfers to write, and the runs and grants as they stand after them."""

    transfers: tuple[Transfer, ...]
    runs: Mapping[str, Run]
    changed: tuple[Run, ...]
    grants: tuple[GrantBalance, ...]


def post_due(program: Program, grants: Sequence[GrantBalance], metered: Metered) -> Posting:
    """Charge every period that is due, in the order of time; then forfeit ended grants.

    A grant is forfeited once every zone is known past its end, so that usage before
    the end has drawn on it first.
    """
    runs = dict(metered.runs)
    book: dict[str, list[GrantBalance]] = defaultdict(list)
    for grant in grants:
        book[grant.startup].append(grant)
    changed = {run.id: run for run in metered.changed}
    transfers: list[Transfer] = []
    cohorts = _cohorts(program, grants)
    for period, run_id in sorted(_due_periods(metered, book)):
        run = runs[run_id]
        if run.startup not in cohorts:
            continue  # neither in the program nor ever granted: unposted until it is again
        own = book.get(run.startup, [])
        transfer = charge_transfer(cohorts[run.startup], run, period, own)
        if transfer is not None:
            transfers.append(transfer)
            book[run.startup] = draw(own, transfer)
        runs[run_id] = changed[run_id] = replace(run, posted_until_s=period.end_s)
    for name, own in sorted(book.items()):
        for grant in _ended(program, own, metered, runs.values()):
            transfer = expiry_transfer(grant)
            transfers.append(transfer)
            book[name] = draw(book[name], transfer)
    left = tuple(grant for _, own in sorted(book.items()) for grant in own)
    return Posting(tuple(transfers), runs, tuple(changed.values()), left)


def _due_periods(
    metered: Metered, book: Mapping[str, list[GrantBalance]]
) -> Iterable[tuple[Period, str]]:
    for run in metered.runs.values():
        edges = {
            edge
            for grant in book.get(run.startup, [])
            for edge in (grant.effective_s, grant.expires_s)
        }
        for period in due(run, metered.confirmed.get(run.zone, run.start_s), edges):
            yield period, run.id


def _cohorts(program: Program, grants: Iterable[GrantBalance]) -> dict[str, str]:
    """Cohort of each startup, of those no longer in the program file too."""
    left = {grant.startup: grant.cohort for grant in grants}
    return left | {startup.name: startup.cohort for startup in program.startups()}


def _ended(
    program: Program, grants: Iterable[GrantBalance], metered: Metered, runs: Iterable[Run]
) -> list[GrantBalance]:
    known_s = min((metered.confirmed.get(zone, 0) for zone in program.zones), default=0)
    waiting_s = {
        run.startup: run.posted_until_s
        for run in sorted(runs, key=lambda r: -r.posted_until_s)
        if run.unposted(metered.confirmed.get(run.zone, run.start_s)).seconds
    }
    return [
        grant
        for grant in grants
        if grant.left_ucr > 0
        and grant.expires_s <= known_s
        and grant.expires_s <= waiting_s.get(grant.startup, known_s)
    ]

"""Each startup's credits at a past instant: an answer that never changes afterwards.

Posted are the transfers recorded by that instant. Accrued is the cost of runs before the
instant that no charge had yet: the earlier part of charges recorded later, and of runs that
are not charged yet. So the book answers only for instants up to which every zone is known and
every run has a price.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import JSON, BigInteger, ColumnElement, Connection, cast, func, or_, select

from quotas.book.cycle.state import read_grants, read_program, read_unconfirmed, read_unposted_runs
from quotas.book.reads.transfers import sums_of_entries, transfer_id_as_of
from quotas.book.rows import RUN_FIELDS, read_values
from quotas.book.schema.tables import PROGRAM, RUN, TRANSFER, ZONE
from quotas.book.session import Book
from quotas.ledger.balance import CYCLE_S, Balance, balances_of, by_startup, exhaustion_s
from quotas.ledger.recorded import holder
from quotas.ledger.transfers import GrantBalance, usage_account
from quotas.metering.runs import Run
from quotas.model.program import Program
from quotas.model.units import Period, cost_ucr, format_instant
from quotas.view import StartupStatus


class InstantNotKnown(Exception):
    """An instant for which the book has no final answer: one sentence with the fix."""


@dataclass(frozen=True, slots=True)
class BookAt:
    """The book at a past instant, up to transfer `through_id` inclusive."""

    as_of_s: int
    through_id: int
    program: Program
    startups: tuple[StartupStatus, ...]


def read_book_at(book: Book, as_of_s: int, now_s: int) -> BookAt:
    """Every startup's credits at a past instant. Raises InstantNotKnown."""
    with book.reading() as connection:
        program = program_at(connection, as_of_s, now_s)
        _refuse_unknown(connection, program, as_of_s)
        through_id = transfer_id_as_of(connection, as_of_s)
        sums = sums_of_entries(connection, through_id)
        grants = [
            replace(grant, left_ucr=sums[grant.account])
            for grant in read_grants(connection)
            if grant.account in sums
        ]
        runs = _runs_at(connection, as_of_s)
        accrued = _accrued(connection, through_id, as_of_s)
        unconfirmed = read_unconfirmed(connection, as_of_s)
    names = {s.name for s in program.startups()} | {g.startup for g in grants} | set(accrued)
    policy = program.policy
    reserve_s = policy.minimum_notice_s + CYCLE_S + policy.stop_latency_s
    confirmed = {run.zone: as_of_s for run in runs}
    balances = balances_of(dict.fromkeys(names, reserve_s), as_of_s, grants, runs, confirmed)
    own_grants, own_runs, held = by_startup(grants), by_startup(runs), _held(sums)
    startups = []
    for name, own in balances.items():
        entry, granted = program.startup(name), own_grants.get(name, [])
        status = StartupStatus(
            name=name,
            cohort=program.cohort(entry.cohort) if entry else None,
            balance=_with_accrued(own, granted, accrued.get(name, 0), held.get(name, 0)),
            charged_ucr=sums.get(usage_account(name), 0),
            unconfirmed_ucr=unconfirmed.get(name, 0),
            runs=tuple(own_runs.get(name, ())),
        )
        startups.append(status)
    return BookAt(as_of_s, through_id, program, tuple(startups))


def latest_instant_s(connection: Connection, now_s: int) -> int:
    """Now, or the last instant that the book knows: a kept demo's book lies in the future."""
    return max(now_s, connection.scalar(select(func.max(ZONE.c.confirmed_until_s))) or 0)


def program_at(connection: Connection, as_of_s: int, now_s: int) -> Program:
    """The program in force at a past instant of a cohort. Raises InstantNotKnown for another."""
    now_s = latest_instant_s(connection, now_s)
    asked = f"--as-of {format_instant(as_of_s)}"
    if as_of_s >= now_s:
        raise InstantNotKnown(
            f"{asked} is not past yet: it is {format_instant(now_s)}; give an earlier"
        )
    _, newest = read_program(connection)
    if newest is None:
        raise InstantNotKnown(f"{asked}: no program was applied yet; run 'cohortd apply' first")
    starts_s = min((cohort.starts_s for cohort in newest.cohorts), default=0)
    if as_of_s < starts_s:
        raise InstantNotKnown(
            f"{asked} is before the first cohort starts; give {format_instant(starts_s)} or later"
        )
    rows = select(PROGRAM.c.body).where(PROGRAM.c.applied_s <= as_of_s)
    body = connection.scalar(rows.order_by(PROGRAM.c.id.desc()).limit(1))
    if body is None:
        first_s = connection.scalar(select(func.min(PROGRAM.c.applied_s))) or 0
        raise InstantNotKnown(
            f"{asked} is before the first program was applied; give {format_instant(first_s)} "
            "or later"
        )
    return Program.from_json(body)


def _refuse_unknown(connection: Connection, program: Program, as_of_s: int) -> None:
    """Refuse an instant after which something may still turn out to have run before it."""
    runs = read_unposted_runs(connection)
    zones = {*program.zones, *(run.zone for run in runs)}
    for zone in connection.execute(select(ZONE).order_by(ZONE.c.confirmed_until_s)):
        known_s = zone.confirmed_until_s
        if zone.name in zones and known_s is not None and known_s < as_of_s:
            raise InstantNotKnown(
                f"--as-of {format_instant(as_of_s)}: zone {zone.name} is known only until "
                f"{format_instant(known_s)}; give that or earlier, or wait for the next cycle"
            )
    for run in sorted(runs, key=lambda run: int(run.posted_until_s)):
        if run.rate_ucr_per_h is None and run.posted_until_s < as_of_s:
            raise InstantNotKnown(
                f"--as-of {format_instant(as_of_s)}: {run.flavor} ran without an accepted price "
                f"since {format_instant(run.posted_until_s)}; give that or earlier, or accept one"
            )


def _runs_at(connection: Connection, as_of_s: int) -> list[Run]:
    """The runs that were on at an instant, as open ones of which nothing is unposted.

    Their state at that instant is not known. The row has the newest one, which still changes.
    """
    on = (RUN.c.start_s <= as_of_s) & or_(RUN.c.end_s.is_(None), RUN.c.end_s > as_of_s)
    runs = read_values(connection, Run, select(*RUN_FIELDS).where(on).order_by(RUN.c.id))
    return [
        replace(run, end_s=None, end_error_s=0, posted_until_s=as_of_s, state="") for run in runs
    ]


def _accrued(connection: Connection, through_id: int, as_of_s: int) -> dict[str, int]:
    """The cost of runs before the instant that no charge had then, by startup."""
    total: dict[str, int] = defaultdict(int)
    names = ("start_s", "end_s", "run_start_s", "rate_ucr_per_h")
    parts = [_number(connection, name).label(name) for name in names]
    later = (TRANSFER.c.kind == "charge", TRANSFER.c.id > through_id, parts[0].element < as_of_s)
    for row in connection.execute(select(TRANSFER.c.startup, *parts).where(*later)):
        period = Period(row.start_s, min(row.end_s, as_of_s))
        total[row.startup] += cost_ucr(row.rate_ucr_per_h, row.run_start_s, period)
    for run in read_unposted_runs(connection):
        if run.posted_until_s < as_of_s:
            until_s = as_of_s if run.end_s is None else min(run.end_s, as_of_s)
            total[run.startup] += replace(run, end_s=until_s).accrued_ucr(until_s)
    return total


def _number(connection: Connection, name: str) -> ColumnElement[int]:
    """A number in a transfer's detail."""
    if connection.dialect.name == "sqlite":
        return func.json_extract(TRANSFER.c.detail, f"$.{name}")
    return cast(func.json_extract_path_text(cast(TRANSFER.c.detail, JSON), name), BigInteger)


def _held(sums: Mapping[str, int]) -> dict[str, int]:
    """The credits on hold, by startup."""
    total: dict[str, int] = defaultdict(int)
    for account, ucr in sums.items():
        if account.startswith("held:"):
            total[holder(account) or ""] += ucr
    return total


def _with_accrued(
    own: Balance, grants: Sequence[GrantBalance], accrued_ucr: int, held_ucr: int
) -> Balance:
    """A balance of grants and burn, with the credits accrued and on hold at its instant."""
    aside_ucr = accrued_ucr + own.reserve_ucr
    return replace(
        own,
        posted_ucr=own.posted_ucr + held_ucr,
        accrued_ucr=accrued_ucr,
        held_ucr=held_ucr,
        exhausted_s=exhaustion_s(own.as_of_s, grants, aside_ucr, own.burn_ucr_per_h),
    )

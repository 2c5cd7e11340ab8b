"""What does a cycle read? Everything it needs in one read, as frozen values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from quotas.book.holds import read_holds
from quotas.book.outbox import undelivered
from quotas.book.session import Book
from quotas.book.withheld import read_past
from quotas.book.words import read_enforcement
from quotas.closing import Past
from quotas.guard import UNTOUCHED, Enforcement
from quotas.holds import Hold
from quotas.latency import Stop
from quotas.ledger import GrantBalance, grant_account, overdraft_account, usage_account
from quotas.levels import CREDITS
from quotas.metering import Catalogue, Run
from quotas.notices import KEPT_NOTICES, LIVE_INTENTS, LIVE_NOTICES, Intent, Notice
from quotas.pacing import WINDOWS_S
from quotas.posted import holder
from quotas.pricing import Prices, Step, Version
from quotas.program import Program, Rollover
from quotas.requests import LIVE_REQUESTS, Request
from quotas.snapshot import Decision, Excess
from quotas.tables import (
    BALANCE,
    DECISION,
    DISPUTE,
    EXCESS,
    GRANT,
    INTENT,
    LISTING,
    NOTICE,
    OFFER,
    PRICE,
    PROGRAM,
    REQUEST,
    RUN,
    ZONE,
)
from quotas.units import Period, cost_ucr

LATEST_STOPS = 500
"""So many confirmed stops are read, of all flavors, to measure how long one takes."""


@dataclass(frozen=True, slots=True)
class State:
    """The book as one read showed it. Runs are the open ones, and ended but unposted ones."""

    program: Program | None
    program_version: int
    catalogue: Catalogue
    confirmed: Mapping[str, int]
    runs: tuple[Run, ...]
    grants: tuple[GrantBalance, ...]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    told: frozenset[tuple[str, str]]
    charged: Mapping[str, int]
    disputed: Mapping[str, int]
    overdraft: Mapping[str, int]
    closings: Mapping[str, Past]
    holds: tuple[Hold, ...]
    owed: Mapping[str, int]
    requests: tuple[Request, ...] = ()
    excesses: tuple[Excess, ...] = ()
    recent: tuple[Run, ...] = ()
    enforcement: Enforcement = UNTOUCHED
    stops: tuple[Stop, ...] = ()
    undelivered: frozenset[int] = frozenset()


def load(book: Book) -> State:
    """Read the state in one transaction."""
    with book.reading() as connection:
        version, program = read_program(connection)
        return State(
            program=program,
            program_version=version,
            catalogue=read_catalogue(connection),
            confirmed=read_confirmed(connection),
            runs=read_unposted(connection),
            grants=read_grants(connection),
            notices=_notices(connection),
            intents=_intents(connection),
            told=_told(connection),
            charged=_sums(connection, usage_account("")),
            disputed=_disputed(connection),
            overdraft=_overdraft(connection),
            requests=_requests(connection),
            excesses=_excesses(connection),
            closings=read_past(connection),
            recent=_recent(connection),
            enforcement=read_enforcement(connection),
            stops=read_stops(connection),
            holds=read_holds(connection),
            owed=read_owed(connection),
            undelivered=undelivered(connection),
        )


def read_program(connection: Connection) -> tuple[int, Program | None]:
    """Number and content of the program version in force; (0, None) before the first."""
    newest = select(PROGRAM.c.id, PROGRAM.c.body).order_by(PROGRAM.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return (row.id, Program.from_json(row.body)) if row else (0, None)


def read_grants(connection: Connection) -> tuple[GrantBalance, ...]:
    """Every grant with what is left of it, in the order of creation."""
    balances = {r.account: r.amount_ucr for r in connection.execute(select(BALANCE))}
    return _grants(connection.execute(select(GRANT).order_by(GRANT.c.id)), balances)


def read_startup_grants(connection: Connection, startup: str) -> tuple[GrantBalance, ...]:
    """One startup's grants with what is left of each, read by index: cheap among many."""
    rows = connection.execute(
        select(GRANT).where(GRANT.c.startup == startup).order_by(GRANT.c.id)
    ).all()
    accounts = [grant_account(row.startup, row.grant_id) for row in rows]
    own = connection.execute(select(BALANCE).where(BALANCE.c.account.in_(accounts)))
    return _grants(rows, {row.account: row.amount_ucr for row in own})


def _grants(rows: Iterable[Row[Any]], balances: Mapping[str, int]) -> tuple[GrantBalance, ...]:
    return tuple(
        GrantBalance(
            startup=row.startup,
            cohort=row.cohort,
            id=row.grant_id,
            priority=row.priority,
            effective_s=row.effective_s,
            expires_s=row.expires_s,
            created=row.id,
            granted_ucr=row.amount_ucr,
            left_ucr=balances.get(grant_account(row.startup, row.grant_id), 0),
            rolls_to=row.rolls_to,
            rollover=None if row.rolls_to is None else Rollover(row.roll_ppm, row.roll_most_ucr),
        )
        for row in rows
    )


def read_startups(connection: Connection) -> tuple[str, ...]:
    """Every startup that has an account in the book, by name."""
    holders = {holder(account) for account in connection.scalars(select(BALANCE.c.account))}
    return tuple(sorted(name for name in holders if name is not None))


def read_owed(connection: Connection) -> dict[str, int]:
    """What each startup ran between tranches and no tranche has repaid; below 0: a surplus."""
    sums = _sums(connection, overdraft_account(""))
    return {name.partition(":")[2]: -ucr for name, ucr in sums.items() if ":" in name and ucr}


def _overdraft(connection: Connection) -> dict[str, int]:
    """What the sponsor paid beyond grants, by cohort, what a next tranche repays among it."""
    total: dict[str, int] = defaultdict(int)
    for name, amount_ucr in _sums(connection, overdraft_account("")).items():
        total[name.partition(":")[0]] -= amount_ucr
    return dict(total)


def read_confirmed(connection: Connection) -> dict[str, int]:
    """Until when each zone is known, of those that ever were."""
    rows = connection.execute(select(ZONE.c.name, ZONE.c.confirmed_until_s))
    return {row.name: row.confirmed_until_s for row in rows if row.confirmed_until_s is not None}


def read_catalogue(connection: Connection) -> Catalogue:
    """The last accepted rates and GPU counts, by flavor; `Catalogue.at` gives those in force."""
    prices = read_prices(connection)
    newest = {flavor: versions[-1] for flavor, versions in prices.versions.items()}
    return Catalogue(
        rates_ucr_per_h={flavor: v.rate_ucr_per_h for flavor, v in newest.items()},
        gpus={r.flavor: r.gpus for r in connection.execute(select(OFFER.c.flavor, OFFER.c.gpus))},
        prices=prices,
    )


def read_prices(connection: Connection) -> Prices:
    """Every accepted version in the order recorded, and every believable listing in time's."""
    versions: dict[str, list[Version]] = defaultdict(list)
    for row in connection.execute(select(PRICE).order_by(PRICE.c.id)):
        versions[row.flavor].append(
            Version(row.id, row.from_s, row.rate_ucr_per_h, row.recorded_s, row.bearer, row.source)
        )
    listings: dict[str, list[Step]] = defaultdict(list)
    for row in connection.execute(select(LISTING).order_by(LISTING.c.flavor, LISTING.c.listed_s)):
        listings[row.flavor].append(Step(row.listed_s, row.rate_ucr_per_h))
    return Prices(
        {flavor: tuple(each) for flavor, each in versions.items()},
        {flavor: tuple(each) for flavor, each in listings.items()},
    )


def read_unposted(connection: Connection) -> tuple[Run, ...]:
    """The runs that are open, or ended and not yet charged to their end."""
    unposted = or_(RUN.c.end_s.is_(None), RUN.c.end_s > RUN.c.posted_until_s)
    return tuple(Run(**row) for row in connection.execute(select(RUN).where(unposted)).mappings())


def read_stops(connection: Connection) -> tuple[Stop, ...]:
    """The latest confirmed stops, newest first, each with the run that it ended."""
    own = (RUN.c.server_id == INTENT.c.server_id) & (RUN.c.start_s <= INTENT.c.sent_s)
    query = select(INTENT.c.id, RUN.c.flavor, INTENT.c.sent_s, INTENT.c.ended_s, RUN.c.end_error_s)
    query = query.join(RUN, own & (RUN.c.end_s + RUN.c.end_error_s >= INTENT.c.sent_s))
    query = query.where(INTENT.c.state == "confirmed", INTENT.c.sent_s.is_not(None))
    rows = connection.execute(query.order_by(INTENT.c.id.desc(), RUN.c.start_s).limit(LATEST_STOPS))
    found = {r.id: Stop(r.flavor, r.ended_s - r.sent_s, r.end_error_s) for r in rows}
    return tuple(found.values())


def _notices(connection: Connection) -> tuple[Notice, ...]:
    rows = select(NOTICE).where(NOTICE.c.state.in_(LIVE_NOTICES)).order_by(NOTICE.c.id)
    return tuple(Notice(**row) for row in connection.execute(rows).mappings())


def _intents(connection: Connection) -> tuple[Intent, ...]:
    """Live intents, and the ended ones of notices still live: they time the retries."""
    live_notices = select(NOTICE.c.id).where(NOTICE.c.state.in_(KEPT_NOTICES))
    rows = select(INTENT).where(
        or_(INTENT.c.state.in_(LIVE_INTENTS), INTENT.c.notice_id.in_(live_notices))
    )
    found = connection.execute(rows.order_by(INTENT.c.id)).mappings()
    return tuple(Intent(**row) for row in found)


def _recent(connection: Connection) -> tuple[Run, ...]:
    """The charged runs that ended within the longest window of a burn rate."""
    known = connection.scalar(select(func.max(ZONE.c.confirmed_until_s)))
    rows = select(RUN).where(RUN.c.end_s > (known or 0) - max(WINDOWS_S))
    rows = rows.where(RUN.c.end_s == RUN.c.posted_until_s).order_by(RUN.c.id)
    return tuple(Run(**row) for row in connection.execute(rows).mappings())


def _requests(connection: Connection) -> tuple[Request, ...]:
    rows = select(REQUEST).where(REQUEST.c.state.in_(LIVE_REQUESTS)).order_by(REQUEST.c.id)
    return tuple(Request(**row) for row in connection.execute(rows).mappings())


def _excesses(connection: Connection) -> tuple[Excess, ...]:
    rows = select(EXCESS).where(EXCESS.c.ended_s.is_(None))
    rows = rows.order_by(EXCESS.c.startup, EXCESS.c.pool)
    return tuple(Excess(**row) for row in connection.execute(rows).mappings())


def _told(connection: Connection) -> frozenset[tuple[str, str]]:
    rows = select(NOTICE.c.startup, NOTICE.c.cause).where(
        or_(
            NOTICE.c.state == "told",
            (NOTICE.c.rule == CREDITS) & NOTICE.c.state.in_(("executing", "executed", "returning")),
        )
    )
    return frozenset((row.startup, row.cause) for row in connection.execute(rows.distinct()))


def _sums(connection: Connection, prefix: str) -> dict[str, int]:
    """Balances of the accounts of one kind, by what follows the prefix."""
    rows = select(BALANCE).where(BALANCE.c.account.startswith(prefix, autoescape=True))
    return {r.account.removeprefix(prefix): r.amount_ucr for r in connection.execute(rows)}


def _disputed(connection: Connection) -> dict[str, int]:
    """What the disputed stretches of each startup would cost, were they billable."""
    total: dict[str, int] = defaultdict(int)
    for row in connection.execute(select(DISPUTE)):
        period = Period(row.start_s, row.end_s)
        total[row.startup] += cost_ucr(row.rate_ucr_per_h or 0, row.start_s, period)
    return dict(total)


def last_decisions(
    book: Book, limit: int, as_of_s: int | None = None, **where: int | str
) -> list[Mapping[str, Any]]:
    """The newest decisions, to an instant where one is given, newest first."""
    query = select(DECISION).order_by(DECISION.c.id.desc()).limit(limit)
    if as_of_s is not None:
        query = query.where(DECISION.c.at_s <= as_of_s)
    for column, value in where.items():
        query = query.where(DECISION.c[column] == value)
    with book.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def decision_of(row: Mapping[str, Any]) -> Decision:
    """A row of the decisions as the value that was decided."""
    of = (row["startup"], row["server_id"], row["rule"], row["verb"], row["cause"])
    return Decision(*of, row["reason"], json.loads(row["inputs"]), row["version"])


def read_zones(book: Book) -> list[Mapping[str, Any]]:
    """How each zone's last sweep ended and until when it is known, by name."""
    with book.reading() as connection:
        rows = connection.execute(select(ZONE).order_by(ZONE.c.name)).mappings()
        return [dict(row) for row in rows]


def pending_intents(book: Book) -> tuple[Intent, ...]:
    """The intents that wait to be sent, in the order they were decided."""
    with book.reading() as connection:
        rows = select(INTENT).where(INTENT.c.state == "pending").order_by(INTENT.c.id)
        return tuple(Intent(**row) for row in connection.execute(rows).mappings())

"""The state that a cycle reads: all that it needs, in one read, as frozen values.

The statements are built once, not once a cycle: building one costs more than running it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select

from quotas.book.cycle.outbox import undelivered
from quotas.book.cycle.revoked_rules import read_closing_history
from quotas.book.reads.holds import read_holds
from quotas.book.reads.overrides import read_enforcement
from quotas.book.reads.tokens import read_unexpired_tokens
from quotas.book.reads.transfers import newest_transfer_id
from quotas.book.rows import (
    INTENT_FIELDS,
    NOTICE_FIELDS,
    OVERUSE_FIELDS,
    REQUEST_FIELDS,
    RUN_FIELDS,
    columns_of,
    read_values,
)
from quotas.book.schema.tables import (
    BALANCE,
    GRANT,
    INTENT,
    LISTING,
    NOTICE,
    OFFER,
    OVERUSE,
    PRICE,
    PROGRAM,
    REQUEST,
    RUN,
    UNCONFIRMED,
    ZONE,
)
from quotas.book.session import Book
from quotas.iam.closing import ClosingHistory
from quotas.ledger.forecast import WINDOWS_S
from quotas.ledger.holds import Hold
from quotas.ledger.recorded import holder
from quotas.ledger.transfers import GrantBalance, grant_account, overdraft_account, usage_account
from quotas.metering.prices import Prices, Step, Version
from quotas.metering.runs import Catalogue, Run
from quotas.metering.stop_latency import MeasuredStop
from quotas.model.program import Program, Rollover
from quotas.model.tokens import Token
from quotas.model.units import Period, cost_ucr
from quotas.rules.credits import RULE as CREDITS
from quotas.state.notices import (
    LIVE_INTENTS,
    LIVE_NOTICES,
    NOTICES_WITH_INTENTS,
    Intent,
    IntentState,
    Notice,
    NoticeState,
)
from quotas.state.requests import LIVE_REQUESTS, Request
from quotas.state.snapshot import NO_ENFORCEMENT, AnnouncedByMode, Enforcement, Overuse

MAX_STOPS = 500
"""So many confirmed stops are read, of all flavors, to measure how long one takes."""


@dataclass(frozen=True, slots=True)
class BookState:
    """The book as one read showed it. Runs are the open ones, and ended but unposted ones."""

    program: Program | None
    program_version: int
    catalogue: Catalogue
    confirmed: Mapping[str, int]
    runs: tuple[Run, ...]
    grants: tuple[GrantBalance, ...]
    notices: tuple[Notice, ...]
    intents: tuple[Intent, ...]
    announced: AnnouncedByMode
    charged: Mapping[str, int]
    unconfirmed: Mapping[str, int]
    overdraft: Mapping[str, int]
    closing_history: Mapping[str, ClosingHistory]
    holds: tuple[Hold, ...]
    requests: tuple[Request, ...] = ()
    overuses: tuple[Overuse, ...] = ()
    recent: tuple[Run, ...] = ()
    enforcement: Enforcement = NO_ENFORCEMENT
    stops: tuple[MeasuredStop, ...] = ()
    undelivered: frozenset[int] = frozenset()
    unexpired_tokens: tuple[Token, ...] = ()
    newest_transfer: int = 0


def load_state(book: Book) -> BookState:
    """Read the state in one transaction."""
    with book.reading() as connection:
        version, program = read_program(connection)
        balances = _balances(connection)
        return BookState(
            program=program,
            program_version=version,
            catalogue=read_catalogue(connection),
            confirmed=read_confirmed(connection),
            runs=read_unposted_runs(connection),
            grants=_grants(connection.execute(_GRANTS), balances),
            notices=read_values(connection, Notice, _LIVE_NOTICES),
            intents=read_values(connection, Intent, _KNOWN_INTENTS),
            announced=_announced(connection),
            charged=_sums(balances, usage_account("")),
            unconfirmed=read_unconfirmed(connection),
            overdraft={c: -ucr for c, ucr in _sums(balances, overdraft_account("")).items()},
            requests=read_values(connection, Request, _LIVE_REQUESTS),
            overuses=read_values(connection, Overuse, _OPEN_OVERUSE),
            closing_history=read_closing_history(connection),
            recent=_recent(connection),
            enforcement=read_enforcement(connection),
            stops=read_stops(connection),
            holds=read_holds(connection),
            undelivered=undelivered(connection),
            unexpired_tokens=read_unexpired_tokens(connection, _known_to_s(connection)),
            newest_transfer=newest_transfer_id(connection),
        )


_NEWEST_PROGRAM = select(PROGRAM.c.id, PROGRAM.c.body).order_by(PROGRAM.c.id.desc()).limit(1)


def read_program(connection: Connection) -> tuple[int, Program | None]:
    """Number and content of the program version in force; (0, None) before the first."""
    row = connection.execute(_NEWEST_PROGRAM).one_or_none()
    return (row.id, _program(row.body)) if row else (0, None)


_program = lru_cache(maxsize=2)(Program.from_json)
"""A version is read again in every cycle, and parsed once: equal text is an equal program."""


_GRANTS = select(GRANT).order_by(GRANT.c.id)
_BALANCES = select(BALANCE.c.account, BALANCE.c.amount_ucr)


def _balances(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(_BALANCES).all())


def read_grants(connection: Connection) -> tuple[GrantBalance, ...]:
    """Every grant with what is left of it, in the order of creation."""
    return _grants(connection.execute(_GRANTS), _balances(connection))


def read_startup_grants(connection: Connection, startup: str) -> tuple[GrantBalance, ...]:
    """One startup's grants with what is left of each, read by index: cheap among many."""
    rows = connection.execute(_GRANTS.where(GRANT.c.startup == startup)).all()
    accounts = [grant_account(row.startup, row.grant_id) for row in rows]
    own = connection.execute(_BALANCES.where(BALANCE.c.account.in_(accounts)))
    return _grants(rows, dict(own.all()))


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


_CONFIRMED = select(ZONE.c.name, ZONE.c.confirmed_until_s)
_CONFIRMED = _CONFIRMED.where(ZONE.c.confirmed_until_s.is_not(None))


def read_confirmed(connection: Connection) -> dict[str, int]:
    """Until when each zone is known, of those that ever were."""
    return dict(connection.execute(_CONFIRMED).all())


_OFFERS = select(OFFER.c.flavor, OFFER.c.gpus, OFFER.c.scratch_bytes)


def read_catalogue(connection: Connection) -> Catalogue:
    """The last accepted rates and GPU counts, by flavor; `Catalogue.at` gives those in force."""
    prices, offers = read_prices(connection), connection.execute(_OFFERS).all()
    return Catalogue(
        rates_ucr_per_h={f: own[-1].rate_ucr_per_h for f, own in prices.versions.items()},
        gpus={flavor: gpus for flavor, gpus, _ in offers},
        prices=prices,
        scratch_bytes={flavor: scratch_bytes for flavor, _, scratch_bytes in offers},
    )


_VERSIONS = select(PRICE.c.flavor, *columns_of(PRICE, Version)).order_by(PRICE.c.id)
_LISTINGS = select(LISTING.c.flavor, LISTING.c.listed_s, LISTING.c.rate_ucr_per_h).order_by(
    LISTING.c.flavor, LISTING.c.listed_s
)


def read_prices(connection: Connection) -> Prices:
    """Every accepted version in the order recorded, and every believable listing in time's."""
    versions: dict[str, list[Version]] = defaultdict(list)
    for flavor, *version in connection.execute(_VERSIONS):
        versions[flavor].append(Version(*version))
    listings: dict[str, list[Step]] = defaultdict(list)
    for flavor, listed_s, rate_ucr_per_h in connection.execute(_LISTINGS):
        listings[flavor].append(Step(listed_s, rate_ucr_per_h))
    return Prices(
        {flavor: tuple(each) for flavor, each in versions.items()},
        {flavor: tuple(each) for flavor, each in listings.items()},
    )


IS_UNPOSTED = or_(RUN.c.end_s.is_(None), RUN.c.end_s > RUN.c.posted_until_s)
_UNPOSTED = select(*RUN_FIELDS).where(IS_UNPOSTED).order_by(RUN.c.id)


def read_unposted_runs(connection: Connection) -> tuple[Run, ...]:
    """The runs that are open, or ended and not yet charged to their end."""
    return read_values(connection, Run, _UNPOSTED)


_OWN = RUN.alias("own")
_STOPPED = (
    select(_OWN.c.id)
    .where(_OWN.c.server_id == INTENT.c.server_id, _OWN.c.start_s <= INTENT.c.sent_s)
    .where(_OWN.c.end_s + _OWN.c.end_error_s >= INTENT.c.sent_s)
    .order_by(_OWN.c.start_s.desc())
    .limit(1)
)
_STOPS = (
    select(RUN.c.flavor, INTENT.c.ended_s - INTENT.c.sent_s, RUN.c.end_error_s)
    .select_from(INTENT)
    .join(RUN, RUN.c.id == _STOPPED.correlate(INTENT).scalar_subquery())
    .where(INTENT.c.state == IntentState.CONFIRMED, INTENT.c.sent_s.is_not(None))
    .order_by(INTENT.c.id.desc())
    .limit(MAX_STOPS)
)


def read_stops(connection: Connection) -> tuple[MeasuredStop, ...]:
    """The latest confirmed stops, newest first, each with the run that it ended."""
    return read_values(connection, MeasuredStop, _STOPS)


_LIVE_NOTICES = select(*NOTICE_FIELDS).where(NOTICE.c.state.in_(LIVE_NOTICES)).order_by(NOTICE.c.id)
_KEPT = select(NOTICE.c.id).where(NOTICE.c.state.in_(NOTICES_WITH_INTENTS))
_IS_KNOWN = or_(INTENT.c.state.in_(LIVE_INTENTS), INTENT.c.notice_id.in_(_KEPT))
_KNOWN_INTENTS = select(*INTENT_FIELDS).where(_IS_KNOWN).order_by(INTENT.c.id)
"""Live intents, and the ended ones of notices still live: they time the retries."""
_LIVE_REQUESTS = (
    select(*REQUEST_FIELDS).where(REQUEST.c.state.in_(LIVE_REQUESTS)).order_by(REQUEST.c.id)
)
_OPEN_OVERUSE = select(*OVERUSE_FIELDS).where(OVERUSE.c.ended_s.is_(None))
_OPEN_OVERUSE = _OPEN_OVERUSE.order_by(OVERUSE.c.startup, OVERUSE.c.pool)
_KNOWN_TO = select(func.max(ZONE.c.confirmed_until_s))
_IS_RECENT = (RUN.c.end_s > bindparam("since_s")) & (RUN.c.end_s == RUN.c.posted_until_s)
_RECENT = select(*RUN_FIELDS).where(_IS_RECENT).order_by(RUN.c.id)


def _known_to_s(connection: Connection) -> int:
    """The latest instant at which a zone was confirmed; 0 before the first sweep."""
    return connection.scalar(_KNOWN_TO) or 0


def _recent(connection: Connection) -> tuple[Run, ...]:
    """The charged runs that ended within the longest window of a burn rate."""
    since_s = _known_to_s(connection) - max(WINDOWS_S)
    return read_values(connection, Run, _RECENT, since_s=since_s)


_STOPPING = (NoticeState.EXECUTING, NoticeState.EXECUTED, NoticeState.RESTARTING)
_ANNOUNCED = (
    select(NOTICE.c.mode, NOTICE.c.startup, NOTICE.c.episode)
    .where(
        or_(
            NOTICE.c.state == NoticeState.ANNOUNCED,
            (NOTICE.c.rule == CREDITS.name) & NOTICE.c.state.in_(_STOPPING),
        )
    )
    .distinct()
)


def _announced(connection: Connection) -> AnnouncedByMode:
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for mode, startup, episode in connection.execute(_ANNOUNCED):
        found[mode].add((startup, episode))
    return {mode: frozenset(announced) for mode, announced in found.items()}


def _sums(balances: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Balances of the accounts of one kind, by what follows the prefix."""
    return {
        account.removeprefix(prefix): amount_ucr
        for account, amount_ucr in balances.items()
        if account.startswith(prefix)
    }


_UNCONFIRMED = select(UNCONFIRMED)


def read_unconfirmed(connection: Connection, until_s: int | None = None) -> dict[str, int]:
    """What the unconfirmed time of each startup would cost if it were billable."""
    total: dict[str, int] = defaultdict(int)
    for row in connection.execute(_UNCONFIRMED):
        end_s = row.end_s if until_s is None else min(row.end_s, until_s)
        if row.start_s < end_s:
            period = Period(row.start_s, end_s)
            total[row.startup] += cost_ucr(row.rate_ucr_per_h or 0, row.start_s, period)
    return dict(total)


def read_zones(book: Book) -> list[Mapping[str, Any]]:
    """How each zone's last sweep ended and until when it is known, by name."""
    with book.reading() as connection:
        rows = connection.execute(select(ZONE).order_by(ZONE.c.name)).mappings()
        return [dict(row) for row in rows]


_PENDING = select(*INTENT_FIELDS).where(INTENT.c.state == IntentState.PENDING).order_by(INTENT.c.id)


def pending_intents(book: Book) -> tuple[Intent, ...]:
    """The intents that wait to be sent, in the order they were decided."""
    with book.reading() as connection:
        return read_values(connection, Intent, _PENDING)

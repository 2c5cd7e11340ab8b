"""Catalogues in the book: the zones that need theirs, and the fenced write of what is listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, union

from quotas.book.cycle.lease import Lease, fence
from quotas.book.cycle.state import IS_UNPOSTED, read_catalogue, read_program
from quotas.book.rows import execute_rows, insert_rows
from quotas.book.schema.tables import INTENT, LISTING, NOTICE, OFFER, PRICE, RUN
from quotas.book.session import Book
from quotas.metering.prices import STARTUP, Prices, is_believable
from quotas.model.observation import Offer
from quotas.state.notices import LIVE_INTENTS, LIVE_NOTICES
from quotas.state.zones import with_zones

SOURCE = "catalogue"


@dataclass(frozen=True, slots=True)
class CatalogueNeeds:
    """The zones whose catalogues a cycle may need, and whether a run waits for a price."""

    zones: tuple[str, ...] = ()
    has_unpriced_runs: bool = False


_UNPRICED = IS_UNPOSTED & RUN.c.rate_ucr_per_h.is_(None)
_OPEN_ZONES = union(
    select(RUN.c.zone).where(or_(RUN.c.end_s.is_(None), _UNPRICED)),
    select(NOTICE.c.zone).where(NOTICE.c.state.in_(LIVE_NOTICES)),
    select(INTENT.c.zone).where(INTENT.c.state.in_(LIVE_INTENTS)),
)
_COUNT_UNPRICED = select(func.count()).select_from(RUN).where(_UNPRICED)


def read_catalogue_needs(book: Book) -> CatalogueNeeds:
    """What decides which catalogues are due; no zones before the first program.

    The state is loaded only after the catalogues were read, so this reads as little as it can.
    """
    with book.reading() as connection:
        _, program = read_program(connection)
        if program is None:
            return CatalogueNeeds()
        zones = with_zones(program, connection.scalars(_OPEN_ZONES)).zones
        return CatalogueNeeds(zones, bool(connection.scalar(_COUNT_UNPRICED)))


def save_catalogue(book: Book, lease: Lease, offers: Sequence[Offer], now_s: int) -> None:
    """Write what a zone sells, its believable prices, and the first rate of each flavor.

    Raises StaleEpoch if another daemon leads by now.
    """
    with book.writing() as connection:
        fence(connection, lease)
        sold = [
            {"flavor": o.flavor, "gpus": o.gpus, "scratch_bytes": o.scratch_bytes} for o in offers
        ]
        insert_rows(connection, OFFER, sold, "replace")
        catalogue = read_catalogue(connection).at(now_s)
        prices, rates = catalogue.prices, catalogue.rates_ucr_per_h
        listed = [
            {"flavor": o.flavor, "listed_s": now_s, "rate_ucr_per_h": o.rate_ucr_per_h}
            for o in offers
            if is_believable(o, rates) and _is_changed_price(prices, o, now_s)
        ]
        execute_rows(connection, LISTING.insert(), listed)
        terms = {"from_s": now_s, "recorded_s": now_s, "bearer": STARTUP, "source": SOURCE}
        first = [
            {"flavor": row["flavor"], "rate_ucr_per_h": row["rate_ucr_per_h"], **terms}
            for row in listed
            if row["flavor"] not in prices.versions
        ]
        execute_rows(connection, PRICE.insert(), first)


def _is_changed_price(prices: Prices, offer: Offer, now_s: int) -> bool:
    """Whether a listed price differs from the one that was listed last."""
    last = prices.listings.get(offer.flavor, ())
    return not last or (last[-1].rate_ucr_per_h != offer.rate_ucr_per_h and now_s > last[-1].from_s)

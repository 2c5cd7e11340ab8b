"""Which catalogue prices are put in force, and which raise an alarm instead?

A flavor's first believable price becomes its fixed rate. Later catalogue prices never
change a rate by themselves: they alarm. Zero, missing and absurd prices are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from quotas.book.commit import accept_prices
from quotas.book.session import Book
from quotas.observation import Offer
from quotas.units import format_credits
from scheduler.clouds.base import Cloud, CloudError

REFRESH_S = 6 * 3600
LOWEST_UCR_PER_H, HIGHEST_UCR_PER_H = 100_000, 30_000_000
"""A GPU-hour outside 0.10 to 30 credits is taken for a mistake: Scaleway once listed 0.01."""

log = structlog.get_logger()


class PriceWatch:
    """Reads each zone's catalogue now and then, and says what is wrong with it."""

    def __init__(self, cloud: Cloud, book: Book) -> None:
        self._cloud = cloud
        self._book = book
        self._read_s: dict[str, int] = {}
        self._alarms: dict[str, tuple[str, ...]] = {}

    def refresh(self, zones: Iterable[str], rates: Mapping[str, int], now_s: int) -> bool:
        """Read the catalogues that are older than REFRESH_S; True when rates were added."""
        added = 0
        for zone in sorted(zones):
            if now_s - self._read_s.get(zone, -REFRESH_S) < REFRESH_S:
                continue
            try:
                offers = [offer for offer in self._cloud.offers(zone) if offer.gpus > 0]
            except CloudError as error:
                self._alarms[zone] = (f"prices of {zone} are not known: {error}",)
                continue
            self._read_s[zone] = now_s
            sane = [offer for offer in offers if fault(offer) is None]
            self._alarms[zone] = tuple(_alarms(offers, rates))
            added += accept_prices(self._book, sane, now_s, "catalogue")
        return added > 0

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the catalogues as last read, a sentence each."""
        return tuple(text for _, texts in sorted(self._alarms.items()) for text in texts)


def fault(offer: Offer) -> str | None:
    """Why a price cannot be put in force, or None."""
    if offer.rate_ucr_per_h is None:
        return f"{offer.flavor} has no price"
    per_gpu = offer.rate_ucr_per_h // offer.gpus
    if not LOWEST_UCR_PER_H <= per_gpu <= HIGHEST_UCR_PER_H:
        return f"{offer.flavor} costs an absurd {format_credits(per_gpu)} per GPU and hour"
    return None


def _alarms(offers: Iterable[Offer], rates: Mapping[str, int]) -> Iterable[str]:
    for offer in sorted(offers, key=lambda each: each.flavor):
        wrong = fault(offer)
        rate = rates.get(offer.flavor)
        if wrong:
            yield wrong
        elif rate is not None and rate != offer.rate_ucr_per_h:
            yield f"{offer.flavor} is listed at {offer.rate_ucr_per_h} ucr/h, charged at {rate}"

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
from quotas.program import Policy
from scheduler.clouds.base import Cloud, CloudError

REFRESH_S = 6 * 3600

log = structlog.get_logger()


class PriceWatch:
    """Reads each zone's catalogue now and then, and says what is wrong with it."""

    def __init__(self, cloud: Cloud, book: Book) -> None:
        self._cloud = cloud
        self._book = book
        self._read_s: dict[str, int] = {}
        self._alarms: dict[str, tuple[str, ...]] = {}

    def refresh(
        self, zones: Iterable[str], rates: Mapping[str, int], policy: Policy, now_s: int
    ) -> bool:
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
            sane = [offer for offer in offers if fault(offer, policy) is None]
            self._alarms[zone] = tuple(_alarms(offers, rates, policy))
            added += accept_prices(self._book, sane, now_s, "catalogue")
        return added > 0

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the catalogues as last read, a sentence each."""
        return tuple(text for _, texts in sorted(self._alarms.items()) for text in texts)


def fault(offer: Offer, policy: Policy) -> str | None:
    """Why a price cannot be put in force, or None."""
    if offer.rate_ucr_per_h is None:
        return f"{offer.flavor} has no price"
    per_gpu = offer.rate_ucr_per_h // offer.gpus
    low, high = policy.lowest_gpu_rate_ucr_per_h, policy.highest_gpu_rate_ucr_per_h
    if not low <= per_gpu <= high:
        return f"{offer.flavor} costs an absurd {per_gpu / 1e6:.4f} per GPU and hour"
    return None


def _alarms(offers: Iterable[Offer], rates: Mapping[str, int], policy: Policy) -> Iterable[str]:
    for offer in sorted(offers, key=lambda each: each.flavor):
        wrong = fault(offer, policy)
        rate = rates.get(offer.flavor)
        if wrong:
            yield wrong
        elif rate is not None and rate != offer.rate_ucr_per_h:
            yield f"{offer.flavor} is listed at {offer.rate_ucr_per_h} ucr/h, charged at {rate}"

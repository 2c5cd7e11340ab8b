"""Which catalogue prices are put in force, and which raise an alarm instead?

A flavor's first believable price becomes its fixed rate. Later catalogue prices never
change a rate by themselves: they alarm. Zero, missing and absurd prices are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import structlog

from quotas.book.cycle.commit import save_catalogue
from quotas.book.cycle.state import BookState, load_state
from quotas.book.session import Book
from quotas.decisions.overrides import Overrides, with_effective_mode
from quotas.metering.prices import is_absurd
from quotas.metering.runs import Catalogue
from quotas.model.observation import Cause, Complete, Offer, Sweep, Unknown
from quotas.model.units import format_credits
from scheduler.clouds.base import Cloud, CloudError
from scheduler.observe.zones import ZoneReader

REFRESH_S = 12 * 3600
UNPRICED_REFRESH_S = 600
LOWEST_UCR_PER_H, HIGHEST_UCR_PER_H = 100_000, 30_000_000
"""A GPU-hour outside 0.10 to 30 credits is taken for a mistake: Scaleway once listed 0.01."""

log = structlog.get_logger()


class PriceWatch:
    """Reads each zone's catalogue now and then, and says what is wrong with it."""

    def __init__(self, cloud: Cloud, book: Book, deadline_s: float) -> None:
        self._cloud = cloud
        self._book = book
        self._reader: ZoneReader[tuple[Offer, ...]] = ZoneReader("prices", deadline_s)
        self._read_s: dict[str, int] = {}
        self._alarms: dict[str, tuple[str, ...]] = {}
        self.has_unpriced_runs = False

    def apply_prices(self, state: BookState, now_s: int) -> BookState:
        """The state in the mode that stands, with the prices of now: read again if need be."""
        assert state.program is not None
        self.has_unpriced_runs = any(run.rate_ucr_per_h is None for run in state.runs)
        program = state.program
        catalogue = state.catalogue.at(now_s)
        if self.refresh(program.zones, catalogue, now_s):
            state = load_state(self._book)
            catalogue = state.catalogue.at(now_s)
        program = with_effective_mode(program, Overrides(state.enforcement.overrides, now_s))
        return replace(state, program=program, catalogue=catalogue)

    def refresh(self, zones: Iterable[str], catalogue: Catalogue, now_s: int) -> bool:
        """Read the catalogues that are old, or all while something is not priced; True if any."""
        patience_s = UNPRICED_REFRESH_S if self.has_unpriced_runs else REFRESH_S
        # Read ahead of now: the clock stepped back, and would be waited for.
        ages = {zone: now_s - self._read_s.get(zone, -patience_s) for zone in zones}
        due = [zone for zone in sorted(ages) if not 0 <= ages[zone] < patience_s]
        found = self._reader.read(due, self._cloud.offers, now_s)
        for zone, offers in found.items():
            if isinstance(offers, CloudError):
                self._alarms[zone] = (f"prices of {zone} are not known: {offers}",)
                continue
            self._read_s[zone] = now_s
            rates = catalogue.rates_ucr_per_h
            believable = [o for o in offers if o.gpus and is_believable(o, rates)]
            self._alarms[zone] = tuple(_alarms(offers, rates))
            save_catalogue(self._book, offers, believable, now_s, "catalogue")
        return bool(found)

    def mask_unlisted(
        self, sweeps: Mapping[str, Sweep], state: BookState, now_s: int
    ) -> Mapping[str, Sweep]:
        """The sweeps; Unknown where no catalogue was read yet, since no type is known there.

        What runs there is not metered, and the zone must not count as known meanwhile.
        """
        listed = {flavor.partition("@")[2] for flavor in state.catalogue.gpus}
        known = listed | self._read_s.keys() | state.confirmed.keys()
        unlisted = {
            zone: Unknown(zone, now_s, Cause.UNREACHABLE, "its catalogue was not read yet")
            for zone, sweep in sweeps.items()
            if zone not in known and isinstance(sweep, Complete)
        }
        return {**sweeps, **unlisted}

    def close(self) -> None:
        """Let the threads that read end."""
        self._reader.close()

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the catalogues as last read, a sentence each."""
        return tuple(text for _, texts in sorted(self._alarms.items()) for text in texts)


def price_fault(offer: Offer) -> str | None:
    """Why a price cannot be put in force, or None."""
    if offer.rate_ucr_per_h is None:
        return f"{offer.flavor} has no price"
    per_gpu = offer.rate_ucr_per_h // offer.gpus
    if not LOWEST_UCR_PER_H <= per_gpu <= HIGHEST_UCR_PER_H:
        return f"{offer.flavor} costs an absurd {format_credits(per_gpu)} per GPU and hour"
    return None


def is_believable(offer: Offer, rates: Mapping[str, int]) -> bool:
    """Whether a listed price can be true: neither missing, zero nor far from the rate in force."""
    listed, rate = offer.rate_ucr_per_h, rates.get(offer.flavor)
    if listed is None or price_fault(offer) is not None:
        return False
    return rate is None or not is_absurd(listed, rate)


def _alarms(offers: Iterable[Offer], rates: Mapping[str, int]) -> Iterable[str]:
    """What is wrong with a listing: no believable price, or not the rate in force."""
    for offer in sorted((o for o in offers if o.gpus), key=lambda each: each.flavor):
        wrong, listed, rate = price_fault(offer), offer.rate_ucr_per_h, rates.get(offer.flavor)
        if wrong is not None or listed is None:
            yield wrong or f"{offer.flavor} has no price"
        elif rate is not None and is_absurd(listed, rate):
            yield (
                f"{offer.flavor} is listed at an absurd {format_credits(listed)} an hour, "
                f"charged at {format_credits(rate)}"
            )
        elif rate is not None and rate != listed:
            yield (
                f"{offer.flavor} is listed at {format_credits(listed)} an hour, "
                f"charged at {format_credits(rate)}"
            )

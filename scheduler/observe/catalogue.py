"""Reads of the zones' price catalogues: which are due, what they answered, and their alarms.

The first believable price of a flavor becomes its rate when the cycle saves the offers. A
later catalogue price never changes a rate: it raises an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quotas.book.cycle.catalogues import CatalogueNeeds
from quotas.book.cycle.state import BookState
from quotas.metering.prices import price_alarms
from quotas.metering.runs import Catalogue
from quotas.model.observation import Cause, Complete, Offer, Sweep, Unknown
from scheduler.clouds.base import Cloud, CloudError
from scheduler.observe.zones import ZoneReader

REFRESH_S = 12 * 3600
UNPRICED_REFRESH_S = 600
"""The same while a run has no price."""


class CatalogueReader:
    """Reads each zone's catalogue every 12 hours; `mark_saved` records what is in the book."""

    def __init__(self, cloud: Cloud, deadline_s: float) -> None:
        self._cloud = cloud
        self._reader: ZoneReader[tuple[Offer, ...]] = ZoneReader("prices", deadline_s)
        self._saved_s: dict[str, int] = {}
        self._offers: dict[str, tuple[Offer, ...]] = {}
        self._failures: dict[str, str] = {}

    def due_zones(self, needs: CatalogueNeeds, now_s: int) -> list[str]:
        """The zones whose catalogue is old, or was never saved by this daemon."""
        max_age_s = UNPRICED_REFRESH_S if needs.has_unpriced_runs else REFRESH_S
        # An age below 0 means that the clock stepped back; waiting for it could take days.
        ages = {zone: now_s - self._saved_s.get(zone, -max_age_s) for zone in needs.zones}
        due = [zone for zone in sorted(ages) if not 0 <= ages[zone] < max_age_s]
        return self._reader.askable(due, now_s)

    def read(self, zones: Iterable[str], now_s: int) -> dict[str, tuple[Offer, ...]]:
        """The offers of each zone that answered in time; the other zones raise an alarm."""
        offers_by_zone: dict[str, tuple[Offer, ...]] = {}
        for zone, answer in self._reader.read(zones, self._cloud.offers, now_s).items():
            if isinstance(answer, CloudError):
                self._failures[zone] = f"prices of {zone} are not known: {answer}"
            else:
                offers_by_zone[zone] = answer
        return offers_by_zone

    def mark_saved(self, zone: str, offers: tuple[Offer, ...], now_s: int) -> None:
        """Remember that a zone's offers are in the book; before that it counts as unread."""
        self._failures.pop(zone, None)
        self._saved_s[zone], self._offers[zone] = now_s, offers

    def mask_unlisted(
        self, sweeps: Mapping[str, Sweep], state: BookState, now_s: int
    ) -> Mapping[str, Sweep]:
        """The sweeps, with Unknown for a zone whose catalogue was never read.

        No server type is known there, so its servers cannot be metered. If the zone counted as
        known meanwhile, that time would never be charged.
        """
        listed = {flavor.partition("@")[2] for flavor in state.catalogue.gpus}
        known = listed | self._saved_s.keys() | state.confirmed.keys()
        unlisted = {
            zone: Unknown(zone, now_s, Cause.UNREACHABLE, "its catalogue was not read yet")
            for zone, sweep in sweeps.items()
            if zone not in known and isinstance(sweep, Complete)
        }
        return {**sweeps, **unlisted}

    def alarms(self, catalogue: Catalogue) -> tuple[str, ...]:
        """What is wrong with the catalogues as last read, compared with the rates in force."""
        texts: list[str] = []
        for zone in sorted(self._failures.keys() | self._offers.keys()):
            if zone in self._failures:
                texts.append(self._failures[zone])
            else:
                texts += price_alarms(self._offers[zone], catalogue.rates_ucr_per_h)
        return tuple(texts)

    def close(self) -> None:
        """Let the threads that read end."""
        self._reader.close()

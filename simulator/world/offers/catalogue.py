"""The server types that each zone sells, with their prices, read once from `offers.csv`.

The table is what Scaleway listed in August 2026, with the price of fr-par-2 where zones differ.
`rate_ucr_per_h` is in micro-euros per hour; the last column names the zones that sell the type.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

ZONES = (
    *("fr-par-1", "fr-par-2", "fr-par-3", "nl-ams-1", "nl-ams-2", "nl-ams-3"),
    *("pl-waw-1", "pl-waw-2", "pl-waw-3", "it-mil-1"),
)
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Offer:
    """A server type as a zone lists it. `rate_ucr_per_h` is the price in the table."""

    commercial_type: str
    zone: str
    ncpus: int
    ram_bytes: int
    rate_ucr_per_h: int
    scratch_bytes: int
    internet_bps: int
    block_bps: int
    gpus: int
    gpu_name: str
    gpu_memory_bytes: int

    @property
    def family(self) -> str:
        """The hardware that offers share: a GPU's name, or the type's first word."""
        return self.gpu_name or self.commercial_type.split("-")[0]


def _offer(row: Mapping[str, str], zone: str) -> Offer:
    """A row of the table as the offer of a zone."""
    return Offer(
        commercial_type=row["commercial_type"],
        zone=zone,
        ncpus=int(row["vcpus"]),
        ram_bytes=int(row["ram_gib"]) * GIB,
        rate_ucr_per_h=int(row["rate_ucr_per_h"]),
        scratch_bytes=int(row["scratch_gb"]) * 10**9,
        internet_bps=int(row["internet_mbps"]) * 10**6,
        block_bps=int(row["block_mibps"]) * 2**20,
        gpus=int(row["gpus"]),
        gpu_name=row["gpu_name"],
        gpu_memory_bytes=int(row["gpu_gib"]) * GIB,
    )


def _by_zone() -> dict[str, dict[str, Offer]]:
    """Every offer, by zone and then by type, types in alphabetical order as in the table."""
    table = resources.files("simulator.world.offers") / "offers.csv"
    offers: dict[str, dict[str, Offer]] = {zone: {} for zone in ZONES}
    for row in csv.DictReader(table.read_text().splitlines()):
        for zone in row["zones"].split():
            offers[zone][row["commercial_type"]] = _offer(row, zone)
    return offers


OFFERS = _by_zone()

"""The offers of each zone, parsed once from the table."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.world.offers.offer_table import ROWS, ZONE_LETTERS

ZONES = tuple(ZONE_LETTERS.values())
GIB = 2**30

_GPU_NAMES = {"H100-SXM": "H100-SXM", "H100": "H100-PCIe", "L4": "L4", "L40S": "L40S"}
_GPU_NAMES |= {"B300-SXM": "B300-SXM", "RENDER": "P100"}


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


def _gpu(commercial_type: str) -> tuple[int, str, int]:
    """GPU count, GPU name and memory of one GPU, all read from the type's name."""
    if commercial_type == "RENDER-S":
        return 1, "P100", 16 * GIB
    family, _, rest = commercial_type.rpartition("-")
    family, _, count = family.rpartition("-")
    if family not in _GPU_NAMES:
        return 0, "", 0
    return int(count), _GPU_NAMES[family], int(rest.removesuffix("G")) * GIB


def _parse(row: str) -> list[Offer]:
    """One row of the table as an offer in each of its zones."""
    name, ncpus, ram_gib, rate, scratch_gb, mbps, block_mib, letters = row.split()
    gpus, gpu_name, gpu_memory = _gpu(name)
    return [
        Offer(
            commercial_type=name,
            zone=ZONE_LETTERS[letter],
            ncpus=int(ncpus),
            ram_bytes=int(float(ram_gib) * GIB),
            rate_ucr_per_h=int(rate),
            scratch_bytes=int(scratch_gb) * 10**9,
            internet_bps=int(mbps) * 10**6,
            block_bps=int(block_mib) * 2**20,
            gpus=gpus,
            gpu_name=gpu_name,
            gpu_memory_bytes=gpu_memory,
        )
        for letter in letters
    ]


def _by_zone() -> dict[str, dict[str, Offer]]:
    """Every offer, by zone and then by type, types in alphabetical order as the API lists."""
    offers = [offer for row in ROWS.strip().splitlines() for offer in _parse(row)]
    return {
        zone: {
            offer.commercial_type: offer
            for offer in sorted(offers, key=lambda offer: offer.commercial_type)
            if offer.zone == zone
        }
        for zone in ZONES
    }


OFFERS = _by_zone()
GPU_ZONES = tuple(zone for zone in ZONES if any(offer.gpus for offer in OFFERS[zone].values()))

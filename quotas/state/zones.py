"""The zones that are swept: the program's, and those it left until what is open there ends.

If a zone is taken out of `program.zones` while a server runs in it, the server is still
metered. Otherwise its run would never end, and no grant after it could end either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from quotas.metering.runs import Run
from quotas.model.program import Program
from quotas.state.notices import Intent, Notice


def open_zones(
    runs: Iterable[Run], notices: Iterable[Notice], intents: Iterable[Intent]
) -> set[str]:
    """Zones in which something runs, waits for its price, or is announced by a live notice."""
    zones = {run.zone for run in runs if run.end_s is None or run.rate_ucr_per_h is None}
    zones |= {notice.zone for notice in notices}
    return zones | {intent.zone for intent in intents if intent.is_live}


def with_zones(program: Program, zones: Iterable[str]) -> Program:
    """The program, with zones that it left and that are still open added to its own."""
    left = set(zones) - {"", *program.zones}  # a notice about a whole startup has no zone
    return replace(program, zones=(*program.zones, *sorted(left))) if left else program


def known_until_s(program: Program, confirmed: Mapping[str, int]) -> int | None:
    """The instant until which every swept zone is known, of those that ever were."""
    return min((confirmed[zone] for zone in program.zones if zone in confirmed), default=None)

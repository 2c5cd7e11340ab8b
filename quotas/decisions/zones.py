"""Which zones are swept? The program's, and those it left, until what is open in them ends.

A zone that is taken out of `program.zones` while a server runs in it is metered on, as what
a leaver's projects run is: else its run would never end, and no grant after it could.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from quotas.decisions.notices import Intent, Notice
from quotas.metering.runs import Run
from quotas.model.program import Program


def with_open_zones(
    program: Program, runs: Iterable[Run], notices: Iterable[Notice], intents: Iterable[Intent]
) -> Program:
    """The program with the zones it left in which something runs, waits for its price or is
    promised; `notices` are the live ones."""
    kept = {run.zone for run in runs if run.end_s is None or run.rate_ucr_per_h is None}
    kept |= {notice.zone for notice in notices}
    kept |= {intent.zone for intent in intents if intent.is_live}
    left = kept - {"", *program.zones}  # what is about a whole startup is of no zone
    return replace(program, zones=(*program.zones, *sorted(left))) if left else program


def known_until_s(program: Program, confirmed: Mapping[str, int]) -> int | None:
    """Until when every zone that is swept is known, of those that ever were."""
    return min((confirmed[zone] for zone in program.zones if zone in confirmed), default=None)

"""Tolerances: intervals in which a fault kept the daemon from its duties.

They come from trouble in the region, overrides and the disruption budget. Each interval ends.
After the daemon's next look it owes the same as before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from ..scenario.events import LISTINGS
from ..scenario.script import NAMES
from .conduct import FRESH_S, NOTICE_S, STOP_S
from .evidence import Evidence, Interval, Row
from .intervals import both, union
from .metering import clock_trouble

Tolerances = dict[str, list[Interval]]
HOUR_S, DAY_S = 3_600, 86_400
LONGEST_PAUSE_S = 900
"""The pause before a failed stop is tried again."""
HARMLESS = ("shuffled", "unknown-state", *LISTINGS)
"""Faults that do not prevent a stop."""
NO_STOCK = "no-stock"
"""Faults that prevent a reclaim only: without a known stock nothing is reclaimed."""
IN_VAIN = ("failed", "expired", "abandoned")
"""The states of stops that did not happen."""
HOLDS_BACK = ("freeze", "maintenance", "exempt", "undo")
"""Overrides for which a stop waits, or is not decided."""


def troubled(found: Evidence) -> Tolerances:
    """Intervals of trouble by zone, server and startup, of the stock, and ("") of everything."""
    troubles: Tolerances = defaultdict(list)
    for window in found.script.windows:
        span = (window.from_s - STOP_S, window.until_s + STOP_S)
        if window.kind == NO_STOCK:
            troubles[NO_STOCK].append(span)
        elif window.kind not in HARMLESS:
            troubles[window.zone].append(span)
    troubles[""] += clock_trouble(found)
    if found.script.dice:
        troubles[""] += [(at_s - STOP_S, at_s + 2 * STOP_S) for at_s in found.incidents]
    for override in found.overrides:
        if override.family in HOLDS_BACK:
            until_s = override.until_s if override.until_s is not None else override.at_s + DAY_S
            whose = f"startup:{override.subject}" if override.subject in NAMES else override.subject
            span = (override.at_s - STOP_S, until_s + NOTICE_S + STOP_S)
            troubles["" if override.subject == "*" else whose].append(span)
    for server, spans in found.unstoppable.items():
        troubles[server] += [(from_s - STOP_S, until_s + STOP_S) for from_s, until_s in spans]
    for server, tries in _in_vain(found, troubles).items():
        troubles[server] += tries
    return troubles


def _in_vain(found: Evidence, troubles: Tolerances) -> Tolerances:
    """Stops that trouble prevented, and the pause before the next attempt."""
    tries: Tolerances = defaultdict(list)
    for intent in found.intents:
        server, ended_s = intent["server_id"], intent["ended_s"]
        if intent["state"] not in ("failed", "expired") or intent["action"] != "poweroff":
            continue
        names = (intent["zone"], "", server)
        since_s, until_s = intent["decided_s"] - FRESH_S, ended_s + FRESH_S
        if any(a < until_s and b > since_s for name in names for a, b in troubles[name]):
            tries[server].append((intent["decided_s"], ended_s + LONGEST_PAUSE_S))
    return tries


def held_back(found: Evidence) -> Tolerances:
    """While the budget deferred stops: by rule and server, by server, and by startup.

    One server may always be stopped, so a stop is deferred only because of one in the last hour.
    """
    held: Tolerances = defaultdict(list)
    since: dict[tuple[str, str, str], int] = {}
    spans: list[tuple[tuple[str, str, str], Interval]] = []
    for row in found.decisions:
        key = (row["startup"], row["server_id"], row["rule"])
        if row["verb"] == "defer":
            since.setdefault(key, row["at_s"])
        elif row["verb"] in ("stop", "cancelled") and key in since:
            spans.append((key, (since.pop(key), row["at_s"] + 1)))
    spans += [(key, (from_s, found.now_s)) for key, from_s in since.items()]
    counted = union(_counted(i) for i in found.intents if i["action"] == "poweroff")
    for (startup, server, rule), span in spans:
        for name in (f"{rule}:{server}", server, f"startup:{startup}"):
            held[name].append(span)
    return defaultdict(list, {name: both(each, counted) for name, each in held.items()})


def _counted(intent: Row) -> Interval:
    """How long the budget counts a stop; a failed one counts as long as it might still happen."""
    from_s, until_s = intent["decided_s"], intent["decided_s"] + HOUR_S
    if intent["state"] in IN_VAIN:
        until_s = min(until_s, intent["ended_s"] + FRESH_S)
    return from_s, until_s + 1


def lasted_too_long(
    sweeps: list[int], due_s: int, takes_s: int, until_s: int, tolerated: Iterable[Interval]
) -> bool:
    """Whether something took longer than it may, from when it was due or possible.

    If trouble touched that time, the time counts from the next look without trouble.
    """
    spans = union(tolerated)
    while due_s + takes_s < until_s:
        ends = [b for a, b in spans if a < due_s + takes_s and b > due_s - FRESH_S]
        if not ends:
            return True
        at = bisect_right(sweeps, max(due_s, *ends))
        if at == len(sweeps):
            return False
        due_s = sweeps[at]
    return False

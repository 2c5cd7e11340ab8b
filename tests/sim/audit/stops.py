"""I11 and promise 4: the daemon stops servers in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..scenario.script import START_S, ZONES
from .conduct import FRESH_S, NOTICE_S, STOP_S
from .evidence import Evidence, Row
from .intervals import both
from .ledger import is_overdraft
from .tolerances import NO_STOCK, Tolerances, held_back, lasted_too_long, troubled

UNFORESEEN = ("void", "refund", "correction", "hold", "expiry", "rollover", "transfer")
"""Transfers that take credits away at once; usage in the notice after an expiry is overdraft."""
HOUR_S = 3_600
PAYS_S = NOTICE_S + STOP_S + FRESH_S
"""From an overdraft that is seen to the last stop."""
LANDS_S = NOTICE_S + 30 + 300
"""What the reserve pays for: the notice, a cycle, and a stop of the policy's latency."""


def overdue_stops(found: Evidence) -> Iterator[str]:
    """Every server that ran on after its deadline, and every avoidable overdraft."""
    if found.script.mode == "enforce":
        tolerances, held = troubled(found), held_back(found)
        yield from _stops(found, tolerances, held)
        yield from _overspent(found, tolerances, held)
        yield from _landings(found, tolerances, held)
        yield from _after_the_end(found, held)


def _sweeps_by_zone(found: Evidence) -> dict[str, list[int]]:
    """When each zone answered Complete."""
    return {zone: [s.asked_s for s in found.complete[zone]] for zone in ZONES}


def _stops(found: Evidence, tolerances: Tolerances, held: Tolerances) -> Iterator[str]:
    """I11: a server is off within T_stop after its notice ended, unless a fault prevented it.

    After a fault, T_stop counts from the first Complete sweep that nothing prevented.
    """
    sweeps_by_zone = _sweeps_by_zone(found)
    for notice in found.notices:
        server, deadline_s = notice["server_id"], notice["deadline_s"]
        if not server or notice["state"] in ("cancelled", "shadow"):
            continue
        # Started again after it was seen off, it has a notice of its own, or goes on with this one.
        from_s = deadline_s if notice["off_s"] is None else min(deadline_s, notice["off_s"])
        spans = [s for s in found.truth[server] if s[0] < from_s and s[1] > deadline_s]
        # What is lent is taken back only while every zone of the pool is known, and the stock.
        zones = (*ZONES, NO_STOCK) if notice["rule"] == "reclaim" else (notice["zone"],)
        names = (*zones, "", server, f"startup:{notice['startup']}")
        own = [span for name in names for span in tolerances[name]]
        own += held[f"{notice['rule']}:{server}"]
        hindered = bool(both([(deadline_s - FRESH_S, deadline_s + STOP_S)], own))
        for _, end_s in spans:
            found.judged["I11"] += not hindered or end_s > deadline_s + STOP_S
            if lasted_too_long(sweeps_by_zone[notice["zone"]], deadline_s, STOP_S, end_s, own):
                yield f"I11 {server} was to stop at {deadline_s}, ran to {end_s}"


def _overspent(found: Evidence, tolerances: Tolerances, held: Tolerances) -> Iterator[str]:
    """Promise 4: after credits are seen to be gone, servers run no longer than their notice."""
    sweeps_by_zone = _sweeps_by_zone(found)
    gone: dict[str, list[int]] = defaultdict(list)
    last: dict[tuple[str, int], tuple[int, bool]] = {}
    relief: dict[str, list[int]] = defaultdict(list)
    for row in found.transfers:
        if row["kind"] == "charge":
            over = any(is_overdraft(a) for a, ucr in row["entries"] if ucr < 0)
            key = (row["startup"], row["recorded_s"])
            last[key] = max(last.get(key, (0, True)), (row["detail"]["end_s"], over))
        elif _gives(row):
            relief[row["startup"]].append(max(row["at_s"], row["recorded_s"]))
    for (startup, recorded_s), (_, over) in last.items():
        if over:
            gone[startup].append(recorded_s)
    left = {n.name for _, p in found.programs for n in p.startups()} - {
        s.name for s in found.programs[-1][1].startups()
    }
    for run in found.runs:
        startup, server = run["startup"], run["server_id"]
        seen_s = next((s for s in gone[startup] if s > run["start_s"]), None)
        if seen_s is None or startup in left or seen_s + NOTICE_S > found.script.end_s:
            continue
        end_s = run["end_s"] if run["end_s"] is not None else found.now_s
        until_s = min([end_s, *(at_s for at_s in relief[startup] if at_s >= seen_s - 1)])
        found.judged["P4"] += until_s >= seen_s + NOTICE_S
        if until_s <= seen_s + PAYS_S:
            continue
        names = (run["zone"], "", server, f"startup:{startup}")
        own = [span for name in names for span in tolerances[name]] + held[server]
        if lasted_too_long(sweeps_by_zone[run["zone"]], seen_s, PAYS_S, until_s, own):
            yield f"P4 {server} of {startup} ran to {end_s} on an overdraft posted at {seen_s}"


def _gives(row: Row) -> bool:
    """Whether a transfer gives a startup credits to spend."""
    mine = f"grant:{row['startup']}:"
    return any(account.startswith(mine) and ucr > 0 for account, ucr in row["entries"])


def _landings(found: Evidence, tolerances: Tolerances, held: Tolerances) -> Iterator[str]:
    """Promise 4: if the burn was known and did not rise, credits pay for the whole notice."""
    clean = sorted(s.asked_s for zone in found.swept for s in found.complete[zone])
    moved: dict[str, list[int]] = defaultdict(list)
    for row in found.transfers:
        if row["kind"] in UNFORESEEN:
            moved[row["startup"]] += [row["at_s"], row["recorded_s"]]
    starts: dict[str, list[int]] = defaultdict(list)
    zones: dict[str, set[str]] = defaultdict(set)
    members = {s.name for s in found.programs[-1][1].startups()}
    for run in found.runs:
        starts[run["startup"]].append(run["start_s"])
        zones[run["startup"]].add(run["zone"])
    first: dict[str, int] = {}
    for flavor, _, at_s in sorted(found.believed, key=lambda each: each[2]):
        first.setdefault(flavor, at_s)
    for row in found.transfers:
        over = [a for a, ucr in row["entries"] if is_overdraft(a) and ucr < 0]
        if row["kind"] != "charge" or not over or row["startup"] not in members:
            continue
        over_s = row["detail"]["end_s"]
        if over_s > found.script.end_s:
            continue  # the cohort's end has a notice of its own, which falls due at that instant
        look_s = next((s for s in reversed(clean) if s <= over_s - LANDS_S - FRESH_S), 0)
        rose = any(look_s - HOUR_S <= s <= over_s for s in starts[row["startup"]])
        shakes = (*moved[row["startup"]], *(at_s for at_s, _ in found.programs))
        # A run of which no price was believed yet has no burn; then it is charged at once.
        priced_s = first[row["detail"]["flavor"]]
        shaken = priced_s > look_s - HOUR_S or any(
            look_s - HOUR_S <= at_s <= row["recorded_s"] for at_s in shakes
        )
        detail = row["detail"]
        names = (*zones[row["startup"]], "", detail["server"], f"startup:{row['startup']}")
        own = [span for name in names for span in (*tolerances[name], *held[name])]
        # While the daemon did not see the run, others could use the same credits.
        found.judged["P4"] += not rose and not shaken
        if not rose and not shaken and not both(own, [(look_s - HOUR_S, row["recorded_s"])]):
            yield (
                f"P4 {row['startup']} is overdrawn at {over_s}, though its burn was known "
                f"at {look_s}"
            )


def _after_the_end(found: Evidence, held: Tolerances) -> Iterator[str]:
    """After the cohort's end, servers run no longer than a notice and a stop take."""
    for server, spans in found.truth.items():
        # Started after its startup left: no startup owns it, so cohortd may not touch it.
        owned = found.owned(server)
        ours = [(a, b) for a, b in spans if any(start <= a < end for start, end in owned)]
        let_s = max((end_s for _, end_s in held[server]), default=0)
        if not ours:
            continue
        since_s = max(START_S, _seen_after_the_end(found, server) + NOTICE_S, let_s) + STOP_S
        found.judged["I11"] += any(end_s > found.script.end_s for _, end_s in ours)
        if any(end_s > since_s and start_s < found.script.end_s for start_s, end_s in ours):
            yield f"I11 {server} runs on after the end of its cohort"


def _seen_after_the_end(found: Evidence, server: str) -> int:
    """The cohort's end, or the first answer of the server's zone after an outage at the end."""
    end_s = found.script.end_s
    zone = next(found.kinds[server, start_s][0] for start_s, _ in found.truth[server])
    outages = [w for w in found.script.windows if w.kind == "outage" and w.zone == zone]
    if not any(w.from_s <= end_s < w.until_s for w in outages):
        return end_s
    return next((s.at_s for s in found.complete[zone] if s.at_s >= end_s), found.now_s)

"""The rules limit, standby and membership, and the disruption budget, by the region's truth.

The auditor looks at the cycles in which every zone answered truly and nothing went wrong. A
server that must stop has a notice by the end of such a cycle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from simulator.world.offers.catalogue import OFFERS

from .conduct import FRESH_S, SLOW_S
from .evidence import Evidence, Row
from .intervals import both, union
from .metering import SLACK_S, clock_trouble
from .tolerances import IN_VAIN, troubled

LEAK_S = 1_800
HOUR_S = 3_600
DAY_S = 86_400
GUARD_PART = 4
"""A quarter of the running GPUs may be stopped unexpectedly within an hour."""


def rules(clean_cycles: CleanCycles) -> Iterator[str]:
    """Every server that must stop and has no notice, and every stop above the budget."""
    found = clean_cycles.found
    yield from _limits(clean_cycles)
    yield from _standby(clean_cycles)
    yield from _members(clean_cycles)
    yield from _within_budget(found)
    yield from _confirmed(found)
    yield from _seen(found)
    yield from _believed(found)


def gpus_of(zone: str, kind: str) -> int:
    """How many GPUs a type has, by the region's own catalogue."""
    return OFFERS[zone][kind].gpus


class CleanCycles:
    """The instants of clean cycles that saw every zone, and the servers that ran at each."""

    def __init__(self, found: Evidence) -> None:
        self.found = found
        seen: dict[int, int] = defaultdict(int)
        zones = list(found.swept)
        for zone in zones:
            for sweep in found.complete[zone]:
                is_cycle = sweep.cycle_s in found.committed
                if is_cycle and not sweep.is_stale and sweep.asked_s == sweep.at_s:
                    seen[sweep.at_s] += 1
        self._troubles = {name: union(spans) for name, spans in troubled(found).items()}
        self._troubles["all"] = union(
            span for name in ("", *zones) for span in self._troubles.get(name, ())
        )
        self.at = [
            at_s
            for at_s, count in sorted(seen.items())
            if count == len(zones) and at_s < found.script.end_s
            if not self.is_troubled(at_s, "all")
        ]
        self.notices: dict[str, list[Row]] = defaultdict(list)
        for notice in found.notices:
            self.notices[notice["server_id"]].append(notice)

    def is_troubled(self, at_s: int, *names: str, until_s: int = 0) -> bool:
        """Whether trouble of these servers or startups touches an instant or an interval."""
        for name in names:
            spans = self._troubles.get(name, ())
            last = bisect_right(spans, (max(at_s, until_s) + FRESH_S, 0)) - 1
            if last >= 0 and spans[last][1] >= at_s - FRESH_S:
                return True
        return False

    def program(self, at_s: int) -> Any | None:
        """The program in force; None just after a change."""
        past = [(s, p) for s, p in self.found.programs if s <= at_s]
        return past[-1][1] if past and (past[-1][0] < at_s - FRESH_S or len(past) == 1) else None

    def names(self, server: str, at_s: int) -> list[str]:
        """The names under which trouble of a server's startup is kept."""
        program = self.program(at_s)
        owner = program.owner(self.found.projects[server], at_s) if program else None
        return [f"startup:{owner.name}"] if owner is not None else []

    def running(self, at_s: int) -> list[tuple[str, int]]:
        """Servers that run for certain, with their GPUs."""
        return [
            (server, gpus_of(*self.found.kinds[server, start_s]))
            for server, spans in self.found.truth.items()
            for start_s, end_s in spans
            if start_s < at_s and end_s > at_s + SLACK_S
        ]

    def has_notice(self, server: str, rule: str, from_s: int, at_s: int) -> bool:
        """Whether a server had a notice by a rule."""
        return any(
            n["rule"] == rule and from_s <= n["opened_s"] <= at_s + FRESH_S
            for n in self.notices[server]
        )


def _limits(clean_cycles: CleanCycles) -> Iterator[str]:
    """A startup above its limit has a notice for a server that runs."""
    found = clean_cycles.found
    limited = any(limit is not None for limit in found.script.limits)
    for at_s in clean_cycles.at if limited else ():
        program = clean_cycles.program(at_s)
        if program is None:
            continue
        used: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for server, gpus in clean_cycles.running(at_s):
            owner = program.owner(clean_cycles.found.projects[server], at_s)
            if owner is not None:
                used[owner.name].append((server, gpus))
        for name, servers in used.items():
            member = program.startup(name)  # a startup that left has no limit, but must stop
            limit = member.limit.get("h100") if member is not None else None
            total = sum(gpus for _, gpus in servers)
            found.judged["limit"] += limit is not None
            if limit is None or total <= limit:
                continue
            if clean_cycles.is_troubled(
                at_s, f"startup:{name}", *(server for server, _ in servers)
            ):
                continue
            if not any(clean_cycles.has_notice(server, "limit", 0, at_s) for server, _ in servers):
                yield f"limit: {name} runs {total} GPUs of {limit} at {at_s}, without a notice"


def _standby(clean_cycles: CleanCycles) -> Iterator[str]:
    """A server that has long been stopped in place has a notice."""
    for server, spans in clean_cycles.found.in_place.items():
        for since_s, until_s in spans:
            first = bisect_right(clean_cycles.at, since_s + LEAK_S)
            for at_s in clean_cycles.at[first : first + 1]:
                mine = both(clean_cycles.found.owned(server), [(since_s, at_s + 1)])
                in_standby = at_s < until_s and mine == [(since_s, at_s + 1)]
                in_standby = in_standby and not clean_cycles.is_troubled(
                    at_s, server, *clean_cycles.names(server, at_s)
                )
                clean_cycles.found.judged["standby"] += in_standby
                if in_standby and not clean_cycles.has_notice(server, "standby", since_s, at_s):
                    yield f"standby: {server} is stopped in place since {since_s}, without a notice"


def _members(clean_cycles: CleanCycles) -> Iterator[str]:
    """A server that runs on after its startup left has a notice."""
    for (_, before), (left_s, after) in zip(
        clean_cycles.found.programs, clean_cycles.found.programs[1:], strict=False
    ):
        gone = {s.name for s in before.startups()} - {s.name for s in after.startups()}
        last = (
            clean_cycles.at[max(0, bisect_right(clean_cycles.at, left_s) - 1)]
            if clean_cycles.at
            else 0
        )
        first = bisect_right(clean_cycles.at, left_s + FRESH_S)
        for at_s in clean_cycles.at[first : first + 1] if gone else ():
            for server, spans in clean_cycles.found.truth.items():
                owner = before.owner(clean_cycles.found.projects[server], left_s - 1)
                ran = any(s <= last and e > at_s + SLACK_S for s, e in spans)
                ours = owner is not None and owner.name in gone and last < left_s
                ours = ours and not clean_cycles.is_troubled(at_s, server, f"startup:{owner.name}")
                clean_cycles.found.judged["member"] += ours and ran
                if ours and ran and not clean_cycles.has_notice(server, "membership", left_s, at_s):
                    yield f"member: {server} runs on at {at_s}, and its startup left"


def _within_budget(found: Evidence) -> Iterator[str]:
    """At most a quarter of the running GPUs are stopped unexpectedly within an hour."""
    notices = {notice["id"]: notice for notice in found.notices}
    announced: dict[tuple[str, str], int] = {}
    for notice in found.notices:
        if notice["rule"] == "runway" and notice["mode"] == "enforce":
            key = (notice["startup"], notice["episode"].rpartition(":")[2])
            announced[key] = min(notice["opened_s"], announced.get(key, notice["opened_s"]))
    counted: list[Row] = []
    for intent in found.intents:
        notice = notices.get(intent["notice_id"])
        is_stop = intent["action"] == "poweroff" and notice is not None
        if is_stop and not _is_expected(found, notice, announced):
            counted.append(intent)
    off = list(clock_trouble(found))
    for intent in counted:
        at_s, named = intent["decided_s"], intent["server_id"]
        hour = [
            (i["server_id"], i["decided_s"])
            for i in counted
            if at_s - HOUR_S < i["decided_s"] <= at_s and not _came_to_nothing(i, at_s)
        ]
        if any(server == named and s < at_s for server, s in hour):
            continue  # each server counts once: it was let pass before
        window = {**dict(hour), named: at_s}
        stopped = sum(_gpus_at(found, server, s) for server, s in window.items())
        ran = stopped + sum(
            _gpus_at(found, server, at_s)
            for server, spans in found.truth.items()
            if server not in window and both(spans, [(at_s - SLACK_S, at_s + SLACK_S)])
        )
        if len(window) < 2 or both(off, [(at_s, at_s + 1)]):
            continue  # one server may always be stopped
        found.judged["disruption_budget"] += 1
        if stopped * GUARD_PART > ran:
            yield f"disruption-budget: {stopped} of {ran} GPUs were stopped before {at_s}"


def _came_to_nothing(intent: Row, at_s: int) -> bool:
    """Whether a stop had ended by then, and stopped no server."""
    return intent["state"] in IN_VAIN and bool(intent["ended_s"] <= at_s)


def _is_expected(found: Evidence, notice: Row, announced: dict[tuple[str, str], int]) -> bool:
    """Whether a stop was requested, or announced a day before."""
    if notice["rule"] == "operator" or str(notice["id"]) in found.approved:
        return True
    granted = notice["episode"].removeprefix("credits:")
    first_s = announced.get((notice["startup"], granted)) if notice["rule"] == "credits" else None
    since_s = min(notice["opened_s"], first_s if first_s is not None else notice["opened_s"])
    return bool(notice["deadline_s"] - since_s >= DAY_S)


def _gpus_at(found: Evidence, server: str, at_s: int) -> int:
    """The GPUs of a server in its last run before an instant, or the first after it."""
    starts = [start_s for start_s, _ in found.truth[server]]
    before = [start_s for start_s in starts if start_s <= at_s]
    return gpus_of(*found.kinds[server, max(before) if before else min(starts)])


def _confirmed(found: Evidence) -> Iterator[str]:
    """I21: a sweep after the call saw every confirmed stop."""
    off = list(clock_trouble(found))
    for intent in found.intents:
        if intent["state"] != "confirmed" or not intent["server_id"] or intent["sent_s"] is None:
            continue
        sent_s, ended_s = intent["sent_s"], intent["ended_s"]
        if both(off, [(sent_s - SLOW_S, ended_s + SLOW_S)]):
            continue
        found.judged["I21"] += 1
        if not any(sent_s < s.asked_s <= ended_s for s in found.complete[intent["zone"]]):
            yield f"I21 intent {intent['id']} is confirmed, and nobody looked"


def _seen(found: Evidence) -> Iterator[str]:
    """P3: nothing is charged beyond the last Complete sweep."""
    off = list(clock_trouble(found))
    shown = {zone: sorted(s.cycle_s for s in sweeps) for zone, sweeps in found.complete.items()}
    for row in found.transfers:
        if row["kind"] != "charge" or row["actor"] != "cohortd":
            continue
        at_s, end_s = row["recorded_s"], row["detail"]["end_s"]
        if both([(at_s - 1, at_s + 1)], off):
            continue
        found.judged["P3"] += 1
        own = shown.get(row["detail"]["flavor"].partition("@")[2], [])
        last = bisect_right(own, at_s)
        if not last or end_s > own[last - 1]:
            yield f"P3 {row['detail']['server']} is charged to {end_s} at {at_s}, and was not seen"


def _believed(found: Evidence) -> Iterator[str]:
    """cohortd believes no price that the provider never asked for."""
    for flavor, rate, _ in found.believed:
        found.judged["price"] += 1
        if rate not in found.listed[flavor]:
            yield f"price: {rate} of {flavor} is believed, and was never true"

"""I10: does an owner that asks get its nominal quota back, as far as anybody runs above theirs?

At each untroubled look, an owner that asks for nominal quota which is not free is waited for:
a server of somebody above their own quota has a notice then, which ends within R.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .conduct_audit import FRESH_S, NOTICE_S
from .evidence import Evidence, Row
from .metering_audit import SLACK_S
from .rules_audit import Looks, gpus_of

RUNTIME_S = 3_600
R_S = RUNTIME_S + NOTICE_S + 2 * FRESH_S
"""Minimum runtime and notice; how long the stop takes is I11."""
CARRIES_UCR = 100_000_000
"""Credit for each GPU with which no share is limited by credits."""
POOL = "h100"


def lent(looks: Looks) -> Iterator[str]:
    """Every owner that waits, and for whom nobody was told to give way."""
    found = looks.found
    asked = [r for r in found.requests if r["pool"] == POOL]
    for at_s in looks.at if asked else ():
        program = looks.program(at_s)
        if program is None:
            continue
        used, sure = _used(found, program, at_s), {server for server, _ in looks.running(at_s)}
        waiting = dict(_waiting(found, program, at_s, used, sure))
        for name, lenders in waiting.items():
            if not any(_gives_way(n, at_s) for server in lenders for n in looks.notices[server]):
                yield f"I10 {name} waits for its quota at {at_s}, and nobody is told to give way"


def _gives_way(notice: Row, at_s: int) -> bool:
    """Whether a notice ends within R; one that was snoozed, or that the guard holds, ends late."""
    if notice["given_s"] > at_s + FRESH_S:
        return False
    stands = notice["off_s"] is None or notice["off_s"] > at_s
    since_s = max(notice["given_s"], at_s) if stands else notice["given_s"]
    return bool(notice["deadline_s"] <= since_s + R_S)


def _used(found: Evidence, program: Any, at_s: int) -> dict[str, dict[str, int]]:
    """GPUs of every server that runs about now, by startup."""
    used: dict[str, dict[str, int]] = defaultdict(dict)
    for server, spans in found.truth.items():
        for start_s, end_s in spans:
            if start_s < at_s + SLACK_S and end_s > at_s - SLACK_S:
                owner = program.owner(found.projects[server], at_s)
                if owner is not None:
                    used[owner.name][server] = gpus_of(*found.kinds[server, start_s])
    return used


def _waiting(
    found: Evidence, program: Any, at_s: int, used: dict[str, dict[str, int]], sure: set[str]
) -> Iterator[tuple[str, list[str]]]:
    """Owners whose asked-for nominal quota others run on, with the servers of those others.

    `sure` run at that instant; others may have begun after the daemon looked, or just ended.
    """
    capacity = program.pools[0].gpus_at(at_s)
    nominal = {s.name: s.nominal.get(POOL, 0) for s in program.startups()}
    if sum(nominal.values()) > capacity or set(used) - set(nominal) or _is_odd(found, at_s):
        return
    free = capacity - sum(g for own in used.values() for s, g in own.items() if s in sure)
    lenders = [
        server for name, own in used.items() if sum(own.values()) > nominal[name] for server in own
    ]
    for startup in program.startups():
        asks = sum(
            r["gpus"]
            for r in found.requests
            if r["startup"] == startup.name
            and r["opened_s"] < at_s - FRESH_S
            and (r["ended_s"] is None or r["ended_s"] > at_s + FRESH_S)
        )
        limit = startup.limit.get(POOL)
        most = min(nominal[startup.name], capacity if limit is None else limit)
        missing = min(asks, most) - sum(used.get(startup.name, {}).values())
        others = [s for s in lenders if s not in used.get(startup.name, {})]
        if missing > max(0, free) and others and _carries(found, startup.name, most, at_s):
            yield startup.name, others


def _is_odd(found: Evidence, at_s: int) -> bool:
    """Whether a word stands that lets somebody off, or says that the provider is short."""
    return any(w.at_s <= at_s and (w.until_s is None or w.until_s > at_s) for w in found.said)


def _carries(found: Evidence, name: str, gpus: int, at_s: int) -> bool:
    """Whether the owner has so much credit that it limits nothing."""
    upto = bisect_right([row["recorded_s"] for row in found.transfers], at_s)
    left = sum(
        ucr
        for row in found.transfers[:upto]
        for account, ucr in row["entries"]
        if account.startswith(f"grant:{name}:") and row["at_s"] <= at_s
    )
    return left > CARRIES_UCR * max(1, gpus)

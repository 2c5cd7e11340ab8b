"""Tranches: the parts of a grant, their start and end, and what moves from one to the next.

Each tranche is a grant account of its own, ID/1, ID/2 and so on; no id of a program file has a
slash. With the rollover "all", a tranche lasts to the grant's end. With any other rollover it lasts
to the next tranche's start: then the allowed part moves on, and the rest expires.

A tranche has no stored state: its two instants and its account's balance say everything. A tranche
that waits for its milestone is in the program only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from quotas.ledger.transfers import GrantBalance
from quotas.model.program import Grant, Rollover, Tranche
from quotas.model.units import Period


@dataclass(frozen=True, slots=True)
class Part:
    """Credits with an account of their own: a tranche, or a grant without tranches."""

    id: str
    amount_ucr: int
    effective_s: int
    expires_s: int
    rolls_to: str | None = None
    rollover: Rollover | None = None


def parts(grant: Grant) -> tuple[Part, ...]:
    """Every part that is credited when the program is applied: all except milestones."""
    if not grant.tranches:
        return (Part(grant.id, grant.amount_ucr, grant.effective_s, grant.expires_s),)
    found = []
    for number, tranche in enumerate(grant.tranches, 1):
        if tranche.effective_s is None:
            continue
        own = part_id(grant.id, number), tranche.amount_ucr, tranche.effective_s
        last = grant.rollover is None or number == len(grant.tranches)
        next_s = None if last else grant.tranches[number].effective_s
        if next_s is None:
            found.append(Part(*own, grant.expires_s))
        else:
            to = part_id(grant.id, number + 1)
            found.append(Part(*own, next_s, to, grant.rollover))
    return tuple(found)


def milestones(grant: Grant) -> dict[str, tuple[str, Tranche]]:
    """The milestones of a grant by name, each with the id of its part and its terms."""
    return {
        tranche.milestone: (part_id(grant.id, number), tranche)
        for number, tranche in enumerate(grant.tranches, 1)
        if tranche.milestone
    }


def part_id(grant_id: str, number: int) -> str:
    """The id of a grant's n-th tranche."""
    return f"{grant_id}/{number}"


def is_tranche(part: str) -> bool:
    """Whether an id belongs to a tranche, or to credits that were advanced from one."""
    return "/" in part


def belongs_to(part: str, grant_id: str) -> bool:
    """Whether a part is the named grant or tranche, a tranche of it, or advanced from it."""
    if is_tranche(grant_id) and part.startswith(f"{grant_id}."):
        return True
    return part == grant_id or part.startswith(f"{grant_id}/")


def next_tranches(own: Iterable[GrantBalance], within: Period) -> list[GrantBalance]:
    """The first tranche of each grant that begins within a period, in order of their starts."""
    first_s, end_s = within.start_s, within.end_s
    later = [e for e in own if is_tranche(e.id) and first_s < e.effective_s < end_s]
    found: dict[str, GrantBalance] = {}
    for each in sorted(later, key=lambda grant: (grant.effective_s, grant.id)):
        found.setdefault(each.id.partition("/")[0], each)
    return list(found.values())


def monthly(
    amount_ucr: int, effective_s: int, expires_s: int, zone: ZoneInfo
) -> tuple[Tranche, ...]:
    """Equal parts at the start and at each local month start before the end.

    The last one takes the remainder, so that they sum to the whole.
    """
    starts = [effective_s, *_month_starts(effective_s, expires_s, zone)]
    each_ucr, rest_ucr = divmod(amount_ucr, len(starts))
    equal = [Tranche(each_ucr, start_s) for start_s in starts[:-1]]
    return (*equal, Tranche(each_ucr + rest_ucr, starts[-1]))


def _month_starts(after_s: int, until_s: int, zone: ZoneInfo) -> Iterator[int]:
    """Local midnights of the first of each month, after one instant and before another."""
    begun = datetime.fromtimestamp(after_s, zone)
    month = begun.year * 12 + begun.month - 1
    while True:
        month += 1
        first = date(month // 12, month % 12 + 1, 1)
        start_s = int(datetime.combine(first, time(), zone).timestamp())
        if start_s >= until_s:
            return
        if start_s > after_s:
            yield start_s

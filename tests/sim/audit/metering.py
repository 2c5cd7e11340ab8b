"""I4: every charged second ran, and every second that ran is charged.

Some differences are tolerated, because the daemon could not know better: a transition takes
seconds, one gap between sweeps may hide several transitions, an answer may be stale, and the
daemon's clock may be off. Unconfirmed time is neither charged nor free, and needs a cause in
the region.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from ..play.cloud import STALE_S, Swept
from ..scenario.script import START_S
from .evidence import Evidence, Interval, Row
from .intervals import both, minus, seconds, union
from .ledger import charges_by

SHORTEST_BOUNCE_S = 40
"""The least time in which a server can go off and on again."""
SLACK_S = 190
"""The longest that a transition takes."""
SLOW_S = 250
"""How much longer a cycle may take that something befell: it was slow, or stalled."""


def metering(found: Evidence) -> Iterator[str]:
    """Every server whose charges differ from its true runs."""
    charges = charges_by(found, "server")
    unconfirmed: dict[str, list[Interval]] = defaultdict(list)
    known = {zone: _known(sweeps) for zone, sweeps in found.complete.items()}
    for row in found.unconfirmed_periods:
        unconfirmed[row["server_id"]].append((row["start_s"], row["end_s"]))
        yield from _unconfirmed(found, row, known.get(row["flavor"].partition("@")[2], []))
    for server in sorted(found.truth.keys() | charges.keys()):
        real = _in_program(found, server)
        charged = [(c["start_s"], c["end_s"]) for c in charges.get(server, [])]
        wrong = union([*minus(real, charged), *minus(charged, real)])
        unsure = union([*unconfirmed[server], *_tolerated(found, server)])
        rest = minus(wrong, unsure)
        found.judged["I4"] += bool(minus(union([*real, *charged]), unsure))
        if rest:
            verb = "charged, did not run" if both(rest, charged) else "ran, was not charged"
            yield f"I4 {server} {verb}: {rest[:3]} ({seconds(rest)} s)"
        if twice := both(charged, unconfirmed[server]):
            yield f"I4 {server} is charged for unconfirmed time: {twice[:3]}"
    yield from _prices(found)


def _in_program(found: Evidence, server: str) -> list[Interval]:
    """What ran within the cohort while a startup owned the project, as far as it is posted.

    A run that continues is posted to the last full hour. A run without a price is not posted.
    """
    own_runs = [r for r in found.runs if r["server_id"] == server]
    priced = {flavor for flavor, _, _ in found.believed}
    unposted = [r for r in own_runs if r["end_s"] is None or r["flavor"] not in priced]
    until_s = min([r["posted_until_s"] for r in unposted] or [found.now_s])
    own = both(found.truth.get(server, []), found.owned(server))
    return both(own, [(START_S, until_s)])


def _tolerated(found: Evidence, server: str) -> Iterator[Interval]:
    """Intervals in which the daemon could not know better."""
    spans = found.truth.get(server, [])
    edges = sorted({edge for span in spans for edge in span})
    zone = next((found.kinds[server, s][0] for s, _ in spans), "")
    for edge_s in edges:
        yield (edge_s - 1, edge_s + SLACK_S)
    complete = found.complete[zone]
    stated, troubled = _stated(found, server), list(clock_trouble(found))
    within: dict[int, list[int]] = defaultdict(list)
    unsure: set[int] = set()
    asked = [sweep.asked_s for sweep in complete]
    for edge_s in edges:
        at = bisect_right(asked, edge_s)
        within[at].append(edge_s)
        if at and asked[at - 1] == edge_s:  # in the very second of a sweep, which may have seen it
            within[at - 1].append(edge_s)
        before = complete[at - 1] if at else None
        if before and before.at_s + STALE_S * before.is_stale >= edge_s:
            unsure |= {at - 1, at}
            yield (before.asked_s, before.at_s)
        if both([(edge_s, edge_s + 1)], troubled):
            unsure |= {at, at + 1}
        for later in range(at, len(complete)):
            if not complete[later].is_stale or complete[later].at_s - edge_s > STALE_S:
                break  # the first that is not older than the edge has seen it
            unsure |= {later, later + 1}
    changed = sorted(found.changed.get(server, []))
    for at, sweep in enumerate(complete):
        if _any_in(changed, sweep.asked_s, sweep.at_s):
            unsure |= {at, at + 1}
    for at in sorted(set(within) | unsure):
        gap = _gap(found, asked, at)
        slack_s = min(within[at], default=gap[1]) + SLACK_S
        late = _any_in(changed, max(gap[0], slack_s), gap[1])
        seen_s = complete[at].at_s if at < len(complete) else gap[1]
        gone = gap[0] < found.deleted.get(server, 0) <= seen_s
        if at in (0, len(complete)) or len(within[at]) > 2:
            yield gap  # on, off and on again: one date cannot show three changes
        elif (
            len(within[at]) > 1
            or late
            or gone
            or at in unsure
            or gap[1] - gap[0] > SHORTEST_BOUNCE_S
        ):
            yield from both([gap], stated)
        if gone or at in unsure or not _any_in(changed, gap[0] + SLACK_S, gap[1]):
            # A stale read in between hides a change that began before it and ended after it.
            hid_s = _gap(found, asked, at - 1)[0] if {at - 1, at} <= unsure else gap[0]
            yield from (s for s in spans if hid_s <= s[0] and s[1] <= gap[1])
    yield from troubled
    yield from _handed_over(found, server, asked)


def _any_in(sorted_s: list[int], after_s: int, to_s: int) -> bool:
    """Whether any of these instants lies in (after, to]."""
    return bisect_right(sorted_s, after_s) < bisect_right(sorted_s, to_s)


def _gap(found: Evidence, asked: list[int], at: int) -> Interval:
    """From one Complete sweep to the next one."""
    start_s = asked[min(at, len(asked)) - 1] if at else START_S
    return (start_s, asked[at] if at < len(asked) else found.now_s)


def _handed_over(found: Evidence, server: str, asked: list[int]) -> Iterator[Interval]:
    """A new program counts from the next sweep; runs that continue after leaving are charged."""
    project = found.projects.get(server, "")
    for (_, before), (at_s, after) in pairwise(found.programs):
        if before.owner(project, at_s - 1) is not after.owner(project, at_s):
            yield _gap(found, asked, bisect_right(asked, at_s))
        if before.owner(project, at_s - 1) and not after.owner(project, at_s):
            yield (at_s, found.now_s)


def _stated(found: Evidence, server: str) -> list[Interval]:
    """The errors that the book itself states for its edges."""
    own = [r for r in found.runs if r["server_id"] == server]
    starts = [(r["start_s"] - r["start_error_s"], r["start_s"]) for r in own]
    ends = [
        (r["end_s"] - r["end_error_s"], r["end_s"] + r["end_error_s"])
        for r in own
        if r["end_s"] is not None
    ]
    return union([*starts, *ends])


def clock_trouble(found: Evidence) -> Iterator[Interval]:
    """While the daemon's clock was off, and the same time around it."""
    offset_s, since_s = 0, 0
    for at_s, off_s in [*found.offsets, (found.now_s, 0)]:
        if offset_s:
            yield (since_s - abs(offset_s) - SLACK_S, at_s + abs(offset_s) + SLACK_S)
        offset_s, since_s = off_s, at_s


def _unconfirmed(found: Evidence, row: Row, known: list[Swept]) -> Iterator[str]:
    """Unconfirmed time lies within one gap, and ends where somebody changed the server.

    It ends at the next sweep if the change fell into that sweep's seconds, or if the clock was off.
    A change of state between two close sweeps dates itself, so it leaves no unconfirmed time.
    """
    server, start_s, end_s = row["server_id"], row["start_s"], row["end_s"]
    of = f"I4 {server} of {row['startup']} has unconfirmed time from {start_s} to {end_s}"
    at = bisect_right(known, start_s, key=lambda sweep: sweep.cycle_s)
    if not start_s < end_s:
        yield f"{of}: it is empty"
        return
    before, after = known[at - 1], known[min(at, len(known) - 1)]
    read_s = after.cycle_s + after.at_s - after.asked_s
    is_slow = any(after.asked_s <= at_s <= after.at_s for at_s in found.incidents)
    last_s = read_s + SLOW_S * is_slow
    if not 0 < at < len(known) or end_s > last_s:
        yield f"{of}: it does not lie between two sweeps"
        return
    changed = sorted(found.changed.get(server, []))
    within = [(before.asked_s, after.at_s + 1)]
    is_off = bool(both(clock_trouble(found), within))
    late = _any_in(changed, after.asked_s - 1, after.at_s)
    is_sweeps = end_s in (after.cycle_s, read_s) or read_s < end_s <= last_s
    if end_s not in changed and not (is_sweeps and (late or is_off)):
        yield f"{of}: nobody changed it then"
        return
    ran = [_ran_at(found, server, sweep) for sweep in (before, after)]
    is_close = after.asked_s - before.asked_s <= SHORTEST_BOUNCE_S
    is_dated = is_close and None not in ran and ran[0] is not ran[1]
    if is_dated and not is_off and not minus(within, found.owned(server)):
        yield f"{of}: its change dates it"


def _known(sweeps: list[Swept]) -> list[Swept]:
    """The sweeps that brought something new: the daemon's clock may have been behind."""
    known: list[Swept] = []
    for sweep in sweeps:
        if not known or sweep.cycle_s > known[-1].cycle_s:
            known.append(sweep)
    return known


def _ran_at(found: Evidence, server: str, sweep: Swept) -> bool | None:
    """Whether a sweep showed a server running; None if it may have shown either."""
    seen = (sweep.asked_s - STALE_S * sweep.is_stale, sweep.at_s + 1)
    spans = found.truth.get(server, [])
    if any(seen[0] - 1 <= edge <= seen[1] for span in spans for edge in span):
        return None
    return any(start_s < seen[0] and seen[1] < end_s for start_s, end_s in spans)


def _prices(found: Evidence) -> Iterator[str]:
    """Every run is charged at the listed or accepted price of the cohort's start.

    If the provider changed the price before anybody read one, the first one that was read counts.
    """
    first = {of: rate for of, rate, _ in sorted(found.believed, key=lambda b: b[2], reverse=True)}
    for id, charges in charges_by(found, "run").items():
        flavor = charges[0]["flavor"]
        kind, _, zone = flavor.partition("@")
        rate = found.rates[zone, kind]
        found.judged["I4"] += 1
        rates = {mended for of, mended in found.accepted if of == flavor}
        rates |= {rate, first.get(flavor, rate)}
        if any(c["rate_ucr_per_h"] not in rates for c in charges):
            yield f"I4 run {id} is charged at {charges[0]['rate_ucr_per_h']}, listed at {rate}"

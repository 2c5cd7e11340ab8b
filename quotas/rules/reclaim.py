"""What is taken back, though its startup may go on? Each kind has its own clock.

leaked: a server that is stopped in place, which the provider still bills, for longer
than the policy's `leak_after`; often somebody shut it down from inside. A running
server is never leaked, request or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from quotas.decisions.exemptions import exemption
from quotas.decisions.levels import Telling
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import UNREAD, Excess, Snapshot, Violation
from quotas.metering.runs import Run
from quotas.model.observation import Complete, Server
from quotas.model.program import Pool
from quotas.queue.claims import Line

LEAKED, BORROWED, DEFERRED = "leaked", "borrowed", "deferred"
IN_STOCK = ("available", "scarce")
"""The provider's words for a type that it has; any other is taken for a shortage."""
IN_PLACE = frozenset({"stopped in place", "stopped_in_place"})


def leaked(snapshot: Snapshot) -> list[Violation]:
    """Every server that has been stopped in place for longer than the policy lets it."""
    policy, now_s = snapshot.program.policy, snapshot.now_s
    found = []
    for run, server in snapshot.running():
        since_s = in_place_since_s(run, server)
        if since_s is None or now_s - since_s < policy.leak_after_s:
            continue
        inputs: dict[str, int | str] = {
            "startup": run.startup,
            "server": run.server_name,
            "since_s": since_s,
            "now_s": now_s,
            "leak_after_s": policy.leak_after_s,
        }
        deadline_s = now_s + policy.minimum_notice_s
        found.append(Violation(run, LEAKED, f"leaked:{since_s}", deadline_s, inputs))
    return found


def in_place_since_s(run: Run, server: Server) -> int | None:
    """Since when a server is stopped in place; None where it is not.

    A later PATCH moves the only date there is: the bound is in the startup's favour.
    """
    return max(run.began_s, server.modified_s) if server.state in IN_PLACE else None


def leak_edges(snapshot: Snapshot) -> set[int]:
    """When each server that is stopped in place will have leaked."""
    stood = (in_place_since_s(run, server) for run, server in snapshot.running())
    return {since_s + snapshot.program.policy.leak_after_s for since_s in stood if since_s}


def borrowed(
    snapshot: Snapshot, standing: Iterable[Excess], waiting: Mapping[str, Line]
) -> list[Violation]:
    """The fewest newest servers of borrowers whose GPUs an owner waits for and can use.

    No more than owners miss beyond what is free. Only where every zone of the pool answered
    Complete, and nothing says that the provider would not give the owner the slot; what waits
    for its word is named too (see `suspended`). A server keeps its minimum runtime.
    """
    found = []
    standing = tuple(standing)
    for pool, line in sorted(waiting.items()):
        excesses = [each for each in standing if each.pool == pool]
        for excess, run in _giving_way(snapshot, excesses, line):
            inputs: dict[str, int | str] = {
                "startup": excess.startup,
                "owner": excess.owner or "",
                "pool": pool,
                "excess_gpus": excess.gpus,
                "server": run.server_name,
                "gpus": run.gpus,
            }
            ran_s = run.began_s + snapshot.program.policy.minimum_runtime_s
            cause = _cause(pool, excess.owner or "")
            deadline_s = max(excess.deadline_s, ran_s)
            found.append(Violation(run, BORROWED, cause, deadline_s, inputs))
    return found


def _cause(pool: str, owner: str) -> str:
    return f"{BORROWED}:{pool}:{owner}"


def suspended(snapshot: Snapshot, waiting: Mapping[str, Line]) -> frozenset[str]:
    """Causes of reclaims for which the provider did not say what it has: neither yes nor no.

    Nothing is promised or sent for them, and what was promised stands.
    """
    return frozenset(
        _cause(pool.name, owner)
        for pool in snapshot.program.pools
        if pool.backing == "on-demand" and pool.name in waiting
        for owner in waiting[pool.name].missing
        if _stock(snapshot, pool, owner) == UNREAD
    )


def deferrals(snapshot: Snapshot, standing: Iterable[Excess]) -> list[Telling]:
    """(startup, cause, inputs, now) of reclaims that wait, once to the borrower and the owner."""
    found: list[Telling] = []
    for excess in standing:
        against = _against(snapshot, excess)
        if excess.owner is None or against is None:
            continue
        inputs: dict[str, int | str] = {
            "startup": excess.startup,
            "owner": excess.owner,
            "pool": excess.pool,
            "excess_gpus": excess.gpus,
            **against,
        }
        cause = f"{DEFERRED}:{excess.pool}:{excess.startup}:{excess.owner}:{excess.since_s}"
        for name in (excess.startup, excess.owner):
            if (name, cause) not in snapshot.told:
                found.append((name, cause, inputs, snapshot.now_s))
    return found


def deferred_gpus(
    snapshot: Snapshot, standing: Iterable[Excess], waiting: Mapping[str, Line]
) -> dict[str, int]:
    """GPUs by pool that owners wait for, and that are not taken back for want of a use."""
    found: dict[str, int] = {}
    for excess in standing:
        if _against(snapshot, excess) is not None:
            line = waiting[excess.pool]
            gpus = found.get(excess.pool, 0) + excess.gpus
            found[excess.pool] = min(gpus, sum(line.missing.values()) - line.free)
    return found


def _against(snapshot: Snapshot, excess: Excess) -> Inputs | None:
    """Why an excess that an owner waits for is deferred; None where it is not, or for a while."""
    if excess.owner is None:
        return None
    against = obstacle(snapshot, excess.pool, excess.startup, excess.owner)
    return None if against is None or against["obstacle"] == "blind" else against


def obstacle(snapshot: Snapshot, pool_name: str, borrower: str, owner: str) -> Inputs | None:
    """Why evicting the borrower would not serve the owner now; None where it would."""
    if pool_name in blind_pools(snapshot):
        return {"obstacle": "blind"}
    pool = next(each for each in snapshot.program.pools if each.name == pool_name)
    short = snapshot.words.on("shortage", pool.name)
    if pool.backing == "on-demand" and short is not None:
        return {"obstacle": "shortage", **short.inputs}
    stock = _stock(snapshot, pool, owner)
    if pool.backing == "on-demand" and stock is not None:
        return {"obstacle": "stock", "stock": stock}
    if not _usable(snapshot, pool.name, borrower, owner):
        return {"obstacle": "flavor"}
    return None


def _stock(snapshot: Snapshot, pool: Pool, owner: str) -> str | None:
    """How the provider words that it has nothing of what the owner can use; None where it has.

    A flavor that nobody asked about is no obstacle. One whose stock could not be read is, and
    goes before a shortage of others: the provider may have it.
    """
    startup = snapshot.program.startup(owner)
    flavors = (startup.flavors.get(pool.name) if startup else None) or pool.flavors
    words = {snapshot.stock.get(flavor, IN_STOCK[0]) for flavor in flavors}
    if words & set(IN_STOCK):
        return None
    return UNREAD if UNREAD in words else min(words, default=None)


def blind_pools(snapshot: Snapshot) -> frozenset[str]:
    """Pools with a zone that did not answer Complete: nothing in them is reclaimed."""
    return frozenset(
        pool.name
        for pool in snapshot.program.pools
        for zone in {flavor.partition("@")[2] for flavor in pool.flavors}
        if not isinstance(snapshot.sweeps.get(zone), Complete)
    )


def _giving_way(
    snapshot: Snapshot, excesses: list[Excess], line: Line
) -> Iterator[tuple[Excess, Run]]:
    """The servers that give way, for one owner in line after the other what it misses.

    Of a startup that is frozen nothing is freed for now: others give way as well.
    """
    left = {each.startup: each.gpus for each in excesses}
    taken: set[str] = set()
    free = line.free
    for owner, missing in line.missing.items():
        own = [replace(each, owner=owner) for each in excesses]
        fit = [each for each in own if _may_serve(snapshot, each)]
        need = missing - free if fit else 0
        for excess, runs in _turns(snapshot, fit, owner):
            usable = [run for run in runs if run.id not in taken]
            for run in _chosen(usable, min(left[excess.startup], need)):
                taken.add(run.id)
                left[excess.startup] -= run.gpus
                is_frozen = snapshot.words.on("freeze", excess.startup) is not None
                need -= 0 if is_frozen else run.gpus
                yield excess, run
        free = max(0, -need) if fit else free


def _may_serve(snapshot: Snapshot, excess: Excess) -> bool:
    """Whether evicting the borrower serves the owner, or may: the provider did not say."""
    against = obstacle(snapshot, excess.pool, excess.startup, excess.owner or "")
    return against is None or against.get("stock") == UNREAD


def _turns(snapshot: Snapshot, fit: list[Excess], owner: str) -> Iterator[tuple[Excess, list[Run]]]:
    """What would serve the owner: first what has a notice, then of who has most above its share.

    So what was chosen stays chosen while it is enough. Exempt servers have no turn.
    """
    noticed = {n.server_id for n in snapshot.notices if n.rule == BORROWED}
    usable = [
        (
            excess,
            [
                run
                for run in _usable(snapshot, excess.pool, excess.startup, owner)
                if not exemption(snapshot, run.startup, run.server_id)
            ],
        )
        for excess in sorted(fit, key=lambda each: (-each.gpus, each.startup))
    ]
    for excess, runs in usable:
        yield excess, [run for run in runs if run.server_id in noticed]
    for excess, runs in usable:
        yield excess, [run for run in runs if run.server_id not in noticed]


def _usable(snapshot: Snapshot, pool_name: str, borrower: str, owner: str) -> list[Run]:
    """The borrower's running servers that would serve the owner, the newest first."""
    startup = snapshot.program.startup(owner)
    if startup is None:
        return []
    pool_flavors = {f for p in snapshot.program.pools if p.name == pool_name for f in p.flavors}
    flavors = startup.flavors.get(pool_name) or pool_flavors
    runs = [r for r, _ in snapshot.running() if r.startup == borrower and r.flavor in flavors]
    return sorted(runs, key=lambda run: (-run.began_s, run.id))


def _chosen(left: list[Run], need: int) -> list[Run]:
    """The fewest that free enough, the first of the order among those; all if none suffice."""
    count = _fewest([run.gpus for run in left], need)
    chosen: list[Run] = []
    while count and left and need > 0:
        first, *left = left
        largest = sorted((run.gpus for run in left), reverse=True)[: count - 1]
        if first.gpus + sum(largest) >= need or len(left) < count:
            chosen.append(first)
            need -= first.gpus
            count -= 1
    return chosen


def _fewest(sizes: list[int], need: int) -> int:
    """How many of the largest it takes; all where they are not enough together."""
    total = 0
    for count, size in enumerate(sorted(sizes, reverse=True), 1):
        total += size
        if total >= need:
            return count
    return len(sizes)

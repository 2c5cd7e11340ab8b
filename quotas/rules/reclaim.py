"""What is taken back, though its startup may go on? Each kind has its own clock.

leaked: a server that is stopped in place, which the provider still bills, for longer
than the policy's `leak_after`; often somebody shut it down from inside. A running
server is never leaked, request or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from quotas.decisions.exemptions import exemption
from quotas.decisions.levels import Announcement
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import UNREAD, Overuse, Snapshot, Violation
from quotas.metering.runs import Run
from quotas.model.observation import Complete, Server
from quotas.model.program import Pool
from quotas.queue.claims import WaitingOwners

STANDBY, RECLAIM, DEFERRAL = "standby", "reclaim", "deferral"
IN_STOCK = ("available", "scarce")
"""The provider's words for a type that it has; any other is taken for a shortage."""
IN_PLACE = frozenset({"stopped in place", "stopped_in_place"})


def standby_servers(snapshot: Snapshot) -> list[Violation]:
    """Every server that has been stopped in place for longer than the policy lets it."""
    policy, now_s = snapshot.program.policy, snapshot.now_s
    found = []
    for run, server in snapshot.running():
        since_s = in_place_since_s(run, server)
        if since_s is None or now_s - since_s < policy.standby_stop_after_s:
            continue
        inputs: dict[str, int | str] = {
            "startup": run.startup,
            "server": run.server_name,
            "since_s": since_s,
            "now_s": now_s,
            "standby_stop_after_s": policy.standby_stop_after_s,
        }
        deadline_s = now_s + policy.minimum_notice_s
        found.append(Violation(run, STANDBY, f"standby:{since_s}", deadline_s, inputs))
    return found


def in_place_since_s(run: Run, server: Server) -> int | None:
    """Since when a server is stopped in place; None where it is not.

    A later PATCH moves the only date there is: the bound is in the startup's favour.
    """
    return max(run.up_since_s, server.modified_s) if server.state in IN_PLACE else None


def standby_edges(snapshot: Snapshot) -> set[int]:
    """When each server that is stopped in place will have leaked."""
    stood = (in_place_since_s(run, server) for run, server in snapshot.running())
    return {since_s + snapshot.program.policy.standby_stop_after_s for since_s in stood if since_s}


def reclaims(
    snapshot: Snapshot, current_overuses: Iterable[Overuse], waiting: Mapping[str, WaitingOwners]
) -> list[Violation]:
    """The fewest newest servers of borrowers whose GPUs an owner waits for and can use.

    No more than owners miss beyond what is free. Only where every zone of the pool answered
    Complete, and nothing says that the provider would not give the owner the slot; what waits
    for its word is named too (see `suspended`). A server keeps its minimum runtime.
    """
    found = []
    current_overuses = tuple(current_overuses)
    for pool, waiting_owners in sorted(waiting.items()):
        overuses = [each for each in current_overuses if each.pool == pool]
        for overuse, run in _servers_to_reclaim(snapshot, overuses, waiting_owners):
            inputs: dict[str, int | str] = {
                "startup": overuse.startup,
                "owner": overuse.owner or "",
                "pool": pool,
                "overuse_gpus": overuse.gpus,
                "server": run.server_name,
                "gpus": run.gpus,
            }
            ran_s = run.up_since_s + snapshot.program.policy.minimum_runtime_s
            episode = _cause(pool, overuse.owner or "")
            deadline_s = max(overuse.deadline_s, ran_s)
            found.append(Violation(run, RECLAIM, episode, deadline_s, inputs))
    return found


def _cause(pool: str, owner: str) -> str:
    return f"{RECLAIM}:{pool}:{owner}"


def suspended_episodes(snapshot: Snapshot, waiting: Mapping[str, WaitingOwners]) -> frozenset[str]:
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


def deferral_announcements(
    snapshot: Snapshot, current_overuses: Iterable[Overuse]
) -> list[Announcement]:
    """(startup, cause, inputs, now) of reclaims that wait, once to the borrower and the owner."""
    found: list[Announcement] = []
    for overuse in current_overuses:
        against = _against(snapshot, overuse)
        if overuse.owner is None or against is None:
            continue
        inputs: dict[str, int | str] = {
            "startup": overuse.startup,
            "owner": overuse.owner,
            "pool": overuse.pool,
            "overuse_gpus": overuse.gpus,
            **against,
        }
        episode = f"{DEFERRAL}:{overuse.pool}:{overuse.startup}:{overuse.owner}:{overuse.since_s}"
        for name in (overuse.startup, overuse.owner):
            if (name, episode) not in snapshot.announced:
                found.append((name, episode, inputs, snapshot.now_s))
    return found


def deferred_gpus(
    snapshot: Snapshot, current_overuses: Iterable[Overuse], waiting: Mapping[str, WaitingOwners]
) -> dict[str, int]:
    """GPUs by pool that owners wait for, and that are not taken back for want of a use."""
    found: dict[str, int] = {}
    for overuse in current_overuses:
        if _against(snapshot, overuse) is not None:
            waiting_owners = waiting[overuse.pool]
            gpus = found.get(overuse.pool, 0) + overuse.gpus
            found[overuse.pool] = min(
                gpus, sum(waiting_owners.missing.values()) - waiting_owners.free
            )
    return found


def _against(snapshot: Snapshot, overuse: Overuse) -> Inputs | None:
    """Why an excess that an owner waits for is deferred; None where it is not, or for a while."""
    if overuse.owner is None:
        return None
    against = obstacle(snapshot, overuse.pool, overuse.startup, overuse.owner)
    return None if against is None or against["obstacle"] == "unknown-zone" else against


def obstacle(snapshot: Snapshot, pool_name: str, borrower: str, owner: str) -> Inputs | None:
    """Why evicting the borrower would not serve the owner now; None where it would."""
    if pool_name in pools_with_unknown_zones(snapshot):
        return {"obstacle": "unknown-zone"}
    pool = next(each for each in snapshot.program.pools if each.name == pool_name)
    short = snapshot.overrides.on("shortage", pool.name)
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
    stock_words = {snapshot.stock.get(flavor, IN_STOCK[0]) for flavor in flavors}
    if stock_words & set(IN_STOCK):
        return None
    return UNREAD if UNREAD in stock_words else min(stock_words, default=None)


def pools_with_unknown_zones(snapshot: Snapshot) -> frozenset[str]:
    """Pools with a zone that did not answer Complete: nothing in them is reclaimed."""
    return frozenset(
        pool.name
        for pool in snapshot.program.pools
        for zone in {flavor.partition("@")[2] for flavor in pool.flavors}
        if not isinstance(snapshot.sweeps.get(zone), Complete)
    )


def _servers_to_reclaim(
    snapshot: Snapshot, overuses: list[Overuse], waiting_owners: WaitingOwners
) -> Iterator[tuple[Overuse, Run]]:
    """The servers that give way, for one owner in line after the other what it misses.

    Of a startup that is frozen nothing is freed for now: others give way as well.
    """
    left = {each.startup: each.gpus for each in overuses}
    taken: set[str] = set()
    free = waiting_owners.free
    for owner, missing in waiting_owners.missing.items():
        own = [replace(each, owner=owner) for each in overuses]
        fit = [each for each in own if _may_serve(snapshot, each)]
        need = missing - free if fit else 0
        for overuse, runs in _by_preference(snapshot, fit, owner):
            usable = [run for run in runs if run.id not in taken]
            for run in _chosen(usable, min(left[overuse.startup], need)):
                taken.add(run.id)
                left[overuse.startup] -= run.gpus
                is_frozen = snapshot.overrides.on("freeze", overuse.startup) is not None
                need -= 0 if is_frozen else run.gpus
                yield overuse, run
        free = max(0, -need) if fit else free


def _may_serve(snapshot: Snapshot, overuse: Overuse) -> bool:
    """Whether evicting the borrower serves the owner, or may: the provider did not say."""
    against = obstacle(snapshot, overuse.pool, overuse.startup, overuse.owner or "")
    return against is None or against.get("stock") == UNREAD


def _by_preference(
    snapshot: Snapshot, fit: list[Overuse], owner: str
) -> Iterator[tuple[Overuse, list[Run]]]:
    """What would serve the owner: first what has a notice, then of who has most above its share.

    So what was chosen stays chosen while it is enough. Exempt servers have no turn.
    """
    noticed = {n.server_id for n in snapshot.notices if n.rule == RECLAIM}
    usable = [
        (
            overuse,
            [
                run
                for run in _usable(snapshot, overuse.pool, overuse.startup, owner)
                if not exemption(snapshot, run.startup, run.server_id)
            ],
        )
        for overuse in sorted(fit, key=lambda each: (-each.gpus, each.startup))
    ]
    for overuse, runs in usable:
        yield overuse, [run for run in runs if run.server_id in noticed]
    for overuse, runs in usable:
        yield overuse, [run for run in runs if run.server_id not in noticed]


def _usable(snapshot: Snapshot, pool_name: str, borrower: str, owner: str) -> list[Run]:
    """The borrower's running servers that would serve the owner, the newest first."""
    startup = snapshot.program.startup(owner)
    if startup is None:
        return []
    pool_flavors = {f for p in snapshot.program.pools if p.name == pool_name for f in p.flavors}
    flavors = startup.flavors.get(pool_name) or pool_flavors
    runs = [r for r, _ in snapshot.running() if r.startup == borrower and r.flavor in flavors]
    return sorted(runs, key=lambda run: (-run.up_since_s, run.id))


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

"""Who runs more than its share, for whom would it have to give way, and not before when?

An excess is recorded while it is at least as large as the startup's smallest running server
of the pool, or an owner's nominal demand waits for it. Its deadline leaves the newest of its
servers their minimum runtime and the startup its notice. Carrying it out is not done here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from quotas.decisions.levels import Announcement
from quotas.decisions.reasons import conclude
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Overuse, Snapshot
from quotas.metering.runs import Run
from quotas.queue.claims import WaitingOwners
from quotas.rules.reclaim import obstacle
from quotas.shares.allocation import Share

RULE = "overuse"


def overuses(
    snapshot: Snapshot, shares: Iterable[Share], waiting: Mapping[str, WaitingOwners]
) -> tuple[Overuse, ...]:
    """Every excess that stands now, by startup and pool.

    One that stood in the last cycle keeps its beginning and its deadline. The deadline
    moves later once: when an owner begins to wait for what nobody wanted until then.
    """
    known = {(each.startup, each.pool): each for each in snapshot.overuses}
    runs = _open_runs(snapshot)
    found = []
    for share in sorted(shares, key=lambda each: (each.startup, each.pool)):
        own = runs.get((share.startup, share.pool), [])
        waiting_owners = waiting.get(share.pool)
        smallest = min((run.gpus for run in own), default=0)
        is_worth_it = waiting_owners is not None or share.overuse >= smallest
        # A limit of the policy has a rule of its own, which gives notice.
        if share.overuse > 0 and own and is_worth_it and share.limited_by != "policy":
            before = known.get((share.startup, share.pool))
            owner = (
                None if waiting_owners is None else _owner(snapshot, share, waiting_owners, before)
            )
            found.append(_overuse(snapshot, share, owner, own, before))
    return tuple(found)


def changed_overuse(snapshot: Snapshot, current_overuses: Iterable[Overuse]) -> tuple[Overuse, ...]:
    """What of the excesses has to be written: those that are new, changed, or over."""
    now = {(each.startup, each.pool): each for each in current_overuses}
    before = {(each.startup, each.pool): each for each in snapshot.overuses}
    changed = [each for key, each in now.items() if before.get(key) != each]
    over = [replace(e, ended_s=snapshot.now_s) for key, e in before.items() if key not in now]
    return tuple(sorted([*changed, *over], key=lambda e: (e.startup, e.pool)))


def unannounced_overuse(
    snapshot: Snapshot, current_overuses: Iterable[Overuse], shares: Iterable[Share]
) -> list[Announcement]:
    """(startup, cause, inputs, deadline) of excesses that nobody was told of.

    Those are the new ones, and the ones that an owner now waits for.
    """
    of = {(share.startup, share.pool): share for share in shares}
    return [
        (
            each.startup,
            overuse_episode(each),
            overuse_inputs(of[each.startup, each.pool], each.owner),
            each.deadline_s,
        )
        for each in current_overuses
        if (each.startup, overuse_episode(each)) not in snapshot.announced
    ]


def overuse_episode(overuse: Overuse) -> str:
    """Names one excess: told once when it begins, and once more when an owner waits for it."""
    return f"overuse:{overuse.pool}:{overuse.since_s}:{'reclaim' if overuse.owner else ''}"


def _owner(
    snapshot: Snapshot, share: Share, waiting_owners: WaitingOwners, before: Overuse | None
) -> str:
    """For whom an excess is taken back: the first in line whom that would serve now.

    Whom it was taken back for goes first while it waits: no notice is taken back for another
    whose turn comes again. Where it would serve nobody it is for the first all the same.
    """
    owners = sorted(waiting_owners.missing, key=lambda name: before is None or name != before.owner)
    served = (o for o in owners if obstacle(snapshot, share.pool, share.startup, o) is None)
    return next(served, owners[0])


def _overuse(
    snapshot: Snapshot, share: Share, owner: str | None, runs: list[Run], before: Overuse | None
) -> Overuse:
    now_s = snapshot.now_s
    deadline_s = _deadline_s(snapshot, share.overuse, runs)
    if before is not None and (before.owner is not None or owner is None):
        deadline_s = before.deadline_s
    elif before is not None:
        deadline_s = max(before.deadline_s, deadline_s)
    return Overuse(
        startup=share.startup,
        pool=share.pool,
        gpus=share.overuse,
        owner=owner,
        since_s=before.since_s if before else now_s,
        deadline_s=deadline_s,
        reason=conclude(RULE, overuse_inputs(share, owner)),
    )


def overuse_inputs(share: Share, owner: str | None) -> Inputs:
    """The figures of an excess: what its sentence is made from."""
    own: dict[str, int | str] = {} if owner is None else {"owner": owner}
    return {
        "startup": share.startup,
        "pool": share.pool,
        "used_gpus": share.usage,
        "share_gpus": share.share,
        "nominal_gpus": share.nominal,
        "limited_by": share.limited_by,
        **own,
    }


def _deadline_s(snapshot: Snapshot, gpus: int, runs: list[Run]) -> int:
    """Minimum notice, after what is left of the minimum runtime of the servers concerned."""
    oldest_enough_s, left, policy = snapshot.now_s, gpus, snapshot.program.policy
    for run in sorted(runs, key=lambda each: (-each.up_since_s, each.id)):
        if left <= 0:
            break
        oldest_enough_s = max(oldest_enough_s, run.up_since_s + policy.minimum_runtime_s)
        left -= run.gpus
    return oldest_enough_s + policy.minimum_notice_s


def _open_runs(snapshot: Snapshot) -> Mapping[tuple[str, str], list[Run]]:
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in snapshot.runs.values():
        pool = snapshot.program.pool_of(run.flavor)
        if run.end_s is None and pool is not None:
            runs[run.startup, pool.name].append(run)
    return runs

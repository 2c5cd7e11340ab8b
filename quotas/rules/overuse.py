"""Overuse: announce that a startup runs more than its share, and who waits for the difference.

An overuse is recorded while it is at least as large as the startup's smallest running server
of the pool, or an owner's nominal demand waits for it. Its deadline leaves the newest of its
servers their minimum runtime and the startup its notice. The rule reclaim stops servers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from quotas.metering.runs import Run
from quotas.rules.context import Announcement, AnnouncementRule, Context, newest_with
from quotas.rules.reclaim import obstacle
from quotas.shares.allocation import Share
from quotas.shares.claims import WaitingOwners
from quotas.state.facts import DecisionFacts
from quotas.state.snapshot import Overuse, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """A startup's usage of a pool against its share, what bounds the share, and who waits."""

    startup: str
    pool: str
    used_gpus: int
    share_gpus: int
    nominal_gpus: int
    limited_by: str
    owner: str | None = None

    def holds(self) -> bool:
        """Whether usage is above the share."""
        return self.used_gpus > self.share_gpus


def facts_of(overuse: Overuse) -> Facts:
    """The facts of a recorded overuse."""
    return Facts.of(overuse, used_gpus=overuse.share_gpus + overuse.gpus)


def overuses(context: Context) -> tuple[Overuse, ...]:
    """Every current overuse, by startup and pool.

    An overuse of the last cycle keeps its beginning and its deadline. The deadline moves later
    once: when an owner begins to wait for what nobody wanted until then.
    """
    known = {(each.startup, each.pool): each for each in context.snapshot.overuses}
    found = []
    for share in sorted(context.shares, key=lambda each: (each.startup, each.pool)):
        own = context.open_runs.get((share.startup, share.pool), [])
        waiting_owners = context.waiting.get(share.pool)
        smallest = min((run.gpus for run in own), default=0)
        is_worth_it = waiting_owners is not None or share.overuse >= smallest
        # A limit of the policy has a rule of its own, which gives notice.
        if share.overuse > 0 and own and is_worth_it and share.limited_by != "policy":
            before = known.get((share.startup, share.pool))
            owner = _owner(context, share, waiting_owners, before) if waiting_owners else None
            found.append(_overuse(context.snapshot, share, owner, own, before))
    return tuple(found)


def changed_overuse(snapshot: Snapshot, current_overuses: Iterable[Overuse]) -> tuple[Overuse, ...]:
    """What has to be written: the overuses that are new, changed, or over."""
    now = {(each.startup, each.pool): each for each in current_overuses}
    before = {(each.startup, each.pool): each for each in snapshot.overuses}
    changed = [each for key, each in now.items() if before.get(key) != each]
    over = [replace(e, ended_s=snapshot.now_s) for key, e in before.items() if key not in now]
    return tuple(sorted([*changed, *over], key=lambda e: (e.startup, e.pool)))


def find(context: Context) -> Iterable[Announcement]:
    """Overuses that were not announced: new ones, and those that an owner now waits for."""
    for each in context.overuses:
        episode = overuse_episode(each)
        if not context.was_announced(each.startup, episode):
            yield Announcement(each.startup, episode, facts_of(each), each.deadline_s)


def overuse_episode(overuse: Overuse) -> str:
    """Names one overuse: announced when it begins, and again when an owner waits for it."""
    return f"overuse:{overuse.pool}:{overuse.since_s}:{'reclaim' if overuse.owner else ''}"


def edges(context: Context) -> Iterable[int]:
    """The deadlines of the current overuses."""
    return (overuse.deadline_s for overuse in context.overuses)


def _owner(
    context: Context, share: Share, waiting_owners: WaitingOwners, before: Overuse | None
) -> str:
    """The owner for which an overuse is reclaimed: the first in the queue whom it would serve.

    The owner of the last cycle goes first while it waits, so that no notice is cancelled for
    another owner and given again. If the overuse would serve nobody, it is the first owner's.
    """
    owners = sorted(waiting_owners.missing, key=lambda name: before is None or name != before.owner)
    served = (o for o in owners if obstacle(context, share.pool, share.startup, o) is None)
    return next(served, owners[0])


def _overuse(
    snapshot: Snapshot, share: Share, owner: str | None, runs: list[Run], before: Overuse | None
) -> Overuse:
    # Minimum notice, after what is left of the minimum runtime of the servers concerned.
    policy, newest = snapshot.program.policy, newest_with(share.overuse, runs)
    ran_s = [run.up_since_s + policy.minimum_runtime_s for run in newest]
    deadline_s = max([snapshot.now_s, *ran_s]) + policy.minimum_notice_s
    if before is not None and (before.owner is not None or owner is None):
        deadline_s = before.deadline_s
    elif before is not None:
        deadline_s = max(before.deadline_s, deadline_s)
    return Overuse(
        startup=share.startup,
        pool=share.pool,
        gpus=share.overuse,
        owner=owner,
        since_s=before.since_s if before else snapshot.now_s,
        deadline_s=deadline_s,
        share_gpus=share.share,
        nominal_gpus=share.nominal,
        limited_by=share.limited_by,
    )


RULE = AnnouncementRule(name="overuse", facts=Facts, find=find, edges=edges)

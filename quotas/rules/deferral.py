"""Deferral: announce that a reclaim waits, because stopping the borrower would serve nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from quotas.rules.context import Announcement, AnnouncementRule, Context
from quotas.rules.reclaim import Obstacle, obstacle
from quotas.state.facts import OVERRIDE_PART, DecisionFacts, OverrideFacts
from quotas.state.snapshot import Overuse

OBSTACLES = frozenset({"unknown-zone", "stock", "shortage", "flavor"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """Who waits for lent quota, who runs it, and the obstacle to taking it back.

    `stock` is the provider's word, and `shortage` an operator's override.
    """

    startup: str
    owner: str
    pool: str
    overuse_gpus: int
    obstacle: str
    stock: str | None = None
    shortage: OverrideFacts | None = field(default=None, metadata=OVERRIDE_PART)

    def holds(self) -> bool:
        """Whether the borrower runs more than its share, and the obstacle is known and complete."""
        complete = self.obstacle != "stock" or self.stock is not None
        complete = complete and (self.obstacle != "shortage" or self.shortage is not None)
        return self.overuse_gpus > 0 and self.obstacle in OBSTACLES and complete


def find(context: Context) -> Iterable[Announcement]:
    """Reclaims that wait, once to the borrower and once to the owner."""
    for overuse in context.overuses:
        against = _against(context, overuse)
        if overuse.owner is None or against is None:
            continue
        gpus, code = overuse.gpus, against.code
        why = {"obstacle": code, "stock": against.stock, "shortage": against.shortage}
        facts = Facts.of(overuse, overuse_gpus=gpus, **why)
        key = f"{overuse.pool}:{overuse.startup}:{overuse.owner}:{overuse.since_s}"
        for name in (overuse.startup, overuse.owner):
            if not context.was_announced(name, f"deferral:{key}"):
                yield Announcement(name, f"deferral:{key}", facts, context.now_s)


def deferred_gpus(context: Context) -> dict[str, int]:
    """GPUs by pool that owners wait for, and that are not taken back for want of a use."""
    found: dict[str, int] = {}
    for overuse in context.overuses:
        if _against(context, overuse) is not None:
            waiting_owners = context.waiting[overuse.pool]
            missing = sum(waiting_owners.missing.values()) - waiting_owners.free
            found[overuse.pool] = min(found.get(overuse.pool, 0) + overuse.gpus, missing)
    return found


def _against(context: Context, overuse: Overuse) -> Obstacle | None:
    """Why an overuse that an owner waits for is deferred; None where it is not, or for a while."""
    if overuse.owner is None:
        return None
    against = obstacle(context, overuse.pool, overuse.startup, overuse.owner)
    return None if against is None or against.code == "unknown-zone" else against


RULE = AnnouncementRule(name="deferral", facts=Facts, find=find)

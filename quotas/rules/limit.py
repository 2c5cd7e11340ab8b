"""Limit: stop the newest servers of a startup that runs more than its hard limit of a pool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.rules.context import Context, Level, Restricts, StopRule, Violation, newest_with
from quotas.shares.allocation import Share, step_of
from quotas.state.facts import DecisionFacts

BINDING = ("policy", "credits", "pace")
"""The bounds of a share that the startup itself can widen; others follow from other startups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """A startup's usage of a pool against its limit, and the server that is above it."""

    startup: str
    server: str
    gpus: int
    used_gpus: int
    limit_gpus: int
    pool: str

    def holds(self) -> bool:
        """Whether usage is above the limit."""
        return self.used_gpus > self.limit_gpus


def find(context: Context) -> Iterable[Violation]:
    """The fewest newest servers above each startup's limit in each pool.

    Every open run counts, also in zones that are not Complete, and has its place in the
    order. A run that was not seen in this cycle is left alone, and no other is named instead.
    """
    seen = {run.id for run, _ in context.running}
    for startup in context.snapshot.program.startups():
        for pool_name, limit in sorted(startup.limit.items()):
            if limit is None:
                continue
            runs = context.open_runs.get((startup.name, pool_name), [])
            used = sum(run.gpus for run in runs)
            for run in newest_with(used - limit, runs):
                if run.id not in seen:
                    continue
                facts = Facts(
                    startup=startup.name,
                    server=run.server_name,
                    gpus=run.gpus,
                    used_gpus=used,
                    limit_gpus=limit,
                    pool=pool_name,
                )
                episode = f"limit:{pool_name}"
                yield Violation(run, RULE.name, episode, context.earliest_deadline_s, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Full(DecisionFacts):
    """A pool in which nothing more fits under the bound named `limited_by`."""

    pool: str
    used_gpus: int
    ceiling_gpus: int
    limited_by: str
    step_gpus: int = 1

    def imposes(self) -> Level | None:
        """At limit, once the smallest server that the startup can use no longer fits."""
        fits = self.used_gpus + self.step_gpus <= self.ceiling_gpus
        is_full = self.used_gpus > 0 and not fits and self.limited_by in BINDING
        return Level.PACED if is_full else None


def find_full(context: Context, startup: str) -> Full | None:
    """The first pool in which the startup runs something and nothing more fits."""
    shares = context.shares_by_startup.get(startup, ())
    bounds = (_bound(context, share) for share in shares if share.usage > 0)
    return next((bound for bound in bounds if bound.imposes() is not None), None)


def _bound(context: Context, share: Share) -> Full:
    """The program's limit binds first, before more is requested; then the share's ceiling."""
    program = context.snapshot.program
    entry = program.startup(share.startup)
    limit = entry.limit.get(share.pool) if entry else None
    if entry is not None and limit is not None:
        pool = next(each for each in program.pools if each.name == share.pool)
        step = step_of(entry, pool, context.snapshot.catalogue)
        if share.usage + step > limit:
            bound = {"ceiling_gpus": limit, "limited_by": "policy", "step_gpus": step}
            return Full.of(share, used_gpus=share.usage, **bound)
    return Full.of(share, used_gpus=share.usage, ceiling_gpus=share.ceiling)


RULE = StopRule(
    name="limit",
    facts=Facts,
    find=find,
    restricts=Restricts(facts=Full, find=find_full, reads_shares=True),
    snoozable=True,
)

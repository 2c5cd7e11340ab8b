"""Is a startup above a hard limit of GPUs? Then its newest servers may not go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from quotas.decisions.snapshot import Snapshot, Violation
from quotas.metering.runs import Run

RULE = "limit"


def over_limit(snapshot: Snapshot) -> list[Violation]:
    """The fewest newest servers above each startup's limit in each pool.

    Every open run counts, also in zones that are not Complete, and has its place in the
    order; one that was not seen in this cycle is left alone, and none is named instead.
    """
    program, now_s = snapshot.program, snapshot.now_s
    usage: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in snapshot.runs.values():
        pool = program.pool_of(run.flavor)
        if run.end_s is None and pool is not None:
            usage[run.startup, pool.name].append(run)
    seen = {run.id for run, _ in snapshot.running()}
    found = []
    for startup in program.startups():
        for pool_name, limit in sorted(startup.limit.items()):
            runs = usage[startup.name, pool_name]
            if limit is None:
                continue
            used = sum(run.gpus for run in runs)
            for run in _newest_above(runs, seen, used - limit):
                inputs: dict[str, int | str] = {
                    "startup": startup.name,
                    "server": run.server_name,
                    "gpus": run.gpus,
                    "used_gpus": used,
                    "limit_gpus": limit,
                    "pool": pool_name,
                }
                deadline_s = now_s + program.policy.minimum_notice_s
                episode = f"limit:{pool_name}"
                found.append(Violation(run, RULE, episode, deadline_s, inputs))
    return found


def _newest_above(runs: list[Run], seen: set[str], above: int) -> Iterable[Run]:
    for run in sorted(runs, key=lambda each: (-each.up_since_s, each.id)):
        if above <= 0:
            return
        above -= run.gpus
        if run.id in seen:
            yield run

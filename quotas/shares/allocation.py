"""Shares of the program's startups at present demands: the division that the daemon obeys.

The running cohorts and their startups become a `Problem` for `quotas.shares.engine`. Demand is
the larger of usage and requests, capacity is each pool's GPUs now, and what credits can pay for
is a limit beside the policy's own. Requests of closed or stopped startups no longer count as
demand, so they reclaim nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from quotas.ledger.forecast import credits_limit_gpus
from quotas.metering.runs import Catalogue, Run
from quotas.model.program import Pool, Program, Startup
from quotas.shares.engine import Node, Problem, solve
from quotas.state.requests import Request, refused_at, requested_gpus
from quotas.state.snapshot import Snapshot

Usage = Mapping[tuple[str, str], int]
"""GPUs by startup and pool."""
NamedLimits = Mapping[tuple[str, str], Mapping[str, int]]
"""Limits in GPUs by name, by startup and pool."""


@dataclass(frozen=True, slots=True)
class Share:
    """A startup's part of one pool in GPUs, with what limits it and why."""

    startup: str
    pool: str
    nominal: int
    share: int
    ceiling: int
    demand: int
    usage: int
    borrowed: int
    lent: int
    limited_by: str
    reason: str

    @property
    def overuse(self) -> int:
        """GPUs that run above the share; 0 within it."""
        return max(0, self.usage - self.share)


def usage_of(program: Program, runs: Iterable[Run]) -> dict[tuple[str, str], int]:
    """GPUs of the open runs by (startup, pool). Flavors outside every pool are left out."""
    used: dict[tuple[str, str], int] = defaultdict(int)
    for run in runs:
        pool = program.pool_of(run.flavor)
        if run.end_s is None and pool is not None:
            used[run.startup, pool.name] += run.gpus
    return dict(used)


def requests_in_demand(
    requests: Iterable[Request], blocked: Collection[str]
) -> tuple[Request, ...]:
    """The live requests that are demand: of startups that may start something."""
    return tuple(each for each in requests if each.is_live and each.startup not in blocked)


def compute_shares(
    snapshot: Snapshot,
    usage: Usage,
    requests: Iterable[Request],
    blocked: Collection[str],
    limits: NamedLimits,
) -> tuple[Share, ...]:
    """The shares at the usage and the requests in demand, under the limits of the paces."""
    demanding = requests_in_demand(requests, blocked)
    requested, refused = requested_gpus(demanding), refused_at(demanding)
    return divide(snapshot, usage, requested, limits, refused)


def divide(
    snapshot: Snapshot,
    usage: Usage,
    requested: Usage,
    pace_limits: NamedLimits,
    refused: Mapping[str, int],
) -> tuple[Share, ...]:
    """Shares of every startup of a running cohort in every pool, by startup and pool.

    `requested` is the GPUs of live requests. `pace_limits` bind beside the limits of policy and
    credits. `refused` is, by pool, the GPUs above which the provider's quota allows no start.
    """
    program, now_s, gpus_of = snapshot.program, snapshot.now_s, snapshot.catalogue.gpus
    running = [c for c in program.cohorts if c.starts_s <= now_s < c.ends_s and c.startups]
    if not running or not program.pools:
        return ()
    members = [startup for cohort in running for startup in cohort.startups]
    demand = {key: max(usage.get(key, 0), requested.get(key, 0)) for key in {*usage, *requested}}
    capacity, beyond = {}, {}
    for pool in program.pools:
        parts = [(s.nominal.get(pool.name, 0), demand.get((s.name, pool.name), 0)) for s in members]
        gpus = capacity[pool.name] = pool.gpus_at(now_s)
        if pool.name in refused:
            capacity[pool.name] = refused_gpus(gpus, refused[pool.name], parts)
        # More GPUs than any share or request of one startup.
        in_demand = sum(asked for (_, name), asked in demand.items() if name == pool.name)
        step = max((gpus_of.get(flavor, 0) for flavor in pool.flavors), default=0)
        beyond[pool.name] = gpus + sum(nominal for nominal, _ in parts) + in_demand + step
    # Computed once for each list of flavors, because nearly every startup has its pool's.
    terms = cache(lambda flavors: _terms(flavors, snapshot.catalogue))
    inputs = _Inputs(snapshot, usage, demand, pace_limits, beyond, terms)
    nodes = []
    for cohort in running:
        parent = f"cohort:{cohort.name}"
        nodes += [Node(parent), *(inputs.node(startup, parent) for startup in cohort.startups)]
    return tuple(
        Share(
            startup=name,
            pool=pool_name,
            demand=demand.get((name, pool_name), 0),
            usage=usage.get((name, pool_name), 0),
            **answer._asdict(),
        )
        for name, answers in solve(Problem(capacity, tuple(nodes))).answers.items()
        for pool_name, answer in answers.items()
    )


def refused_gpus(gpus: int, quota_gpus: int, parts: Iterable[tuple[int, int]]) -> int:
    """GPUs of a pool in which the provider's quota allows no start above `quota_gpus`.

    `parts` are the nominal quota and the demand of each startup. The nominal quota in demand always
    remains, so that only borrowed GPUs go back.
    """
    owed = sum(min(nominal, demand) for nominal, demand in parts)
    return min(gpus, max(quota_gpus, owed))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What the node of each startup is made of."""

    snapshot: Snapshot
    usage: Usage
    demand: Usage
    pace_limits: NamedLimits
    beyond: Mapping[str, int]
    terms: Callable[[tuple[str, ...]], tuple[int, int]]
    """The highest price per GPU and hour among flavors, and their smallest step."""

    def node(self, startup: Startup, parent: str) -> Node:
        """A startup with its demand, its quotas, and all its limits by name."""
        demand, limit, step = {}, {}, {}
        for pool in self.snapshot.program.pools:
            key = (startup.name, pool.name)
            dearest, step[pool.name] = self.terms(_flavors(startup, pool))
            limits = self._limits(startup, pool, dearest)
            limit[pool.name] = {**limits, **self.pace_limits.get(key, {})}
            demand[pool.name] = self.demand.get(key, 0)
        return Node(
            startup.name,
            parent,
            startup.weight,
            nominal=startup.nominal,
            borrowing_limit=_bounded(startup.borrowing_limit),
            lending_limit=_bounded(startup.lending_limit),
            limit=limit,
            demand=demand,
            step=step,
        )

    def _limits(self, startup: Startup, pool: Pool, dearest: int) -> dict[str, int]:
        """The named limits: the policy's, and the GPUs that credits pay for a minimum runtime.

        Credits for more than any share count as `beyond`, so that the problem of a quiet pool
        stays the same while its credits burn.
        """
        causes: dict[str, int] = {}
        policy, balance = startup.limit.get(pool.name), self.snapshot.balances.get(startup.name)
        if policy is not None:
            causes["policy"] = policy
        if balance is not None and dearest:
            runtime_s = max(1, self.snapshot.program.policy.minimum_runtime_s)
            used = self.usage.get((startup.name, pool.name), 0)
            affordable = credits_limit_gpus(balance.available_ucr, dearest, runtime_s, used)
            causes["credits"] = min(affordable, self.beyond[pool.name])
        return causes


def _bounded(limits: Mapping[str, int | None]) -> dict[str, int]:
    """The limits that bind; null is no limit."""
    return {pool: gpus for pool, gpus in limits.items() if gpus is not None}


def step_of(startup: Startup, pool: Pool, catalogue: Catalogue) -> int:
    """The smallest GPU count among the flavors that a startup can use."""
    return _step(_flavors(startup, pool), catalogue)


def _step(flavors: Iterable[str], catalogue: Catalogue) -> int:
    counts = [catalogue.gpus.get(flavor, 0) for flavor in flavors]
    return min((count for count in counts if count > 0), default=1)


def _terms(flavors: tuple[str, ...], catalogue: Catalogue) -> tuple[int, int]:
    """The highest price per GPU among flavors, in ucr per hour or 0, and the smallest step."""
    rates, gpus = catalogue.rates_ucr_per_h, catalogue.gpus
    priced = (flavor for flavor in flavors if gpus.get(flavor) and rates.get(flavor))
    dearest = max((-(-rates[flavor] // gpus[flavor]) for flavor in priced), default=0)
    return dearest, _step(flavors, catalogue)


def _flavors(startup: Startup, pool: Pool) -> tuple[str, ...]:
    return startup.flavors.get(pool.name) or pool.flavors

"""The rules between the values of a program file: each one yields its faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from quotas.model.contacts import contact_problem
from quotas.model.program import Grant, Pool, Program, Startup
from quotas.model.units import format_credits, format_duration, format_instant

Key = tuple[str | int, ...]
Fault = tuple[Key, str]
"""The key in the file, and the problem with its fix."""

LEAST_NOTICE_S = 60


def faults(program: Program) -> Iterator[Fault]:
    """Every contradiction of a program, in the order in which to fix them."""
    yield from _policy(program)
    yield from _contacts(program)
    yield from _pools(program)
    yield from _cohorts(program)
    yield from _projects(program)
    for startup in _in_file_order(program):
        yield from _pools_of(program, startup)
    yield from _grants(program)
    for pool in program.pools:
        yield from _nominal(program, pool)


def startup_key(startup: Startup) -> Key:
    """The path of a startup's table."""
    return ("cohort", startup.cohort, "startup", startup.name)


def _in_file_order(program: Program) -> Iterator[Startup]:
    return (startup for cohort in program.cohorts for startup in cohort.startups)


def _policy(program: Program) -> Iterator[Fault]:
    policy, notice = program.policy, ("policy", "notice")
    minimum = format_duration(policy.minimum_notice_s)
    if policy.minimum_notice_s < LEAST_NOTICE_S:
        yield (*notice, "minimum"), "leaves no time to act; write 1m or more"
    for index, notice_s in enumerate(policy.end_notices_s):
        if notice_s < policy.minimum_notice_s:
            problem = f"is shorter than the minimum notice of {minimum}; write that or more"
            yield (*notice, "end", index), problem


def _contacts(program: Program) -> Iterator[Fault]:
    lists: list[tuple[Key, tuple[str, ...]]] = [(("program", "operators"), program.operators)]
    lists += [((*startup_key(s), "contacts"), s.contacts) for s in program.startups()]
    for key, contacts in lists:
        for index, contact in enumerate(contacts):
            problem = contact_problem(contact)
            if problem is not None:
                yield (*key, index), problem


def _pools(program: Program) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    unseen = "is in a zone that cohortd does not observe; add the zone to program.zones"
    for pool in program.pools:
        for index, flavor in enumerate(pool.flavors):
            key = ("pool", pool.name, "flavors", index)
            if flavor in owner:
                yield key, f"is also in pool {owner[flavor]}; remove one of the two"
            elif flavor.partition("@")[2] not in program.zones:
                yield key, unseen
            owner[flavor] = pool.name
        for index, (before, after) in enumerate(pairwise(pool.capacity)):
            if after[0] <= before[0]:
                step = ("pool", pool.name, "gpus", index + 1, "from")
                yield step, "is not after the step before it; write the steps in rising order"


def _cohorts(program: Program) -> Iterator[Fault]:
    where: dict[str, str] = {}
    for cohort in program.cohorts:
        if cohort.ends_s <= cohort.starts_s:
            problem = f"is not after the start {format_instant(cohort.starts_s)}; write a later end"
            yield ("cohort", cohort.name, "ends"), problem
        for startup in cohort.startups:
            if startup.name in where:
                problem = (
                    f"is also the name of a startup in cohort {where[startup.name]}; "
                    "give one of them another name"
                )
                yield startup_key(startup), problem
            where[startup.name] = cohort.name


def _projects(program: Program) -> Iterator[Fault]:
    tenures: dict[str, list[tuple[int, int | None, Key, str]]] = {}
    for startup in _in_file_order(program):
        for index, tenure in enumerate(startup.projects):
            key = (*startup_key(startup), "projects", index)
            if tenure.until_s is not None and tenure.until_s <= tenure.from_s:
                begun = format_instant(tenure.from_s)
                yield (*key, "until"), f"is not after its start {begun}; write a later end"
            row = (tenure.from_s, tenure.until_s, (*key, "id"), startup.name)
            tenures.setdefault(tenure.project_id, []).append(row)
    for rows in tenures.values():
        for before, after in pairwise(sorted(rows, key=lambda row: row[0])):
            if before[1] is None or before[1] > after[0]:
                problem = (
                    f"also belongs to {before[3]} at {format_instant(after[0])}; "
                    "give each project one owner, or write projects with from and until"
                )
                yield after[2], problem


def _pools_of(program: Program, startup: Startup) -> Iterator[Fault]:
    names = sorted(pool.name for pool in program.pools)
    known = ", ".join(names) or "none: add a [pool.NAME] table"
    for label in ("nominal", "borrowing_limit", "lending_limit", "limit", "flavors"):
        for pool in getattr(startup, label):
            if pool not in names:
                key = (*startup_key(startup), label, pool)
                yield key, f"is for a pool that the program does not have; the pools are {known}"
    for pool, flavors in startup.flavors.items():
        for index, flavor in enumerate(flavors):
            of = program.pool_of(flavor)
            if pool in names and (of is None or of.name != pool):
                key = (*startup_key(startup), "flavors", pool, index)
                yield key, f"is not a flavor of pool {pool}; add it to pool.{pool}.flavors"


def _grants(program: Program) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    sum_ucr = 0
    for startup in _in_file_order(program):
        for index, grant in enumerate(startup.grants):
            key = (*startup_key(startup), "grants", index)
            if grant.id in owner:
                problem = f"is already the id of a grant of {owner[grant.id]}; choose a new id"
                yield (*key, "id"), problem
            owner[grant.id] = startup.name
            if grant.expires_s <= grant.effective_s:
                begun = format_instant(grant.effective_s)
                yield (*key, "expires"), f"is not after {begun}; write a later instant"
            else:
                yield from _tranches(key, grant)
            sum_ucr += grant.amount_ucr
            if sum_ucr - grant.amount_ucr <= program.budget_ucr < sum_ucr:
                problem = (
                    f"raises the grants to {format_credits(sum_ucr)} credits, above the "
                    f"budget of {format_credits(program.budget_ucr)}; "
                    "lower a grant or raise program.budget"
                )
                yield (*key, "credits"), problem


def _tranches(key: Key, grant: Grant) -> Iterator[Fault]:
    """Tranches sum to the grant, lie within it in rising order, and have names of their own."""
    if not grant.tranches:
        if grant.rollover is not None:
            yield (*key, "rollover"), "needs tranches, and this grant has none; remove it"
        return
    sum_ucr = sum(tranche.amount_ucr for tranche in grant.tranches)
    if sum_ucr != grant.amount_ucr:
        problem = (
            f"is not the {format_credits(sum_ucr)} credits of its tranches; write their sum, "
            "or correct a tranche"
        )
        yield (*key, "credits"), problem
    if any(tranche.amount_ucr <= 0 for tranche in grant.tranches):
        problem = f"is too little for {len(grant.tranches)} monthly tranches; write more"
        yield (*key, "credits"), problem
    for index, tranche in enumerate(grant.tranches):
        place = (*key, "tranches", index)
        if tranche.effective_s is None:
            yield from _milestone(place, grant, index)
            continue
        before = grant.tranches[index - 1].effective_s if index else None
        if before is not None and tranche.effective_s <= before:
            yield (*place, "at"), "is not after the tranche before it; write them in rising order"
        if not grant.effective_s <= tranche.effective_s < grant.expires_s:
            begins, ends = format_instant(grant.effective_s), format_instant(grant.expires_s)
            yield (*place, "at"), f"is outside the grant; write {begins} or later, before {ends}"


def _milestone(place: Key, grant: Grant, index: int) -> Iterator[Fault]:
    tranche = grant.tranches[index]
    if tranche.milestone in (each.milestone for each in grant.tranches[:index]):
        yield (*place, "milestone"), "is already a milestone of this grant; give it another name"
    if tranche.by_s is not None and not grant.effective_s < tranche.by_s <= grant.expires_s:
        begins, ends = format_instant(grant.effective_s), format_instant(grant.expires_s)
        yield (*place, "by"), f"is outside the grant; write after {begins}, up to {ends}"
    if grant.rollover is not None and index == 0:
        problem = 'is only for dated tranches; milestones last to the grant\'s end: write "all"'
        yield (*place[:-2], "rollover"), problem


def _nominal(program: Program, pool: Pool) -> Iterator[Fault]:
    """The first instant at which the guarantees of a pool exceed its GPUs.

    One pass over the edges with a running sum, so that the cost is linear in the cohorts.
    """
    change = Counter({from_s: 0 for from_s, _ in pool.capacity})
    for cohort in program.cohorts:
        gpus = sum(startup.nominal.get(pool.name, 0) for startup in cohort.startups)
        change[cohort.starts_s] += gpus
        change[cohort.ends_s] -= gpus
    capacity, owed, has = dict(pool.capacity), 0, 0
    for instant_s in sorted(change):
        owed += change[instant_s]
        has = capacity.get(instant_s, has)
        if owed > has:
            here = (c for c in program.cohorts if c.starts_s <= instant_s < c.ends_s)
            last = [s for c in here for s in c.startups if s.nominal.get(pool.name, 0)][-1]
            problem = (
                f"raises the nominal quotas to {owed} GPUs at {format_instant(instant_s)}, "
                f"and pool {pool.name} has {has}; lower a nominal quota or raise the pool's gpus"
            )
            yield (*startup_key(last), "nominal", pool.name), problem
            return

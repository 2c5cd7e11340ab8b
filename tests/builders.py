"""Small builders of programs, servers, runs and grants with defaults.

The shared world: one zone Z, flavor H100 at 3600 ucr/h (1 ucr a second), startups
"acme" (project "p-acme") and "birch" ("p-birch"), a cohort from 0 to a year.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from quotas.ledger.balance import balance
from quotas.ledger.transfers import GrantBalance
from quotas.metering.runs import Catalogue, Metered, Run
from quotas.model.observation import Cause, Complete, Server, Sweep, Unknown
from quotas.model.program import Cohort, Grant, Policy, Pool, Program, Startup, Tenure
from quotas.rules import credits, limit
from quotas.state.facts import FactsJson, to_json
from quotas.state.notices import Intent, Notice, StopTerms
from quotas.state.snapshot import Snapshot

Z = "fr-par-2"
TYPE = "H100-1-80G"
FLAVOR = f"{TYPE}@{Z}"
BIG_TYPE = "H100-2-80G"
BIG_FLAVOR = f"{BIG_TYPE}@{Z}"
RATE = 3600
YEAR_S = 365 * 86_400
CATALOGUE = Catalogue({FLAVOR: RATE, BIG_FLAVOR: 2 * RATE}, {FLAVOR: 1, BIG_FLAVOR: 2})
TO_DIVIDE = {"catalogue": CATALOGUE} if "catalogue" in Snapshot.__dataclass_fields__ else {}


def a_grant(id: str = "g1", amount_ucr: int = 1_000_000, **changes: Any) -> Grant:
    """A grant of one credit over the whole year."""
    values: dict[str, Any] = {"effective_s": 0, "expires_s": YEAR_S, **changes}
    return Grant(id, amount_ucr, **values)


def a_startup(name: str = "acme", **changes: Any) -> Startup:
    """A startup of cohort "spring" whose project is p-NAME from the beginning."""
    values: dict[str, Any] = {"projects": (Tenure(f"p-{name}", 0),), **changes}
    return Startup(name, "spring", **values)


def a_program(*startups: Startup, **changes: Any) -> Program:
    """A program in enforce mode that sweeps zone Z only."""
    cohort = Cohort(
        "spring",
        changes.pop("starts_s", 0),
        changes.pop("ends_s", YEAR_S),
        startups or (a_startup("acme"), a_startup("birch")),
    )
    values: dict[str, Any] = {
        "mode": "enforce",
        "zones": (Z,),
        "pools": (Pool("h100", ((0, 40),), flavors=(FLAVOR, BIG_FLAVOR)),),
        "policy": Policy(),
        **changes,
    }
    return Program("program", 10**12, cohorts=(cohort,), **values)


def a_server(id: str = "s1", **changes: Any) -> Server:
    """A running H100 of acme in Z, made and last modified at 0."""
    values: dict[str, Any] = {
        "zone": Z,
        "project_id": "p-acme",
        "name": f"name-{id}",
        "commercial_type": TYPE,
        "state": "running",
        "state_detail": "",
        "created_s": 0,
        "modified_s": 0,
        **changes,
    }
    return Server(id, **values)


def a_run(server_id: str = "s1", start_s: int = 0, **changes: Any) -> Run:
    """An open run of acme's server in Z at 1 ucr a second, nothing posted yet."""
    values: dict[str, Any] = {
        "server_name": f"name-{server_id}",
        "zone": Z,
        "project_id": "p-acme",
        "startup": "acme",
        "flavor": FLAVOR,
        "gpus": 1,
        "rate_ucr_per_h": RATE,
        "up_since_s": start_s,
        "started_by": changes.get("startup", "acme"),
        "posted_until_s": start_s,
        "state": "running",
        **changes,
    }
    return Run(f"{server_id}@{start_s}", server_id, start_s=start_s, **values)


def a_balance_of(id: str = "g1", left_ucr: int = 1_000_000, **changes: Any) -> GrantBalance:
    """A grant of acme, in force the whole year."""
    values: dict[str, Any] = {
        "startup": "acme",
        "cohort": "spring",
        "priority": 0,
        "effective_s": 0,
        "expires_s": YEAR_S,
        "created": 0,
        "granted_ucr": left_ucr,
        **changes,
    }
    return GrantBalance(id=id, left_ucr=left_ucr, **values)


def seen(at_s: int, *servers: Server, zone: str = Z) -> Complete:
    """A Complete sweep."""
    return Complete(zone, at_s, servers)


def unknown(at_s: int, zone: str = Z) -> Unknown:
    """A sweep that failed."""
    return Unknown(zone, at_s, Cause.UNREACHABLE, "no route")


def metered(runs: Iterable[Run], confirmed: Mapping[str, int]) -> Metered:
    """Runs after metering, none of them changed by it."""
    return Metered({run.id: run for run in runs}, (), (), dict(confirmed))


def a_snapshot(
    now_s: int,
    program: Program,
    runs: Iterable[Run],
    grants: Iterable[GrantBalance] = (),
    **changes: Any,
) -> Snapshot:
    """A snapshot at `now_s` in which every open run's server is seen running."""
    runs, grants = tuple(runs), tuple(grants)
    servers = tuple(
        a_server(run.server_id, project_id=run.project_id)
        for run in runs
        if run.end_s is None and run.zone == Z
    )
    sweeps: dict[str, Sweep] = changes.pop("sweeps", {Z: seen(now_s, *servers)})
    policy = program.policy
    reserve_s = policy.minimum_notice_s + 30 + policy.stop_latency_s
    confirmed = dict.fromkeys(sweeps, now_s)
    names = {s.name for s in program.startups()} | {g.startup for g in grants}
    values: dict[str, Any] = {
        "confirmed": confirmed,
        "balances": {
            name: balance(name, now_s, grants, runs, confirmed, reserve_s) for name in sorted(names)
        },
        "notices": (),
        "intents": (),
        "announced": frozenset(),
        **TO_DIVIDE,
        "stop_latency_s": policy.stop_latency_s,
        **changes,
    }
    return Snapshot(
        now_s=now_s,
        program=program,
        sweeps=sweeps,
        runs={run.id: run for run in runs},
        **values,
    )


def notice_facts(rule: str, startup: str = "acme") -> FactsJson:
    """The facts of a notice of a used-up startup, or of one above its limit; else none."""
    rules: dict[str, Any] = {
        "credits": credits.Facts(
            startup=startup,
            granted_ucr=9_000_000,
            posted_ucr=5_000_000,
            accrued_ucr=1_000_000,
            held_ucr=500_000,
            reserve_ucr=3_500_000,
            burn_ucr_per_h=9_000_000,
            stopped_before=0,
        ),
        "limit": limit.Facts(
            startup=startup, server="s1", pool="h100", used_gpus=16, limit_gpus=8, gpus=8
        ),
    }
    if rule not in rules:
        return {}
    return to_json(rules[rule]) | to_json(StopTerms(flavor=FLAVOR, is_reserved=False))


def a_notice(server_id: str = "s1", **changes: Any) -> Notice:
    """An open notice to acme that its credits are used up, given at 0 and due at 1800."""
    values: dict[str, Any] = {
        "startup": "acme",
        "server_name": f"name-{server_id}",
        "zone": Z,
        "rule": "credits",
        "episode": "credits:0",
        "mode": "enforce",
        "opened_s": 0,
        "deadline_s": 1800,
        "facts": notice_facts(changes.get("rule", "credits"), changes.get("startup", "acme")),
        "id": 1,
        **changes,
    }
    return Notice(server_id=server_id, **values)


def an_intent(**changes: Any) -> Intent:
    """A pending intent to power off s1 for notice 1, decided at 1800."""
    values: dict[str, Any] = {
        "notice_id": 1,
        "server_id": "s1",
        "zone": Z,
        "replaces": "running",
        "decided_s": 1800,
        "not_after_s": 2100,
        "id": 1,
        **changes,
    }
    return Intent(**values)


def as_shadow(program: Program) -> Program:
    """The same program in shadow mode."""
    return replace(program, mode="shadow")


def shuffled(snapshot: Snapshot, random: Random) -> Snapshot:
    """The same snapshot, with every mapping and tuple in random order."""

    def mixed(mapping: Mapping[str, Any]) -> dict[str, Any]:
        keys = list(mapping)
        random.shuffle(keys)
        return {key: mapping[key] for key in keys}

    notices, intents = list(snapshot.notices), list(snapshot.intents)
    random.shuffle(notices)
    random.shuffle(intents)
    return replace(
        snapshot,
        runs=mixed(snapshot.runs),
        balances=mixed(snapshot.balances),
        notices=tuple(notices),
        intents=tuple(intents),
    )


def a_cut_run(server_id: str, cut_s: int, up_since_s: int = 0, **changes: Any) -> Run:
    """A run that was cut at an instant, of a server that has been on for longer."""
    return a_run(server_id, cut_s, **{"up_since_s": up_since_s, **changes})

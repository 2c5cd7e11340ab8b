"""The cases of comparable allocators that a generic allocator must meet.

The cases lie outside the repository; without them these tests skip with a reason.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.quotas.shares.problems import divided, node, problem

DEFAULT_SHARED = Path(__file__).resolve().parents[4] / "shared"
SHARED = Path(os.environ.get("COHORTD_SHARED", DEFAULT_SHARED))
CASES = SHARED / "fairshare" / "cases.jsonl"

OVER_COMMITTED = "the peer's shares sum above the capacity; ours keep I9"
EXCLUDED = {
    "kai-reclaim-022": OVER_COMMITTED,
    "kai-reclaim-035": OVER_COMMITTED,
    "kai-reclaim-036": OVER_COMMITTED,
    "kai-reclaim-037": OVER_COMMITTED,
    "kai-reclaim-041": OVER_COMMITTED,
    "kai-allocate-011": OVER_COMMITTED,
    "kai-allocate-012": OVER_COMMITTED,
    "volcano-division_divisible-029": "the peer keeps an idle guarantee; ours lends it",
}
"""Cases marked as generic whose answer breaks an invariant of ours."""

OTHER_KINDS = {
    "hetero_maxmin": "throughput by GPU type in one linear program; our pools are apart",
    "drf": "several resources at once; a pool is one resource",
    "hdrf": "several resources at once; a pool is one resource",
    "group_quota": "weight is the quota, remainders go round-robin by a clock of the peer",
    "credit_exchange": "shares bought with credits of the peer's own kind",
    "credit_sequence": "shares bought with credits of the peer's own kind",
    "available": "headroom at a usage, not a division of demand",
    "classic_preempt": "chooses victims among jobs; ours is reclaim, a later stage of decide",
    "fair_preempt": "chooses victims among jobs; ours is reclaim, a later stage of decide",
    "hier_preempt": "chooses victims among jobs; ours is reclaim, a later stage of decide",
    "fair_admission_cycle": "admits jobs one by one; ours divides demand",
    "drs": "a ranking by dominant resource, not a division",
    "fair_tree": "a ranking by past usage, not a division",
    "capacity": "several resources, and victims",
    "compare_queues": "a ranking, not a division",
    "fair_max": "several resources; a child's limit overrides its parent's",
    "headroom": "several resources",
    "queue_order": "a ranking, not a division",
    "share_ratio": "a ratio for ranking, not a division",
}
"""Kinds that ask another question than "how is one pool divided"."""


def cases() -> list[dict[str, Any]]:
    if not CASES.exists():
        return []
    return [json.loads(line) for line in CASES.read_text().splitlines()]


def chosen(*, generic: bool) -> list[Any]:
    found = [case for case in cases() if case["generic_match"] is generic]
    mark = pytest.mark.skipif(not found, reason="service: ../shared is absent")
    return [pytest.param(case, id=case["id"]) for case in found] or [pytest.param({}, marks=mark)]


def tenant(entry: dict[str, Any]) -> dict[str, Any]:
    """A queue of a peer as a node; a weight below 0 is that peer's way to say default."""
    weight = 1 if entry["weight"] < 0 else entry["weight"]
    fields = {"limit": entry["limit"], "demand": entry["demand"], "weight": weight}
    made = node(entry["id"], entry.get("parent"), nominal=entry["guarantee"] or 0, **fields)
    return made | {"priority": entry.get("priority", 0)}


def fractional(nodes: list[dict[str, Any]]) -> bool:
    amounts = [v for n in nodes for k in ("nominal", "limit", "demand") for v in n[k].values()]
    return any(v is not None and v != int(v) for v in amounts)


def division_of(case: dict[str, Any]) -> dict[str, float]:
    """Our answer to a division or a queue tree."""
    entries = case["inputs"].get("tenants") or case["inputs"]["queues"]
    nodes = [tenant(entry) for entry in entries]
    parents = {made["parent"] for made in nodes}
    apart = fractional(nodes) or case["kind"] == "division_divisible"
    apart = apart or case["inputs"].get("resource", "GPU") != "GPU"
    for made in nodes:
        if made["name"] in parents:
            # A department's own guarantee is the peer's bound of its queues', not beside them.
            del made["demand"], made["nominal"]
    total = case["inputs"].get("total", case["inputs"].get("total_gpus"))
    stated = problem(total, *nodes, divisible=apart)
    return {name: float(share) for name, share in divided(stated).items()}


@pytest.mark.parametrize("case", chosen(generic=True))
def test_generic_cases_are_met(case: dict[str, Any]) -> None:
    """Each generic case has exactly the peer's shares, or breaks I9 and ours keeps it."""
    expected = case["expected"].get("fair_share") or case["expected"]["deserved"]
    got = division_of(case)
    same = all(abs(got[name] - expected[name]) <= case["tolerance"] for name in got)
    assert same is (case["id"] not in EXCLUDED), (got, expected)
    total = case["inputs"].get("total", case["inputs"].get("total_gpus"))
    assert sum(got.values()) <= total + 1e-9


@pytest.mark.parametrize("case", chosen(generic=False))
def test_other_cases_are_met_or_listed(case: dict[str, Any]) -> None:
    """A case of another kind is met where ours covers it, beaten where the peer is at fault."""
    inputs, expected = case["inputs"], case["expected"]
    if case["kind"] == "surplus_division":
        held = [dict(e, guarantee=e["share_before"]) for e in inputs["tenants"]]
        total = inputs["total"] + sum(e["share_before"] for e in held)
        got = division_of(case | {"inputs": inputs | {"tenants": held, "total": total}})
        assert got == expected["fair_share"]
    elif case["kind"] == "inverse_priority_share":
        ranks = inputs["effective_priority"]
        nodes = [
            node(name, weight=f"1/{rank}", demand=inputs["demand"][name])
            for name, rank in ranks.items()
        ]
        assert divided(problem(inputs["pool"], *nodes)) == expected["share"]
    elif case.get("peer_defects"):
        got = division_of(case)
        assert sum(got.values()) == inputs["total"]
        assert all(
            got[e["id"]] <= min(e["demand"], e["limit"] or e["demand"]) for e in inputs["tenants"]
        )
    elif case["kind"] == "division":
        assert inputs["k"], "only the memory of past usage is left out of the divisions"
    else:
        assert case["kind"] in OTHER_KINDS, case["kind"]

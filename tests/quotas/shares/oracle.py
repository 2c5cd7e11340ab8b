"""An independent answer: lexicographic max-min over a tree by linear programming (HiGHS).

It states only the rules: flows of quota up and down the tree, limits, and the order of the
objectives. It knows nothing of filling levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linprog

POOL = "h100"
NEAR = 2e-6


@dataclass
class Model:
    """Variables of each node: its share, what it draws from outside, what it lets out."""

    stated: dict[str, Any]
    rows: list[tuple[dict[tuple[str, str], float], float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = {entry["name"]: entry for entry in self.stated["nodes"]}
        self.gpus = self.stated["pools"][POOL]["gpus"]
        self.below: dict[str | None, list[str]] = {None: []}
        for name, entry in self.nodes.items():
            self.below.setdefault(entry["parent"], []).append(name)
        keys = [(kind, name) for name in self.nodes for kind in ("share", "draw", "out")]
        self.place = {key: at for at, key in enumerate(keys)}
        self.state()

    def get(self, name: str, key: str, missing: float = 0) -> float:
        value = self.nodes[name].get(key, {}).get(POOL)
        return missing if value is None else value

    def quota(self, name: str) -> float:
        return self.get(name, "nominal") + sum(map(self.quota, self.below.get(name, [])))

    def add(self, terms: dict[tuple[str, str], float], at_most: float) -> None:
        self.rows.append((terms, at_most))

    def state(self) -> None:
        """The rules every division obeys."""
        far = 1e4
        for name, entry in self.nodes.items():
            members = self.below.get(name, [])
            self.add({("share", name): 1}, self.get(name, "limit", far))
            beyond = self.get(name, "borrowing_limit", far)
            self.add({("share", name): 1}, self.quota(name) + beyond)
            self.add({("out", name): 1}, self.get(name, "lending_limit", far))
            self.add({("draw", name): 1, ("share", name): -1}, 0)
            if not entry.get("weight", 1):
                self.add({("draw", name): 1}, 0)
            own = self.get(name, "nominal")
            if not members:
                self.add({("share", name): 1}, self.get(name, "demand"))
                self.add({("share", name): 1, ("draw", name): -1, ("out", name): 1}, own)
                continue
            sums = {("share", member): 1.0 for member in members}
            self.add(sums | {("share", name): -1}, 0)
            self.add(dict.fromkeys(sums, -1.0) | {("share", name): 1}, 0)
            flow: dict[tuple[str, str], float] = {("draw", m): 1 for m in members}
            flow |= {("out", m): -1 for m in members}
            self.add(flow | {("out", name): 1, ("draw", name): -1}, own)
        roots = self.below[None]
        self.add({("share", root): 1 for root in roots}, self.gpus)
        spare = self.gpus - sum(map(self.quota, roots))
        if spare >= 0:
            flow = {("draw", root): 1.0 for root in roots} | {("out", root): -1.0 for root in roots}
            self.add(flow, spare)

    def most(
        self, goal: dict[tuple[str, str], float], more: list[Any] | None = None
    ) -> tuple[float, np.ndarray]:
        """Maximise a sum of variables; `more` are extra rows, ("level",) is a free variable."""
        rows = self.rows + (more or [])
        width = len(self.place) + 1
        place = self.place | {("level", ""): width - 1}
        matrix, bounds = np.zeros((len(rows), width)), np.zeros(len(rows))
        for at, (terms, at_most) in enumerate(rows):
            bounds[at] = at_most
            for key, factor in terms.items():
                matrix[at, place[key]] = factor
        cost = np.zeros(width)
        for key, factor in goal.items():
            cost[place[key]] = -factor
        cost[-1] -= 0 if ("level", "") in goal else 1e-12
        answer = linprog(cost, matrix, bounds, bounds=[(0, 1e5)] * width, method="highs")
        assert answer.status == 0, answer.message
        return float(sum(f * answer.x[place[k]] for k, f in goal.items())), answer.x

    def keep(self, terms: dict[tuple[str, str], float], value: float) -> None:
        """From now on the sum is at least `value`."""
        self.add({key: -factor for key, factor in terms.items()}, -value + NEAR)


def isolated(model: Model, name: str) -> float:
    """What a subtree's own quota gives it, with nothing from outside."""
    members = model.below.get(name, [])
    if not members:
        own = min(model.get(name, "demand"), model.get(name, "nominal"))
        return min(own, model.get(name, "limit", own))
    inside = subtree(model, name)
    entries = [e | {"parent": None if e["name"] == name else e["parent"]} for e in inside]
    for entry in entries:
        if entry["name"] == name:
            entry["borrowing_limit"] = {POOL: 0}
    alone = Model({"pools": {POOL: {"gpus": model.quota(name)}}, "nodes": entries})
    return alone.most({("share", name): 1})[0]


def subtree(model: Model, name: str) -> list[dict[str, Any]]:
    """The node and all below it."""
    found = [dict(model.nodes[name])]
    for member in model.below.get(name, []):
        found += subtree(model, member)
    return found


def solve(stated: dict[str, Any]) -> dict[str, float]:
    """The divisible share of every node."""
    model = Model(stated)
    if not model.nodes:
        return {}
    base = {name: isolated(model, name) for name in model.nodes}
    shares: dict[str, float] = {}
    total = model.most({("share", root): 1 for root in model.below[None]})[0]
    floor(model, base, None, total)
    queue: list[str | None] = [None]
    total = model.most({("share", root): 1 for root in model.below[None]})[0]
    while queue:
        parent = queue.pop(0)
        members = model.below[parent]
        amount = total if parent is None else shares[parent]
        model.keep({("share", m): 1 for m in members}, amount - 20 * NEAR)
        settle(model, members, base, amount, shares)
        queue += [m for m in members if m in model.below]
    return shares


def floor(model: Model, base: dict[str, float], parent: str | None, amount: float) -> None:
    """Where the total covers every member's base, each has its base first."""
    members = model.below[parent]
    if sum(base[m] for m in members) > amount + NEAR:
        return
    for member in members:
        model.keep({("share", member): 1}, base[member])


def settle(
    model: Model,
    members: list[str],
    base: dict[str, float],
    amount: float,
    shares: dict[str, float],
) -> None:
    """Divide one group: class by class, raising the smallest ratio first."""
    short = sum(base[m] for m in members) > amount + NEAR
    start = {m: 0.0 if short else base[m] for m in members}
    for member in members:
        model.keep({("share", member): 1}, start[member])
        if short:
            model.add({("share", member): 1}, base[member])
    rank = {m: 0 if short else model.nodes[m].get("priority", 0) for m in members}
    for level in sorted(set(rank.values()), reverse=True):
        pending = [m for m in members if rank[m] == level]
        while pending:
            pending = raise_level(model, pending, start, shares, short)


def raise_level(
    model: Model, pending: list[str], start: dict[str, float], shares: dict[str, float], short: bool
) -> list[str]:
    """Raise all pending members together as far as it goes; fix those that are stuck."""
    weight = {m: model.nodes[m].get("weight", 1) or (1 if short else 0) for m in pending}
    for member in [m for m in pending if not weight[m]]:
        shares[member] = start[member]
    pending = [m for m in pending if weight[m]]
    if not pending:
        return []
    rows = [({("share", m): -1, ("level", ""): weight[m]}, -start[m] + NEAR) for m in pending]
    level = model.most({("level", ""): 1}, rows)[0]
    floors = [({("share", m): -1}, -(start[m] + level * weight[m]) + 2 * NEAR) for m in pending]
    stuck = []
    for member in pending:
        best = model.most({("share", member): 1}, floors)[0]
        if best <= start[member] + level * weight[member] + 2e-4:
            stuck.append(member)
    for member in stuck:
        shares[member] = start[member] + level * weight[member]
        model.keep({("share", member): 1}, shares[member] - 3 * NEAR)
    assert stuck, "no member is stuck at the highest level"
    return [m for m in pending if m not in stuck]

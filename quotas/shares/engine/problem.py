"""The problem of a division: its values, and the reader of its JSON form.

A refusal is one sentence that names the node, the field and the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

AMOUNTS = (
    *("nominal", "borrowing_limit", "lending_limit", "limit"),
    *("demand", "step", "banked", "served_s"),
)
"""Fields of a node that map a pool to a number; `served_s` (last served, UTC s) orders ties."""

MOST_LEVELS = 250
"""Groups within groups. A deeper tree is refused."""

Number = int | Fraction
MOST_DIGITS = 28
"""Most digits of a number, or of either part of a ratio."""

_TOO_LARGE = 10**MOST_DIGITS
_EXPONENT = re.compile(r"[eE][+-]?([0-9_]+)\s*$")
_LIMITS = frozenset({"borrowing_limit", "lending_limit", "limit"})
_SIGNED = frozenset({"banked", "served_s"})
_FIELDS = frozenset({"name", "parent", "weight", "priority", *AMOUNTS})


class ProblemError(ValueError):
    """The problem is malformed: one sentence that names node, field and value."""


@dataclass(frozen=True, slots=True)
class Node:
    """A startup or a group of them. A pool that an amount does not name has its default.

    `limit` holds the named causes by pool: {"h100": {"policy": 16, "credits": 5}}.
    """

    name: str
    parent: str | None = None
    weight: Number = 1
    priority: int = 0
    nominal: Mapping[str, Number] = field(default_factory=dict)
    borrowing_limit: Mapping[str, Number] = field(default_factory=dict)
    lending_limit: Mapping[str, Number] = field(default_factory=dict)
    limit: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    demand: Mapping[str, Number] = field(default_factory=dict)
    step: Mapping[str, Number] = field(default_factory=dict)
    banked: Mapping[str, Number] = field(default_factory=dict)
    served_s: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Pools with their capacity, and the trees of nodes that share them."""

    pools: Mapping[str, Number]
    nodes: tuple[Node, ...]
    divisible: bool = False


def read_problem(raw: object) -> Problem:
    """Read and check the JSON form of a problem. Raises ProblemError."""
    top = _mapping(raw, "the problem")
    _known(top, {"pools", "nodes", "divisible"}, "the problem")
    divisible = top.get("divisible", False)
    if not isinstance(divisible, bool):
        raise ProblemError(f"the problem: field 'divisible' is {divisible!r}, not true or false")
    pools = _read_pools(top.get("pools"), Reader(divisible))
    raw_nodes = top.get("nodes")
    if not isinstance(raw_nodes, list | tuple):
        raise ProblemError(f"the problem: field 'nodes' is {raw_nodes!r}, not a list of nodes")
    reader = Reader(divisible, frozenset(pools))
    nodes = tuple(_read_node(entry, place, reader) for place, entry in enumerate(raw_nodes))
    check_tree(nodes)
    return Problem(pools, nodes, divisible)


def check_tree(nodes: tuple[Node, ...]) -> None:
    """Refuse a duplicate name, an unknown parent, a cycle, or a demand on an inner node."""
    parents: dict[str, str | None] = {}
    for node in nodes:
        if node.name in parents:
            raise ProblemError(f"node {node.name!r}: field 'name' is {node.name!r} a second time")
        parents[node.name] = node.parent
    for node in nodes:
        if node.parent is not None and node.parent not in parents:
            raise ProblemError(
                f"node {node.name!r}: field 'parent' is {node.parent!r}, which does not exist"
            )
    _refuse_endless(parents)
    inner = set(parents.values())
    for node in nodes:
        if node.name in inner and node.demand:
            pool, amount = min(node.demand.items())
            raise ProblemError(
                f"node {node.name!r}: field 'demand' for pool {pool!r} is {amount}, but it has "
                "children; write the demand on them"
            )


def _refuse_endless(parents: Mapping[str, str | None]) -> None:
    """Walk up from every node once. If the walk meets its own path, there is a cycle."""
    sound: dict[str | None, int] = {None: 0}
    for name in sorted(parents):
        path: dict[str | None, None] = {}
        at: str | None = name
        while at not in sound:
            if at in path:
                raise ProblemError(
                    f"node {at!r}: field 'parent' is {parents[str(at)]!r}, which closes a cycle"
                )
            path[at] = None
            at = parents[str(at)]
        for level, member in enumerate(reversed(path), sound[at] + 1):
            sound[member] = level
        if sound[name] > MOST_LEVELS:
            raise ProblemError(
                f"node {name!r}: field 'parent' is {parents[name]!r}, which puts it at level "
                f"{sound[name]}; a tree has at most {MOST_LEVELS}"
            )


def _read_pools(raw: object, reader: Reader) -> dict[str, Number]:
    """The capacity of each pool."""
    pools = {}
    for name, entry in _mapping(raw, "the problem: field 'pools'").items():
        pool = _mapping(entry, f"pool {name!r}")
        _known(pool, {"gpus"}, f"pool {name!r}")
        if "gpus" not in pool:
            raise ProblemError(f"pool {name!r}: field 'gpus' is missing")
        pools[name] = reader.gpus(pool["gpus"], f"pool {name!r}: field 'gpus'")
    return pools


def _read_node(raw: object, place: int, reader: Reader) -> Node:
    """One entry of `nodes`."""
    entry = _mapping(raw, f"node number {place + 1}")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ProblemError(f"node number {place + 1}: field 'name' is {name!r}, not a name")
    where = f"node {name!r}"
    _known(entry, _FIELDS, where)
    parent = entry.get("parent")
    if parent is not None and not isinstance(parent, str):
        raise ProblemError(f"{where}: field 'parent' is {parent!r}, not a name")
    priority = entry.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise ProblemError(f"{where}: field 'priority' is {priority!r}, not a whole number")
    weight = number(entry.get("weight", 1), f"{where}: field 'weight'")
    if weight < 0:
        raise ProblemError(f"{where}: field 'weight' is {entry['weight']!r}, below 0")
    amounts = {key: reader.by_pool(entry[key], key, where) for key in AMOUNTS if entry.get(key)}
    return Node(name, parent, weight, priority, **amounts)  # type: ignore[arg-type]  # one reader


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads amounts: whole GPUs, or any rational where the problem is divisible."""

    divisible: bool
    pools: frozenset[str] = frozenset()

    def by_pool(self, raw: object, key: str, where: str) -> dict[str, object]:
        """A mapping of pools to amounts; a null limit is no limit."""
        read: dict[str, object] = {}
        for pool, value in _mapping(raw, f"{where}: field {key!r}").items():
            at = f"{where}: field {key!r} for pool {pool!r}"
            if pool not in self.pools:
                raise ProblemError(
                    f"{where}: field {key!r} is for pool {pool!r}, which does not exist"
                )
            if value is None and key in _LIMITS:
                continue
            if key == "limit":
                read[pool] = self.causes(value, at)
            elif key in _SIGNED:
                read[pool] = number(value, at)
            else:
                read[pool] = self.gpus(value, at)
                if key == "step" and not read[pool]:
                    raise ProblemError(f"{at} is {value!r}: a step is at least one GPU")
        return read

    def causes(self, value: object, at: str) -> dict[str, Number]:
        """A limit: a number, or named causes of which all bind."""
        if not isinstance(value, Mapping):
            return {"limit": self.gpus(value, at)}
        named = {str(cause): amount for cause, amount in value.items() if amount is not None}
        return {
            cause: self.gpus(amount, f"{at}, cause {cause!r},") for cause, amount in named.items()
        }

    def gpus(self, value: object, at: str) -> Number:
        """GPUs: not negative, and whole unless the problem is divisible."""
        amount = number(value, at)
        if amount < 0:
            raise ProblemError(f"{at} is {value!r}: GPUs cannot be negative")
        if amount.denominator != 1 and not self.divisible:
            raise ProblemError(f"{at} is {value!r}: GPUs are whole unless divisible is true")
        return amount


def number(value: object, at: str) -> Number:
    """A finite number, or a decimal or rational string, exactly as it is written."""
    if type(value) is int and -_TOO_LARGE < value < _TOO_LARGE:
        return value  # the common case: a hundred thousand Fractions would take seconds
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ProblemError(f"{at} is {value!r}, not a number")
    if isinstance(value, str) and len(value) > 60:
        raise ProblemError(f"{at} is {value[:60]!r}..., longer than 60 characters")
    text = repr(value) if isinstance(value, float) else value
    # Refuse an exponent before expanding it: a few characters could fill the memory.
    if isinstance(text, str) and (far := _EXPONENT.search(text)) and int(far[1]) > MOST_DIGITS:
        raise ProblemError(f"{at} is {value!r}, which has more than {MOST_DIGITS} digits")
    try:
        amount = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ProblemError(f"{at} is {value!r}, not a finite number") from None
    if max(abs(amount.numerator), amount.denominator) >= _TOO_LARGE:
        raise ProblemError(f"{at} has more than {MOST_DIGITS} digits")
    return amount


def _mapping(raw: object, at: str) -> Mapping[str, object]:
    """A JSON object."""
    if not isinstance(raw, Mapping):
        raise ProblemError(f"{at} is {raw!r}, not an object")
    return raw


def _known(entry: Mapping[str, object], fields: set[str] | frozenset[str], at: str) -> None:
    """Refuse an unknown field: most often it is misspelt."""
    for name in sorted(map(str, entry)):
        if name not in fields:
            raise ProblemError(
                f"{at}: field {name!r} is {entry.get(name)!r}, but there is no such field"
            )

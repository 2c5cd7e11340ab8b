"""Small problems to divide, as builders and as Hypothesis strategies."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

POOL = "h100"


def node(name: str, parent: str | None = None, **fields: Any) -> dict[str, Any]:
    """A node whose amounts are for the one pool: node("a", nominal=8, demand=12)."""
    entry: dict[str, Any] = {"name": name, "parent": parent}
    for key, value in fields.items():
        entry[key] = value if key in ("weight", "priority") else {POOL: value}
    return entry


def problem(gpus: Any, *nodes: dict[str, Any], divisible: bool = False) -> dict[str, Any]:
    """A problem with one pool."""
    stated: dict[str, Any] = {"pools": {POOL: {"gpus": gpus}}, "nodes": list(nodes)}
    return stated | {"divisible": True} if divisible else stated


def divided(stated: dict[str, Any], key: str = "share") -> dict[str, Fraction]:
    """One figure of each startup's answer."""
    from quotas.shares.engine import allocate

    answer: Any = allocate(stated)
    return {name: Fraction(by_pool[POOL][key]) for name, by_pool in answer["shares"].items()}


@st.composite
def leaves(
    draw: Any, name: str, parent: str | None = None, *, steps: tuple[int, ...] = (1,)
) -> Any:
    """A startup with every field drawn."""
    few = st.integers(0, 12)
    maybe = st.one_of(st.none(), few)
    return node(
        name,
        parent,
        weight=draw(st.integers(0, 4)),
        priority=draw(st.integers(0, 1)),
        nominal=draw(few),
        demand=draw(st.integers(0, 25)),
        limit=draw(maybe),
        borrowing_limit=draw(maybe),
        lending_limit=draw(maybe),
        step=draw(st.sampled_from(steps)),
        banked=draw(st.integers(-3, 3)),
    )


@st.composite
def flat(draw: Any, *, steps: tuple[int, ...] = (1,), most: int = 7) -> Any:
    """A pool and startups side by side."""
    count = draw(st.integers(1, most))
    nodes = [draw(leaves(f"s{i}", steps=steps)) for i in range(count)]
    return problem(draw(st.integers(0, 60)), *nodes)


@st.composite
def trees(draw: Any, *, steps: tuple[int, ...] = (1,)) -> Any:
    """A pool and up to three levels of groups."""
    groups = [None, *(f"g{i}" for i in range(draw(st.integers(1, 4))))]
    nodes = []
    maybe = st.one_of(st.none(), st.integers(0, 40))
    for i, name in enumerate(groups[1:], 1):
        nodes.append(
            node(
                str(name),
                draw(st.sampled_from(groups[:i])),
                weight=draw(st.integers(0, 3)),
                priority=draw(st.integers(0, 1)),
                nominal=draw(st.integers(0, 6)),
                limit=draw(maybe),
                borrowing_limit=draw(maybe),
                lending_limit=draw(maybe),
            )
        )
    for i in range(draw(st.integers(1, 7))):
        nodes.append(draw(leaves(f"s{i}", draw(st.sampled_from(groups)), steps=steps)))
    inner = {entry["parent"] for entry in nodes}
    kept = [e for e in nodes if e["name"] in inner or "demand" in e]
    return problem(draw(st.integers(0, 60)), *kept)

"""A cycle takes time in proportion to the startups: hot functions are called once for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from quotas.enforcement.decide import decide
from quotas.model.program import Pool
from quotas.rules import registry
from quotas.rules.context import Context
from quotas.state.requests import Request
from quotas.state.snapshot import Snapshot
from tests.builders import BIG_FLAVOR, FLAVOR, a_balance_of, a_program, a_run, a_snapshot, a_startup

MOST = 4.5
"""Four times the startups may take a little more than four times the calls."""


def a_program_of(count: int) -> Snapshot:
    """So many startups with one server each; every other has a request that waits."""
    names = [f"s{number:04}" for number in range(count)]
    startups = [a_startup(name, nominal={"h100": 1}, limit={"h100": 4}) for name in names]
    pool = Pool("h100", ((0, count),), flavors=(FLAVOR, BIG_FLAVOR))
    runs = [a_run(f"v-{name}", startup=name) for name in names]
    grants = [a_balance_of(f"g-{name}", 10**9, startup=name) for name in names]
    requests = tuple(
        Request(name, "h100", 2, 3600, "", "cto", 5, id=number)
        for number, name in enumerate(names[::2], 1)
    )
    program = a_program(*startups, pools=(pool,))
    return a_snapshot(1000, program, runs, grants, requests=requests)


def calls_of(count: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each hot function is called in a cycle of so many startups."""
    calls: Counter[str] = Counter()

    def counted(name: str, right: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            calls[name] += 1
            return right(*args, **named)

        return call

    snapshot = a_program_of(count)
    with monkeypatch.context() as patch:
        for module in ("decide", "prepare"):
            where = f"quotas.{'enforcement' if module == 'decide' else 'rules'}.{module}"
            patch.setattr(f"{where}.usage_of", counted("usage_of", _attr(where, "usage_of")))
        prepare = "quotas.rules.prepare"
        for name in ("compute_shares", "find_restriction", "find_waiting_owners", "paces"):
            patch.setattr(f"{prepare}.{name}", counted(name, _attr(prepare, name)))
        patch.setattr(Snapshot, "running", counted("running", Snapshot.running))
        patch.setattr(Context, "ends_s", counted("ends_s", Context.ends_s))
        for name in registry.RESTRICTING:
            rule = registry.RULES[name]
            part = registry.restricts(name)
            part = replace(part, find=counted(f"{name} restricts", part.find))
            patch.setitem(registry.RULES, name, replace(rule, restricts=part))  # type: ignore[arg-type]  # either
        decide(snapshot)
    return calls


def _attr(module: str, name: str) -> Any:
    return getattr(__import__(module, fromlist=[name]), name)


def test_four_times_the_startups_are_four_times_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 and 4,000 startups: no hot function is called more than 4.5 times as often."""
    few, many = (calls_of(count, monkeypatch) for count in (1000, 4000))
    assert few["running"] == many["running"] == 1
    assert few["usage_of"] == many["usage_of"] == 1
    assert few["compute_shares"] == many["compute_shares"] == 1
    assert many["find_restriction"] == 2 * 4000
    assert {name: many[name] / few[name] for name in few if many[name] > MOST * few[name]} == {}

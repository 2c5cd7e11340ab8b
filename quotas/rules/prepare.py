"""Prepare: compute the context of a cycle once, in the order in which its parts depend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from quotas.model.program import Mode
from quotas.rules.context import Context
from quotas.rules.overuse import overuses
from quotas.rules.pace import pace_limits, paces
from quotas.rules.registry import find_restriction
from quotas.shares.allocation import Usage, compute_shares, usage_of
from quotas.shares.claims import find_waiting_owners
from quotas.state.requests import Request
from quotas.state.snapshot import Snapshot


def prepare(snapshot: Snapshot, requests: Iterable[Request], usage: Usage | None = None) -> Context:
    """Everything that rules read. `requests` are the live ones after this cycle's outcomes."""
    # 1. What each startup runs, and how it keeps its pace: neither depends on anything else.
    if usage is None:
        usage = usage_of(snapshot.program, snapshot.runs.values())
    context = Context(snapshot, usage, paces=paces(snapshot))
    is_off = snapshot.program.mode is Mode.OFF
    # 2. Who may start nothing. These rules read no shares, because the shares depend on them.
    if not is_off:
        early = {
            name: find_restriction(context, name, reads_shares=False) for name in snapshot.balances
        }
        blocked = {name: each for name, each in early.items() if each.level.forbids_starts}
        context = replace(context, blocked=blocked)
    # 3. The pools divided at what runs and what is asked for.
    limits = pace_limits(context)
    shares = compute_shares(snapshot, usage, requests, context.blocked, limits)
    context = replace(context, shares=shares)
    if is_off:
        return context
    # 4. The owners who wait, and who runs more than its share.
    waiting = find_waiting_owners(snapshot, shares, usage, context.blocked)
    context = replace(context, waiting=waiting)
    context = replace(context, overuses=overuses(context))
    # 5. Every restriction; a rule that reads shares sees them now.
    found = {name: find_restriction(context, name) for name in sorted(snapshot.balances)}
    return replace(context, restrictions=found)

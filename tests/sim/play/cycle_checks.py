"""Checks inside a cycle: I7, I9, I14, I15, I16, I20 and I22, in some of the cycles.

The checks see every decision, call and view of a play. The script decides which cycles are
checked, so that a seed always checks the same ones.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from exporters.metrics.views import ViewCollector
from quotas.shares import allocation
from quotas.state.snapshot import Snapshot

PRODUCT = ("quotas", "scheduler")
MUCH_UCR = 10**15
ONE_IN = 24
"""So many cycles are looked into."""


class CycleChecks:
    """The faults found in the cycles of one play, and how often each invariant was checked."""

    def __init__(
        self,
        seed: int,
        rows: Callable[[int], list[Any]],
        balances: Callable[[], Mapping[str, int]],
    ) -> None:
        """`rows` returns the transfers of the book from the n-th on, `balances` its accounts."""
        self.wrong: list[str] = []
        self.checks: Counter[str] = Counter()
        self.committed: set[int] = set()
        """The cycles whose results are in the book, by the daemon's time."""
        self.looks: set[int] = set()
        """The instants of looks that found nothing new, and needed no cycle."""
        self.wrote: Any = None
        """The result that was committed last."""
        self._rng = random.Random(f"{seed}/watch")
        self._rows, self._balances = rows, balances
        self._stood: list[tuple[int, str]] = []
        self._is_looking = False

    def decided(self, decide: Callable[[Snapshot], Any], snapshot: Snapshot) -> Any:
        """The decisions of a cycle, checked in some cycles."""
        answer = decide(snapshot)
        if not self._is_looking and self._rng.randrange(ONE_IN) == 0:
            self._is_looking = True
            try:
                self._look(decide, snapshot, answer)
            finally:
                self._is_looking = False
        return answer

    def called(self, now_s: int, expires_s: int | None) -> None:
        """I14: a call is made only while the lease lasts."""
        self.checks["I14"] += 1
        if expires_s is None or now_s >= expires_s:
            self.wrong.append(f"I14 a call at {now_s}, and the lease ended at {expires_s}")

    def published(self, view: Any) -> None:
        """I22: the metrics equal the book, in some cycles."""
        if self._rng.randrange(ONE_IN):
            return
        self.checks["I22"] += 1
        has: Counter[tuple[str, str]] = Counter()
        for account, ucr in self._balances().items():
            kind, name = account.split(":")[:2]
            has[kind, name] += -ucr if kind == "overdraft" else ucr
        for kind, name, said_ucr in _samples(view):
            if said_ucr != has[kind, name]:
                self.wrong.append(
                    f"I22 {kind} of {name} is {said_ucr} in the metrics, {has[kind, name]} in "
                    f"the book at {view.status.at_s}"
                )

    def kept(self) -> list[str]:
        """I7: everything that was once in the book is still there, unchanged."""
        rows, from_ = self._rows(0), 0
        for until, head in self._stood:
            self.checks["I7"] += 1
            if len(rows) < until or _head(rows[from_:until]) != head:
                return [f"I7 transfers {from_} to {until} are not what they were"]
            from_ = until
        return []

    def _look(self, decide: Callable[[Snapshot], Any], snapshot: Snapshot, answer: Any) -> None:
        stood = self._stood[-1][0] if self._stood else 0
        rows = self._rows(stood)
        self._stood.append((stood + len(rows), _head(rows)))
        self.checks["I15"] += 1
        expected = _decided(answer)
        if _decided(decide(shuffled(snapshot, self._rng))) != expected:
            self.wrong.append(f"I15 another order decides otherwise at {snapshot.now_s}")
        self.checks["I20"] += 1
        forget()
        if _decided(decide(snapshot)) != expected:
            self.wrong.append(
                f"I20 with nothing remembered it decides otherwise at {snapshot.now_s}"
            )
        self.wrong += self._divided(snapshot, answer)
        self.wrong += self._richer(decide, snapshot, answer)

    def _divided(self, snapshot: Snapshot, answer: Any) -> Iterator[str]:
        """I9: shares fit the pool, use it up if requested, and borrowing is fair."""
        pools = {pool.name: pool.gpus_at(snapshot.now_s) for pool in snapshot.program.pools}
        by: dict[str, list[Any]] = defaultdict(list)
        for share in answer.context.shares:
            by[share.pool].append(share)
        for name, shares in by.items():
            self.checks["I9"] += 1
            total, asked = sum(s.share for s in shares), sum(s.demand for s in shares)
            at = f"in {name} at {snapshot.now_s}"
            if total > pools[name]:
                yield f"I9 shares are {total} of {pools[name]} GPUs {at}"
            if all(s.limited_by in FREE for s in shares) and total != min(pools[name], asked):
                yield f"I9 shares are {total}, asked for are {asked} of {pools[name]} {at}"
            borrowed, lent = sum(s.borrowed for s in shares), sum(s.lent for s in shares)
            own = max(0, pools[name] - sum(s.nominal for s in shares))
            if not 0 <= borrowed - lent <= own:
                yield f"I9 {borrowed} are borrowed, {lent} lent, the pool has {own} {at}"

    def _richer(
        self, decide: Callable[[Snapshot], Any], snapshot: Snapshot, answer: Any
    ) -> Iterator[str]:
        """I16: more credits never make a level stricter."""
        self.checks["I16"] += 1
        more = {
            name: replace(own, posted_ucr=own.posted_ucr + MUCH_UCR)
            for name, own in snapshot.balances.items()
        }
        richer = decide(replace(snapshot, balances=more)).context.restrictions
        for name, restriction in answer.context.restrictions.items():
            if richer[name].level.strictness > restriction.level.strictness:
                yield f"I16 more credit closes {name} at {snapshot.now_s}"


def _samples(view: Any) -> Iterator[tuple[str, str, int]]:
    """What the metrics report of accounts: kind, owner and micro-credits."""
    views = ViewCollector()
    views.view = view
    for family in views.collect():
        for sample in family.samples:
            labels = sample.labels
            ucr = round(sample.value * 1_000_000)
            if sample.name == "cohortd_charged_credits":
                yield "usage", labels["startup"], ucr
            elif sample.name == "cohortd_overdraft_credits":
                yield "overdraft", labels["cohort"], ucr
            elif sample.name == "cohortd_balance_credits" and labels["state"] == "held":
                yield "held", labels["startup"], ucr


def forget() -> None:
    """Drop everything that the product remembers between calls."""
    for kept in _remembering():
        kept.cache_clear()
    clear = getattr(allocation.solve, "cache_clear", None)
    if clear is not None:  # a play puts its own memory around it
        clear()


@cache
def _remembering() -> tuple[Any, ...]:
    """Every function of the product with a cache, found once in some hundred modules."""
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] in PRODUCT]
    everything = (value for module in modules for value in vars(module).values())
    kept = {id(v): v for v in everything if callable(getattr(v, "cache_clear", None))}
    kept.pop(id(allocation.solve), None)
    return tuple(kept.values())


FREE = frozenset({"demand", "capacity"})
"""The reasons of shares that no limit and no step bounds."""


def shuffled(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """The same snapshot with its parts in another order."""

    def mixed(items: Any) -> Any:
        parts = list(items.items()) if isinstance(items, dict) else list(items)
        rng.shuffle(parts)
        return dict(parts) if isinstance(items, dict) else tuple(parts)

    sweeps = {
        zone: replace(sweep, servers=mixed(sweep.servers)) if hasattr(sweep, "servers") else sweep
        for zone, sweep in snapshot.sweeps.items()
    }
    enforcement = replace(
        snapshot.enforcement,
        overrides=mixed(snapshot.enforcement.overrides),
        stops=mixed(snapshot.enforcement.stops),
    )
    names = ("notices", "intents", "requests", "overuses", "recent")
    parts = {name: mixed(getattr(snapshot, name)) for name in names}
    parts |= {name: mixed(dict(getattr(snapshot, name))) for name in ("runs", "balances")}
    return replace(snapshot, sweeps=mixed(sweeps), enforcement=enforcement, **parts)


def _decided(answer: Any) -> tuple[Any, ...]:
    """Everything that a cycle decided, without the snapshot that the context repeats."""
    context = answer.context
    return replace(answer, context=None), context.restrictions, context.shares, context.overuses


def _head(rows: list[Any]) -> str:
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()

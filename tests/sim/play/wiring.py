"""Wiring of the daemon's cycle for plays: no threads, no SQL, and points where faults happen.

The modules of the cycle get other functions for the book. Each calls the book in memory or the
real one, by the kind of book that it is given. Around each call lies a point at which a play
may let the daemon die, get an error, be overtaken, or be slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quotas.model.observation import Offer, Sweep
from quotas.shares import allocation
from scheduler import cycle, leadership
from scheduler.act import access, intents
from scheduler.observe import catalogue, zones

from .cycle_checks import CycleChecks
from .memory_actions import changed_since
from .memory_book import InMemoryBook


class Points:
    """Where the cycle of the current play has come to."""

    def __init__(self) -> None:
        self.hit: Callable[[str], None] = lambda _: None
        self.cycle_checks: CycleChecks | None = None


POINTS = Points()


class SequentialReader:
    """Asks zones one after the other: no threads, and always in the same order."""

    def __init__(self, _name: str, _deadline_s: float) -> None:
        """No zone is late."""

    def answers(self, zones: Iterable[str], ask: Callable[[str], Any]) -> dict[str, Any]:
        """Each zone's answer."""
        return {zone: ask(zone) for zone in sorted(set(zones))}

    def close(self) -> None:
        """There is nothing to close."""


class ObserverWithCrashPoint(zones.Observer):
    """The observer, with a point after it."""

    def observe(self, zones: Iterable[str], now_s: int) -> dict[str, Sweep]:
        """Each zone's answer."""
        sweeps = super().observe(zones, now_s)
        POINTS.hit("after observe")
        return sweeps


class CatalogueReaderWithCrashPoint(catalogue.CatalogueReader):
    """The reader of catalogues, and a point between its reads and their save."""

    def read(self, zones: Iterable[str], now_s: int) -> dict[str, tuple[Offer, ...]]:
        """Each zone's offers; no fault happens here if no catalogue is due."""
        due = list(zones)
        answers = super().read(due, now_s)
        if due:
            POINTS.hit("after catalogues")
        return answers


def _entry_point(
    name: str, memory: Callable[..., Any], real: Callable[..., Any]
) -> Callable[..., Any]:
    def through(book: Any, *args: Any, **named: Any) -> Any:
        POINTS.hit(f"before {name}")
        chosen = memory if isinstance(book, InMemoryBook) else real
        answer = chosen(book, *args, **named)
        POINTS.hit(f"after {name}")
        return answer

    return through


@contextmanager
def wired() -> Iterator[None]:
    """Within this context every Cycle is deterministic and accepts a book in memory."""
    patch = pytest.MonkeyPatch()
    patch.setattr(zones, "ZoneExecutor", SequentialReader)
    patch.setattr(cycle, "Observer", ObserverWithCrashPoint)
    patch.setattr(cycle, "CatalogueReader", CatalogueReaderWithCrashPoint)
    patch.setattr(
        leadership, "acquire", _entry_point("acquire", InMemoryBook.acquire, leadership.acquire)
    )
    lease_of = _either(lambda book: book.lease, leadership.current_lease)
    patch.setattr(leadership, "current_lease", lease_of)
    patch.setattr(cycle, "load_state", _entry_point("load", InMemoryBook.state, cycle.load_state))
    kept_of = _entry_point("commit", _noted(InMemoryBook.commit), _noted(cycle.commit))
    patch.setattr(cycle, "commit", kept_of)
    patch.setattr(
        intents,
        "pending_intents",
        _entry_point("pending", InMemoryBook.pending, intents.pending_intents),
    )
    patch.setattr(
        intents, "changed_since", _entry_point("changed", changed_since, intents.changed_since)
    )
    patch.setattr(
        intents,
        "save_intents",
        _entry_point("mark", InMemoryBook.save_intents, intents.save_intents),
    )
    saved_by = _entry_point("offers", InMemoryBook.save_catalogue, cycle.save_catalogue)
    patch.setattr(cycle, "save_catalogue", saved_by)
    needs_of = _either(InMemoryBook.catalogue_needs, cycle.read_catalogue_needs)
    patch.setattr(cycle, "read_catalogue_needs", needs_of)
    patch.setattr(
        access, "record_revocation", _entry_point("revoke", _unknown, access.record_revocation)
    )
    patch.setattr(
        access, "end_revocations", _entry_point("restore", _unknown, access.end_revocations)
    )
    patch.setattr(allocation, "solve", _remembered(allocation.solve))
    patch.setattr(cycle, "decide", _watched(cycle.decide))
    try:
        yield
    finally:
        patch.undo()
        POINTS.hit, POINTS.cycle_checks = lambda _: None, None


def _either(memory: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A read of either book. It is no point for faults, because it changes nothing."""
    return lambda book: memory(book) if isinstance(book, InMemoryBook) else real(book)


def _unknown(*_: Any) -> None:
    """A book in memory has no revoked rules, and its daemon has no key for IAM."""
    raise NotImplementedError


def _noted(commit: Callable[..., Any]) -> Callable[..., Any]:
    """A commit that the cycle checks learn of."""

    def through(book: Any, result: Any, lease: Any, now_s: int) -> Any:
        answer = commit(book, result, lease, now_s)
        if POINTS.cycle_checks is not None:
            POINTS.cycle_checks.committed.add(now_s)
            POINTS.cycle_checks.wrote = result
        return answer

    return through


def _watched(decide: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The decisions of a cycle, with the checks of the current play."""

    def through(snapshot: Any) -> Any:
        cycle_checks = POINTS.cycle_checks
        return decide(snapshot) if cycle_checks is None else cycle_checks.decided(decide, snapshot)

    return through


def _remembered(solve: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The division, cached by its problem: it is pure, and problems recur.

    Clearing the cache computes only the next problem again. Otherwise a play would take half as
    long again.
    """

    known: dict[str, Any] = {}
    doubted: list[bool] = []

    def by_text(problem: Any) -> Any:
        text = repr(problem)
        if text not in known or doubted:
            doubted.clear()
            known[text] = solve(problem)
        return known[text]

    # As functools names it; a function has no such attribute of its own.
    by_text.cache_clear = lambda: doubted.append(True)  # type: ignore[attr-defined]
    return by_text

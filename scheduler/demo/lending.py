"""A tally of a rehearsal's lending: the GPU-hours that startups borrowed and lent, by pool.

The tally follows the shares of each cycle's view. On Sunday evenings an operator opens requests
for what each startup that went home for the weekend will want on Monday morning.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from quotas.book import Book
from quotas.book.actions.requests import open_request, read_requests
from quotas.ledger.corrections import Refused
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.requests import Request, RequestSpec
from quotas.view import View

Tally = dict[str, Counter[str]]
"""GPU-seconds by pool and startup."""
ASKED_FOR_S = 2 * HOUR_S
MAX_REQUESTS = 100_000
_SUNDAY_EVENING_S = 3 * DAY_S + 18 * HOUR_S
"""From the first instant of 1970, a Thursday, to its first Sunday at 18:00 UTC."""


class Lending:
    """The operator's requests, and the GPU-hours that were borrowed and lent."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._last: View | None = None
        self._borrowed: Tally = defaultdict(Counter)
        self._lent: Tally = defaultdict(Counter)
        self._most_run: dict[tuple[str, str], int] = {}
        self._asked_week: int | None = None
        self.requests: tuple[Request, ...] = ()

    def follow(self, view: View | None, now_s: int) -> None:
        """Count what was lent since the last cycle; on Sunday evening, request quota back."""
        if self._last is not None:
            seconds = now_s - self._last.status.at_s
            for share in self._last.status.shares:
                self._borrowed[share.pool][share.startup] += share.borrowed * seconds
                self._lent[share.pool][share.startup] += share.lent * seconds
        self._last = view
        if view is None:
            return
        for share in view.status.shares:
            key = (share.startup, share.pool)
            most = min(share.usage, share.nominal)
            self._most_run[key] = max(self._most_run.get(key, 0), most)
        week = (now_s - _SUNDAY_EVENING_S) // (7 * DAY_S)
        if self._asked_week is not None and week > self._asked_week:
            self._request_back(view, now_s)
        self._asked_week = week

    def close(self) -> Lending:
        """Read every request before the book is closed."""
        self.requests = tuple(read_requests(self._book, MAX_REQUESTS))
        return self

    def as_json(self) -> dict[str, Any]:
        """For `demo --json`; GPU-hours as decimal strings."""
        return {
            "lending": {
                pool: {
                    # Capacity that is nobody's nominal quota is lent by the pool itself.
                    "lent_by_pool": _hours(borrowed.total() - self._lent[pool].total()),
                    "startups": {
                        name: {
                            "borrowed": _hours(borrowed[name]),
                            "lent": _hours(self._lent[pool][name]),
                        }
                        for name in sorted(borrowed)
                    },
                }
                for pool, borrowed in sorted(self._borrowed.items())
            },
            "requests": {
                "opened": len(self.requests),
                "fulfilled": sum(request.met_s is not None for request in self.requests),
            },
        }

    def lines(self) -> Iterator[str]:
        """For the summary."""
        found = self.as_json()
        yield "GPU-hours borrowed and lent:"
        for pool, flows in found["lending"].items():
            for name, own in flows["startups"].items():
                yield f"  {name:20} {pool:8} {own['borrowed']:>12} {own['lent']:>12}"
            yield f"  {'the pool itself':20} {pool:8} {'':>12} {flows['lent_by_pool']:>12}"
        requests = found["requests"]
        yield f"requests for quota: {requests['opened']} opened, {requests['fulfilled']} fulfilled"

    def _request_back(self, view: View, now_s: int) -> None:
        """Request GPUs for each startup that ran some in a pool before and runs none now."""
        may = names_that_may_request(view)
        for share in view.status.shares:
            gpus = self._most_run[share.startup, share.pool]
            if share.usage or not gpus or share.startup not in may:
                continue
            why = "its servers come back on Monday morning"
            ask = RequestSpec(share.startup, share.pool, gpus, ASKED_FOR_S, why, "demo", now_s)
            try:
                open_request(self._book, ask)
            except Refused:
                continue  # the cohort ends before Monday, or it asks already


def names_that_may_request(view: View) -> set[str]:
    """The startups that may start servers, so that a request can be fulfilled."""
    return {each.name for each in view.status.startups if each.level in ("open", "paced")}


def borrowed_and_lent(view: View | None, startup: str) -> tuple[int, int]:
    """GPUs that a startup borrows and lends now, over all pools."""
    own: Iterable[Any] = [s for s in view.status.shares if s.startup == startup] if view else []
    return sum(share.borrowed for share in own), sum(share.lent for share in own)


def _hours(gpu_seconds: int) -> str:
    """GPU-hours with two decimals, rounded down."""
    hundredths = gpu_seconds * 100 // HOUR_S
    return f"{hundredths // 100}.{hundredths % 100:02d}"

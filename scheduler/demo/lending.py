"""A tally of a rehearsal's lending: which startup lent GPUs to which, and who asked them back.

The tally follows the shares of each cycle's view. On Sunday evenings an operator opens requests
for what each startup that went home for the weekend will want on Monday morning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from quotas.book import Book
from quotas.book.actions.requests import open_request, read_requests
from quotas.ledger.corrections import Refused
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.requests import Request, RequestSpec
from quotas.view import View

Tally = dict[str, dict[str, int]]
"""GPU-seconds by pool and startup."""
ASKED_FOR_S = 2 * HOUR_S
MAX_REQUESTS = 100_000
_SUNDAY_EVENING_S = 3 * DAY_S + 18 * HOUR_S
"""From the first instant of 1970, a Thursday, to its first Sunday at 18:00 UTC."""


class Lending:
    """The operator's asking, and the GPU-hours that were borrowed and lent."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._last: View | None = None
        self._borrowed: Tally = defaultdict(lambda: defaultdict(int))
        self._lent: Tally = defaultdict(lambda: defaultdict(int))
        self._most_run: dict[tuple[str, str], int] = {}
        self._asked_week: int | None = None
        self.requests: tuple[Request, ...] = ()

    def follow(self, view: View | None, now_s: int) -> None:
        """Count what the last cycle's shares lent until now; ask back if it is the hour to."""
        if self._last is not None:
            self._count(self._last, now_s - self._last.status.at_s)
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
        """Keep what became of every request: the book is about to be closed."""
        self.requests = tuple(read_requests(self._book, MAX_REQUESTS))
        return self

    def as_json(self) -> dict[str, Any]:
        """For `demo --json`; GPU-hours as decimal strings."""
        return {
            "lending": {
                pool: {
                    "lent_by_pool": _hours(self._of_pool(pool)),
                    "startups": {
                        name: {
                            "borrowed": _hours(self._borrowed[pool][name]),
                            "lent": _hours(self._lent[pool][name]),
                        }
                        for name in sorted(self._borrowed[pool])
                    },
                }
                for pool in sorted(self._borrowed)
            },
            "requests": {
                "opened": len(self.requests),
                "fulfilled": sum(request.met_s is not None for request in self.requests),
            },
        }

    def lines(self) -> Iterator[str]:
        """For the summary."""
        said = self.as_json()
        yield "GPU-hours borrowed and lent:"
        for pool, flows in said["lending"].items():
            for name, own in flows["startups"].items():
                yield f"  {name:20} {pool:8} {own['borrowed']:>12} {own['lent']:>12}"
            yield f"  {'the pool itself':20} {pool:8} {'':>12} {flows['lent_by_pool']:>12}"
        opened, fulfilled = said["requests"]["opened"], said["requests"]["fulfilled"]
        yield f"requests for quota: {opened} opened, {fulfilled} fulfilled"

    def _count(self, view: View, seconds: int) -> None:
        for share in view.status.shares:
            self._borrowed[share.pool][share.startup] += share.borrowed * seconds
            self._lent[share.pool][share.startup] += share.lent * seconds

    def _of_pool(self, pool: str) -> int:
        """What the pool lent itself: capacity that is nobody's nominal quota."""
        return sum(self._borrowed[pool].values()) - sum(self._lent[pool].values())

    def _request_back(self, view: View, now_s: int) -> None:
        """Ask for the quota of whoever runs nothing in a pool now, and did before."""
        may = {
            startup.name for startup in view.status.startups if startup.level in ("open", "paced")
        }
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


def borrowed_and_lent(view: View | None, startup: str) -> tuple[int, int]:
    """GPUs that a startup borrows and lends now, over all pools."""
    own: Iterable[Any] = [s for s in view.status.shares if s.startup == startup] if view else []
    return sum(share.borrowed for share in own), sum(share.lent for share in own)


def _hours(gpu_seconds: int) -> str:
    """GPU-hours with two decimals, rounded down."""
    hundredths = gpu_seconds * 100 // HOUR_S
    return f"{hundredths // 100}.{hundredths % 100:02d}"

"""Time of `/metrics`, compared with prometheus_client that renders the same samples.

The first scrape of a view makes its samples and their text, the next ones find the text;
the baseline has the samples made before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from exporters.metrics import Metrics
from quotas.ledger.balance import Balance
from quotas.shares.allocation import Share
from quotas.view import PoolView, StartupView, View, ZoneView

SIZES = (1_000, 10_000)
ROUNDS = 5


class Made(Collector):
    """The same families, built once."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        """All families."""
        return self.families


def view_of(startups: int) -> View:
    """A program of many startups, each with a balance and a share."""
    names = [f"startup-{number}" for number in range(startups)]
    lines = [
        StartupView(
            name=name,
            cohort="c",
            level="open",
            level_reason="",
            balance=Balance(name, 0, 10**12, 10**11, 10**6, 0, 10**7, 10**7, 10**5),
            charged_ucr=10**10,
            unconfirmed_ucr=0,
            runs=(),
            pace=None,
        )
        for name in names
    ]
    shares = [Share(name, "h100", *(8,) * 7, "demand", "") for name in names]
    return View(
        at_s=0,
        mode="enforce",
        epoch=1,
        startups=tuple(lines),
        pools=(PoolView("h100", 40, 0),),
        zones=(ZoneView("fr-par-2", "complete", 0),),
        notices=(),
        decisions=(),
        pool_of={},
        edges=(),
        alarms=(),
        shares=tuple(shares),
    )


def scrape_new(metrics: Metrics, view: View) -> bytes:
    """The first scrape of a view."""
    metrics.publish(replace(view))
    return metrics.render()


def best_s(*renders: Callable[[], bytes]) -> list[float]:
    """The best of several rounds, in which the two take turns."""
    best = [float("inf")] * len(renders)
    for _ in range(ROUNDS):
        for at, render in enumerate(renders):
            began = time.perf_counter()
            render()
            best[at] = min(best[at], time.perf_counter() - began)
    return best


def main() -> None:
    """Print the table."""
    print(
        f"{'startups':>10} {'bytes':>12} {'from memory s':>14} {'first s':>12} {'ratio':>7} "
        f"{'again s':>12} {'ratio':>7}"
    )
    for size in SIZES:
        metrics, view = Metrics(), view_of(size)
        metrics.publish(view)
        made = CollectorRegistry()
        made.register(Made(list(metrics.collect())))
        assert generate_latest(made) == metrics.render(), "both render the same samples"
        base, first, again = best_s(
            lambda made=made: generate_latest(made),
            lambda metrics=metrics, view=view: scrape_new(metrics, view),
            metrics.render,
        )
        length = len(metrics.render())
        print(
            f"{size:>10} {length:>12} {base:>14.3f} {first:>12.3f} {first / base:>7.2f} "
            f"{again:>12.3f} {again / base:>7.2f}"
        )


if __name__ == "__main__":
    main()

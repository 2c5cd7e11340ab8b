"""Benchmark of `/metrics`: a scrape, and prometheus_client rendering the same samples.

The first scrape of a view builds its samples and their text, the next ones reuse the text; the
baseline has the samples built before.
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
from quotas.model.program import Cohort, Program
from quotas.shares.allocation import Share
from quotas.view import PoolStatus, ProgramStatus, StartupStatus, View, ZoneView

SIZES = (1_000, 10_000)
ROUNDS = 5


class Made(Collector):
    """The same families, built once."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self.families


def view_of(startups: int) -> View:
    """A program of so many startups, each with a balance and a share."""
    cohort = Cohort("c", 0, 1, ())
    names = [f"startup-{number}" for number in range(startups)]
    lines = [
        StartupStatus(
            name=name,
            cohort=cohort,
            level="open",
            balance=Balance(name, 0, 10**12, 10**11, 10**6, 0, 10**7, 10**7, 10**5),
            charged_ucr=10**10,
            unconfirmed_ucr=0,
        )
        for name in names
    ]
    shares = [Share(name, "h100", *(8,) * 7, "demand", "") for name in names]
    status = ProgramStatus(
        at_s=0,
        known_until_s=0,
        program=Program("bench", 0, mode="enforce", cohorts=(cohort,)),
        startups=tuple(lines),
        pools=(PoolStatus("h100", 40, 0),),
        shares=tuple(shares),
    )
    zones = (ZoneView("fr-par-2", "complete", 0),)
    return View(status=status, epoch=1, zones=zones, decisions=(), edges=(), alarms=())


def scrape_new(metrics: Metrics, view: View) -> bytes:
    """The first scrape of a view."""
    metrics.publish(replace(view))
    return metrics.render()


def best_s(*renders: Callable[[], bytes]) -> list[float]:
    """The best of some rounds of each, in turns."""
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

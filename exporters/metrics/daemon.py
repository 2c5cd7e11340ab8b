"""What does the daemon count of itself? Cycles, calls, decisions; and the last view beside."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric

from exporters.metrics.disk import DiskCollector
from exporters.metrics.views import ViewCollector
from exporters.metrics.zero_counters import ZeroInitializedCounters
from quotas.book.cycle.outbox import OutboxBacklog
from quotas.enforcement.reminders import BREACH
from quotas.view import View

DELIVERY_OUTCOMES = ("sent", "retried", "failed")
INTENT_OUTCOMES = ("confirmed", "failed", "expired", "abandoned")
NO_PENDING = OutboxBacklog(0, None, 0)
VIEW_MAX_AGE_S = 180
"""A lease's length: who had no good cycle for longer may not lead any more."""


class Metrics:
    """The registry of one daemon, and the port that the cycle publishes to."""

    def __init__(self, book: Path | None = None) -> None:
        """`book` is the file whose size and free space are shown; None: there is none."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # its stub lacks a return
        self.registry = CollectorRegistry()
        self._view_collector, self._is_ready = ViewCollector(), False
        self._counters = ZeroInitializedCounters()
        if book is not None:
            self.registry.register(DiskCollector(book))
        Gauge(
            "cohortd_build_info", "1, with the version.", ["version"], registry=self.registry
        ).labels(version("cohortd")).set(1)
        self._verified: Gauge | None = None
        self._bypasses: Gauge | None = None
        self._ended_intents = self._counter(
            "intents_ended", "Calls to the cloud by their end.", "outcome"
        )
        self._ended_ids: set[int] = set()
        self._cycles = self._counter("cycles", "Cycles run, by outcome.", "outcome")
        self._decisions = self._counter(
            "decisions", "Decisions recorded.", "startup", "rule", "verb", "mode"
        )
        self._requests = self._counter("cloud_requests", "Calls to the cloud.", "operation")
        self._failures = self._counter(
            "cloud_request_failures", "Calls to the cloud that failed.", "operation", "reason"
        )
        self._deliveries = self._counter(
            "deliveries", "Sendings of notices that ended, by outcome.", "outcome"
        )
        self._breached = self._counter(
            "notices_breached", "Notices that were not kept, or reached no channel.", "startup"
        )
        self._pending_deliveries = self._gauge(
            "deliveries_pending", "Messages that are due and not sent."
        )
        self._pending_age = self._gauge(
            "deliveries_pending_age_seconds", "Age of the oldest message that is due."
        )
        self._failed_deliveries = self._gauge(
            "deliveries_failed", "Messages in the book that were given up."
        )
        self._missed = self._counter("cycles_missed", "Cycles that began late or not at all.")
        for counter, outcomes in (
            (self._deliveries, DELIVERY_OUTCOMES),
            (self._ended_intents, INTENT_OUTCOMES),
        ):
            for outcome in outcomes:
                self._counters.initialize(counter, outcome)
        self._cycle_time = Histogram(
            "cohortd_cycle_duration_seconds", "Time a cycle took.", registry=self.registry
        )
        self._request_time = Histogram(
            "cohortd_cloud_request_duration_seconds",
            "Time a call to the cloud took.",
            ["operation"],
            registry=self.registry,
        )
        self._last_success = Gauge(
            "cohortd_last_successful_cycle_timestamp_seconds",
            "When the last cycle ended well.",
            registry=self.registry,
        )
        self._leading = Gauge(
            "cohortd_leader", "1 while this daemon holds the lease.", registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cohortd_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"cohortd_{name}", text, registry=self.registry)

    def delivery(self, outcome: str) -> None:
        """Count a sending that ended: sent, retried or failed."""
        self._counters.count(self._deliveries, outcome)

    def outbox(self, found: OutboxBacklog, now_s: int) -> None:
        """Show what is due and unsent, and what was given up."""
        self._pending_deliveries.set(found.count)
        self._pending_age.set(0 if found.since_s is None else max(0, now_s - found.since_s))
        self._failed_deliveries.set(found.failed)

    def publish(self, view: View) -> None:
        """Show this view from now on, and count its decisions."""
        self._view_collector.view, self._is_ready = view, True
        for startup in view.status.startups:
            self._counters.initialize(self._breached, startup.name)
        for each in view.decisions:
            self._counters.count(
                self._decisions, each.startup, each.rule, each.verb, view.status.program.mode
            )
            if each.verb == BREACH:
                self._counters.count(self._breached, each.startup)
        ended = {i.id: i.state for i in view.intents if not i.is_live and i.id is not None}
        for id, state in ended.items():
            if id not in self._ended_ids:
                self._counters.count(self._ended_intents, state)
        self._ended_ids |= ended.keys()

    def cycle(self, outcome: str, seconds: float, at_s: int) -> None:
        """Count a cycle; "done" is the outcome of a good one of the leader.

        The view goes where another leads, or may: its figures, and what waits to be sent, are
        the other's to show.
        """
        self._cycles.labels(outcome).inc()
        self._cycle_time.observe(seconds)
        if outcome != "observed":  # that one did not ask who leads
            self._leading.set(0 if outcome in {"follower", "failed"} else 1)
        if outcome == "done":
            self._last_success.set(at_s)
        view = self._view_collector.view
        is_old = view is not None and at_s - view.status.at_s > VIEW_MAX_AGE_S
        if outcome == "follower" or (outcome == "failed" and is_old):
            self._view_collector.view = None
        if outcome == "follower":
            self.outbox(NO_PENDING, at_s)

    def request(self, operation: str, outcome: str, seconds: float) -> None:
        """Count a call to the cloud; any outcome but "ok" is the cause of a failure."""
        self._requests.labels(operation).inc()
        self._request_time.labels(operation).observe(seconds)
        if outcome != "ok":
            self._counters.count(self._failures, operation, outcome)

    def verified(self, sound: int) -> None:
        """Show how the last check of the book ended: 1 sound, 0 not; before it, no sample."""
        if self._verified is None:
            text = "1 when the last check of the book found nothing wrong, else 0."
            self._verified = self._gauge("book_verified", text)
        self._verified.set(sound)

    def bypasses(self, count: int) -> None:
        """Show how many principals could start servers of a closed startup."""
        if self._bypasses is None:
            text = "Principals that could start servers of a closed startup."
            self._bypasses = self._gauge("iam_bypass_principals", text)
        self._bypasses.set(count)

    def missed(self) -> None:
        """Count a cycle that the scheduler could not start in time."""
        self._missed.inc()

    @property
    def is_ready(self) -> bool:
        """Whether a view was ever published: who stands by after that is no less ready."""
        return self._is_ready

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order in which they are rendered."""
        yield from self._view_collector.collect()
        yield from self.registry.collect()

    def render(self) -> bytes:
        """Everything in Prometheus's text format."""
        return self._counters.render_scrape(
            lambda: self._view_collector.text() + generate_latest(self.registry)
        )

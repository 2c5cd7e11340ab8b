"""Metrics of the daemon: cycles, cloud requests, decisions, deliveries, and the last view."""

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
"""The length of a lease. A daemon without a successful cycle for longer may have lost it."""


class Metrics:
    """The registry of one daemon. The cycle publishes its view to it."""

    def __init__(self, book: Path | None = None) -> None:
        """`book` is the SQLite file whose size is shown; None on PostgreSQL."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # its stub lacks a return
        self.registry = CollectorRegistry()
        self._view_collector = ViewCollector()
        self.is_ready = False
        """Whether a view was ever published; a follower stays ready."""
        self._counters = ZeroInitializedCounters()
        if book is not None:
            self.registry.register(DiskCollector(book))
        info = self._gauge("build_info", "1, with the version.", "version")
        info.labels(version("cohortd")).set(1)
        self._verified: Gauge | None = None
        self._bypasses: Gauge | None = None
        text = "Intents that ended, by outcome."
        self._ended_intents = self._counter("intents_ended", text, "outcome")
        self._ended_ids: set[int] = set()
        self._cycles = self._counter("cycles", "Cycles, by outcome.", "outcome")
        labels = ("startup", "rule", "verb", "mode")
        self._decisions = self._counter("decisions", "Decisions recorded.", *labels)
        self._requests = self._counter("cloud_requests", "Requests to the cloud.", "operation")
        text = "Requests to the cloud that failed."
        self._failures = self._counter("cloud_request_failures", text, "operation", "reason")
        text = "Deliveries that ended, by outcome."
        self._deliveries = self._counter("deliveries", text, "outcome")
        text = "Notices that were cut short, or reached no channel."
        self._breached = self._counter("notices_breached", text, "startup")
        text = "Messages that are due and not sent."
        self._pending_deliveries = self._gauge("deliveries_pending", text)
        text = "Age of the oldest message that is due."
        self._pending_age = self._gauge("deliveries_pending_age_seconds", text)
        text = "Messages in the book that were given up."
        self._failed_deliveries = self._gauge("deliveries_failed", text)
        self._missed = self._counter("cycles_missed", "Cycles that began late or not at all.")
        for outcome in DELIVERY_OUTCOMES:
            self._counters.initialize(self._deliveries, outcome)
        for outcome in INTENT_OUTCOMES:
            self._counters.initialize(self._ended_intents, outcome)
        self._cycle_time = self._histogram("cycle_duration_seconds", "Duration of a cycle.")
        name, text = "cloud_request_duration_seconds", "Duration of a request to the cloud."
        self._request_time = self._histogram(name, text, "operation")
        text = "When the last successful cycle ended."
        self._last_success = self._gauge("last_successful_cycle_timestamp_seconds", text)
        self._leading = self._gauge("leader", "1 while this daemon holds the lease.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cohortd_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"cohortd_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"cohortd_{name}", text, labels, registry=self.registry)

    def delivery(self, outcome: str) -> None:
        """Count a delivery that ended: sent, retried or failed."""
        self._counters.count(self._deliveries, outcome)

    def outbox(self, found: OutboxBacklog, now_s: int) -> None:
        """Show the messages that are due and unsent, and those that were given up."""
        self._pending_deliveries.set(found.count)
        self._pending_age.set(0 if found.since_s is None else max(0, now_s - found.since_s))
        self._failed_deliveries.set(found.failed)

    def publish(self, view: View) -> None:
        """Show this view from now on, and count its decisions."""
        self._view_collector.view, self.is_ready = view, True
        for startup in view.status.startups:
            self._counters.initialize(self._breached, startup.name)
        for each in view.decisions:
            labels = (each.startup, each.rule, each.verb, view.status.program.mode)
            self._counters.count(self._decisions, *labels)
            if each.verb == BREACH:
                self._counters.count(self._breached, each.startup)
        ended = {i.id: i.state for i in view.intents if not i.is_live and i.id is not None}
        for id, state in ended.items():
            if id not in self._ended_ids:
                self._counters.count(self._ended_intents, state)
        self._ended_ids |= ended.keys()

    def cycle(self, outcome: str, seconds: float, at_s: int) -> None:
        """Count a cycle; "done" is the outcome of a successful cycle of the leader.

        A daemon drops its view when another daemon leads, or may lead: only the leader shows
        the figures of the program and the pending messages.
        """
        self._cycles.labels(outcome).inc()
        self._cycle_time.observe(seconds)
        if outcome != "observed":  # an observing daemon holds no lease
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
        """Count a request to the cloud; any outcome but "ok" is the reason of a failure."""
        self._requests.labels(operation).inc()
        self._request_time.labels(operation).observe(seconds)
        if outcome != "ok":
            self._counters.count(self._failures, operation, outcome)

    def verified(self, sound: int) -> None:
        """Show the result of the last check of the book; there is no sample before the first."""
        if self._verified is None:
            text = "1 if the last check of the book found nothing wrong, else 0."
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

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order in which they are rendered."""
        yield from self._view_collector.collect()
        yield from self.registry.collect()

    def render(self) -> bytes:
        """Everything in Prometheus's text format."""
        return self._counters.render_scrape(
            lambda: self._view_collector.text() + generate_latest(self.registry)
        )

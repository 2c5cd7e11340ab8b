"""What do Prometheus and the service manager read? /metrics, /healthz and /readyz.

Business figures come from the last published view, never from a table; the daemon's
own counters are kept here and bumped through small methods.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quotas.levels import LEVELS
from quotas.units import UCR_PER_CREDIT
from quotas.view import View

BALANCES = ("posted", "accrued", "held", "reserve", "available", "disputed")


class Metrics:
    """The registry of one daemon, and the port that the cycle publishes to."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # its stub lacks a return
        self.registry = CollectorRegistry()
        self._views = _Views()
        self.registry.register(self._views)
        self._cycles = self._counter("cycles", "Cycles run, by outcome.", "outcome")
        self._decisions = self._counter("decisions", "Decisions recorded.", "verb", "mode")
        self._requests = self._counter("cloud_requests", "Calls to the cloud.", "operation")
        self._failures = self._counter(
            "cloud_request_failures", "Calls to the cloud that failed.", "operation", "cause"
        )
        self._missed = self._counter("jobs_missed", "Cycles that began late or not at all.")
        self._cycle_time = Histogram(
            "cohortd_cycle_duration_seconds", "Time a cycle took.", registry=self.registry
        )
        self._request_time = Histogram(
            "cohortd_cloud_request_duration_seconds",
            "Time a call to the cloud took.",
            ["operation"],
            registry=self.registry,
        )
        self._last_good = Gauge(
            "cohortd_last_good_cycle_timestamp_seconds",
            "When the last cycle ended well.",
            registry=self.registry,
        )
        self._leading = Gauge(
            "cohortd_leader", "1 while this daemon holds the lease.", registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cohortd_{name}", text, labels, registry=self.registry)

    def publish(self, view: View) -> None:
        """Show this view from now on, and count its decisions."""
        self._views.view = view
        for decision in view.decisions:
            self._decisions.labels(decision.verb, view.mode).inc()

    def cycle(self, outcome: str, seconds: float, at_s: int) -> None:
        """Count a cycle; "done" is the outcome of a good one of the leader."""
        self._cycles.labels(outcome).inc()
        self._cycle_time.observe(seconds)
        self._leading.set(0 if outcome in {"standby", "failed"} else 1)
        if outcome == "done":
            self._last_good.set(at_s)

    def request(self, operation: str, outcome: str, seconds: float) -> None:
        """Count a call to the cloud; any outcome but "ok" is the cause of a failure."""
        self._requests.labels(operation).inc()
        self._request_time.labels(operation).observe(seconds)
        if outcome != "ok":
            self._failures.labels(operation, outcome).inc()

    def missed(self) -> None:
        """Count a cycle that the scheduler could not start in time."""
        self._missed.inc()

    @property
    def is_ready(self) -> bool:
        """Whether a view was ever published."""
        return self._views.view is not None

    def render(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)


class _Views(Collector):
    """Turns the last view into samples at scrape time."""

    view: View | None = None

    def collect(self) -> Iterable[Metric]:
        view = self.view
        if view is None:
            return []
        return [*_credits(view), *_gpus(view), *_shares(view), *_states(view)]


def _credits(view: View) -> Iterable[Metric]:
    of = ["startup", "cohort"]
    balances = _family("balance_credits", "Credits by what they are.", [*of, "state"])
    granted = _family("granted_credits", "Credits granted to date.", of)
    charged = _family("charged_credits", "Credits charged to date.", of)
    burn = _family("burn_credits_per_hour", "Credits that running servers cost an hour.", of)
    exhausted = _family(
        "exhaustion_timestamp_seconds", "When available credits reach zero at this burn.", of
    )
    for startup in view.startups:
        own, labels = startup.balance, [startup.name, startup.cohort]
        amounts = (
            own.posted_ucr,
            own.accrued_ucr,
            own.held_ucr,
            own.reserve_ucr,
            own.available_ucr,
            startup.disputed_ucr,
        )
        for state, amount_ucr in zip(BALANCES, amounts, strict=True):
            balances.add_metric([*labels, state], amount_ucr / UCR_PER_CREDIT)
        granted.add_metric(labels, own.granted_ucr / UCR_PER_CREDIT)
        charged.add_metric(labels, startup.charged_ucr / UCR_PER_CREDIT)
        burn.add_metric(labels, own.burn_ucr_per_h / UCR_PER_CREDIT)
        if own.exhausted_s is not None:
            exhausted.add_metric(labels, own.exhausted_s)
    return [balances, granted, charged, burn, exhausted]


def _gpus(view: View) -> Iterable[Metric]:
    used = _family(
        "used_gpus", "GPUs of billable servers.", ["startup", "cohort", "pool", "flavor"]
    )
    capacity = _family("pool_gpus", "GPUs that a pool has now.", ["pool"])
    for startup in view.startups:
        tally: Tally[str] = Tally()
        for run in startup.runs:
            tally[run.flavor] += run.gpus
        for flavor, gpus in sorted(tally.items()):
            pool = view.pool_of.get(flavor, "")
            used.add_metric([startup.name, startup.cohort, pool, flavor], gpus)
    for each in view.pools:
        capacity.add_metric([each.name], each.gpus)
    return [used, capacity]


def _shares(view: View) -> Iterable[Metric]:
    texts = {
        "nominal": "GPUs guaranteed to a startup.",
        "share": "GPUs of the division at current demands.",
        "ceiling": "GPUs a startup may run now.",
        "borrowed": "GPUs of the share above nominal.",
        "lent": "GPUs of the nominal quota that others use.",
    }
    for name, text in texts.items():
        family = _family(f"{name}_gpus", text, ["startup", "pool"])
        for share in view.shares:
            family.add_metric([share.startup, share.pool], getattr(share, name))
        yield family


def _states(view: View) -> Iterable[Metric]:
    level = _family(
        "level", "1 for the level a startup is at, else 0.", ["startup", "cohort", "level"]
    )
    for startup in view.startups:
        for name in LEVELS:
            is_at = 1 if startup.level == name else 0
            level.add_metric([startup.name, startup.cohort, name], is_at)
    zone = _family("zone_complete", "1 where the last sweep was Complete.", ["cloud_zone"])
    known = _family(
        "zone_confirmed_timestamp_seconds", "Instant up to which a zone is known.", ["cloud_zone"]
    )
    for each in view.zones:
        zone.add_metric([each.name], 1 if each.outcome == "complete" else 0)
        if each.confirmed_until_s is not None:
            known.add_metric([each.name], each.confirmed_until_s)
    epoch = _family("lease_epoch", "Epoch of the lease that wrote the view.", [])
    epoch.add_metric([], view.epoch)
    alarms = _family("alarms", "Things an operator should look at, as in cohortd status.", [])
    alarms.add_metric([], len(view.alarms))
    notices = _family("notices_open", "Promises of a stop that are running.", [])
    notices.add_metric([], sum(1 for notice in view.notices if notice.state == "open"))
    return [level, zone, known, epoch, alarms, notices]


def _family(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cohortd_{name}", text, labels=labels)


class MetricsServer:
    """A small HTTP server on its own thread; it reads no table and takes no write."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"metrics": metrics})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """host:port it listens on; the port was chosen free where 0 was asked for."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    metrics: Metrics
    timeout = 10

    def do_GET(self) -> None:
        """Answer one of three paths."""
        if self.path == "/metrics":
            self._answer(200, self.metrics.render(), CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        elif self.path == "/readyz":
            status, body = (200, b"ready\n") if self.metrics.is_ready else (503, b"no cycle yet\n")
            self._answer(status, body, "text/plain")
        else:
            self._answer(404, b"try /metrics, /healthz or /readyz\n", "text/plain")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each scrape."""

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

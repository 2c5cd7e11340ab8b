"""The dashboard of the daemon: cycles, zones, requests to the cloud, the lease and the book."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.panels import (
    RATE,
    ZERO_IS_GOOD,
    Panel,
    dashboard,
    metric,
    stat_panel,
    sum_by,
    timeseries_panel,
)


def daemon() -> build.Dashboard:
    """Rate, errors and duration of cycles and requests, and the age of the zones' data."""
    panels = [*_stats(), *_cycle_panels(), *_cloud_request_panels()]
    return dashboard("cohortd-daemon", "cohortd / Daemon", "Can I trust it?", panels)


def _stats() -> list[Panel]:
    return [
        stat_panel(
            "Leaders",
            "Daemons that hold the lease: one.",
            f"sum({metric('leader')})",
            thresholds=((None, "red"), (1, "green"), (2, "red")),
        ),
        stat_panel(
            "Book verified",
            "1 if the last check of the hash chain and the sums found nothing wrong.",
            f"min({metric('book_verified')})",
            thresholds=((None, "red"), (1, "green")),
        ),
        stat_panel(
            "Zones unknown",
            "Zones whose last sweep was not Complete: nothing is stopped or charged there.",
            f"count({metric('zone_complete')} == 0) or vector(0)",
            thresholds=ZERO_IS_GOOD,
        ),
        stat_panel(
            "Intents waiting",
            "Intents that were decided and have not ended.",
            f"sum({metric('intents_live')})",
        ),
        stat_panel("Book size", "Bytes of the database.", f"max({metric('book_bytes')})", "bytes"),
        stat_panel(
            "Disk free",
            "Bytes free on the disk of the book.",
            f"min({metric('book_free_bytes')})",
            "bytes",
            thresholds=((None, "red"), (1e9, "green")),
        ),
    ]


def _cycle_panels() -> list[Panel]:
    confirmed_s = metric("zone_confirmed_timestamp_seconds")
    return [
        timeseries_panel(
            "Cycles",
            "Cycles a second, by outcome: done, follower, observed, failed.",
            {"{{outcome}}": _rate_by("outcome", "cycles_total")},
            "cps",
        ),
        timeseries_panel(
            "Cycle duration",
            "The median and the 99th percentile.",
            {
                "median": _quantile(0.5, "cycle_duration_seconds"),
                "99th percentile": _quantile(0.99, "cycle_duration_seconds"),
            },
            "s",
        ),
        timeseries_panel(
            "Zone data age",
            "How long ago each zone was last read completely.",
            {"{{cloud_zone}}": f"time() - max by (cloud_zone) ({confirmed_s})"},
            "s",
        ),
        timeseries_panel(
            "Cloud requests",
            "Requests a second, by operation.",
            {"{{operation}}": _rate_by("operation", "cloud_requests_total")},
            "reqps",
            stacked=True,
        ),
    ]


def _cloud_request_panels() -> list[Panel]:
    failures = _rate_by("operation, reason", "cloud_request_failures_total")
    return [
        timeseries_panel(
            "Cloud request failures",
            "Failed requests a second, by operation and reason.",
            {"{{operation}}: {{reason}}": failures},
            "reqps",
        ),
        timeseries_panel(
            "Cloud request duration",
            "The 95th percentile, by operation.",
            {"{{operation}}": _quantile(0.95, "cloud_request_duration_seconds", "le, operation")},
            "s",
        ),
        timeseries_panel(
            "Intents ended",
            "Intents by their end: confirmed, failed, expired, abandoned.",
            {"{{outcome}}": sum_by("outcome", f"increase({metric('intents_ended_total')}{RATE})")},
        ),
        timeseries_panel(
            "Lease epoch",
            "It rises by one at each change of leader.",
            {"{{instance}}": f"max by (instance) ({metric('lease_epoch')})"},
        ),
    ]


def _rate_by(labels: str, counter: str) -> str:
    return sum_by(labels, f"rate({metric(counter)}{RATE})")


def _quantile(quantile: float, histogram: str, labels: str = "le") -> str:
    return f"histogram_quantile({quantile}, {_rate_by(labels, f'{histogram}_bucket')})"

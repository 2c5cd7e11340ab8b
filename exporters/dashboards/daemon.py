"""The dashboard of the daemon: cycles, zones, requests to the cloud, the lease and the book."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.overview import ZERO_IS_GOOD
from exporters.dashboards.panels import (
    SELECTOR,
    Panel,
    Query,
    empty_dashboard,
    stat_panel,
    timeseries_panel,
    with_panels,
)

RATE = "[$__rate_interval]"


def daemon() -> build.Dashboard:
    """Rate, errors and duration of cycles and requests, and the age of the zones' data."""
    empty = empty_dashboard("cohortd-daemon", "cohortd / Daemon", "Can I trust it?")
    return with_panels(empty, [*_stats(), *_cycle_panels(), *_cloud_request_panels()])


def _stats() -> list[Panel]:
    """The figures at the top."""
    return [
        stat_panel(
            "Leaders",
            "Daemons that hold the lease: one.",
            f"sum(cohortd_leader{{{SELECTOR}}})",
            "short",
            ((None, "red"), (1, "green"), (2, "red")),
        ),
        stat_panel(
            "Book verified",
            "1 if the last check of the hash chain and the sums found nothing wrong.",
            f"min(cohortd_book_verified{{{SELECTOR}}})",
            "short",
            ((None, "red"), (1, "green")),
        ),
        stat_panel(
            "Zones unknown",
            "Zones whose last sweep was not Complete: nothing is stopped or charged there.",
            f"count(cohortd_zone_complete{{{SELECTOR}}} == 0) or vector(0)",
            "short",
            ZERO_IS_GOOD,
        ),
        stat_panel(
            "Intents waiting",
            "Intents that were decided and have not ended.",
            f"sum(cohortd_intents_live{{{SELECTOR}}})",
            "short",
        ),
        stat_panel(
            "Book size",
            "Bytes of the database.",
            f"max(cohortd_book_bytes{{{SELECTOR}}})",
            "bytes",
        ),
        stat_panel(
            "Disk free",
            "Bytes free on the disk of the book.",
            f"min(cohortd_book_free_bytes{{{SELECTOR}}})",
            "bytes",
            ((None, "red"), (1e9, "green")),
        ),
    ]


def _cycle_panels() -> list[Panel]:
    """Cycles, and the age of the data of each zone."""
    return [
        timeseries_panel(
            "Cycles",
            "Cycles a second, by outcome: done, follower, observed, failed.",
            [
                Query(
                    f"sum by (outcome) (rate(cohortd_cycles_total{{{SELECTOR}}}{RATE}))",
                    "{{outcome}}",
                )
            ],
            "cps",
        ),
        timeseries_panel(
            "Cycle duration",
            "The median and the 99th percentile.",
            [
                Query(_quantile(0.5, "cohortd_cycle_duration_seconds"), "median"),
                Query(_quantile(0.99, "cohortd_cycle_duration_seconds"), "99th percentile"),
            ],
            "s",
        ),
        timeseries_panel(
            "Zone data age",
            "How long ago each zone was last read completely.",
            [
                Query(
                    f"time() - max by (cloud_zone) "
                    f"(cohortd_zone_confirmed_timestamp_seconds{{{SELECTOR}}})",
                    "{{cloud_zone}}",
                )
            ],
            "s",
        ),
        timeseries_panel(
            "Cloud requests",
            "Requests a second, by operation.",
            [
                Query(
                    f"sum by (operation) (rate(cohortd_cloud_requests_total{{{SELECTOR}}}{RATE}))",
                    "{{operation}}",
                )
            ],
            "reqps",
            stacked=True,
        ),
    ]


def _cloud_request_panels() -> list[Panel]:
    """Requests to the cloud, and their outcomes."""
    return [
        timeseries_panel(
            "Cloud request failures",
            "Failed requests a second, by operation and reason.",
            [
                Query(
                    f"sum by (operation, reason) "
                    f"(rate(cohortd_cloud_request_failures_total{{{SELECTOR}}}{RATE}))",
                    "{{operation}}: {{reason}}",
                )
            ],
            "reqps",
        ),
        timeseries_panel(
            "Cloud request duration",
            "The 95th percentile, by operation.",
            [
                Query(
                    f"histogram_quantile(0.95, sum by (le, operation) "
                    f"(rate(cohortd_cloud_request_duration_seconds_bucket{{{SELECTOR}}}{RATE})))",
                    "{{operation}}",
                )
            ],
            "s",
        ),
        timeseries_panel(
            "Intents ended",
            "Intents by their end: confirmed, failed, expired, abandoned.",
            [
                Query(
                    f"sum by (outcome) (increase(cohortd_intents_ended_total{{{SELECTOR}}}{RATE}))",
                    "{{outcome}}",
                )
            ],
            "short",
        ),
        timeseries_panel(
            "Lease epoch",
            "It rises by one at each change of leader.",
            [Query(f"max by (instance) (cohortd_lease_epoch{{{SELECTOR}}})", "{{instance}}")],
            "short",
        ),
    ]


def _quantile(quantile: float, histogram: str) -> str:
    rate = f"rate({histogram}_bucket{{{SELECTOR}}}{RATE})"
    return f"histogram_quantile({quantile}, sum by (le) ({rate}))"

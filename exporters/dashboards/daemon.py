"""Daemon: can I trust it? Cycles, zones, the API, the lease, the book and its intents."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.overview import NONE_IS_GOOD
from exporters.dashboards.panels import FROM, Panel, Query, filled, graph, number, page

RATE = "[$__rate_interval]"


def daemon() -> build.Dashboard:
    """Rate, errors and duration of what the daemon does, and the age of what it knows."""
    empty = page("cohortd-daemon", "cohortd / Daemon", "Can I trust it?")
    return filled(empty, [*_figures(), *_cycles(), *_calls()])


def _figures() -> list[Panel]:
    """What is to be seen at a glance."""
    return [
        number(
            "Leaders",
            "Daemons that hold the lease: one.",
            f"sum(cohortd_leader{{{FROM}}})",
            "short",
            ((None, "red"), (1, "green"), (2, "red")),
        ),
        number(
            "Book verified",
            "1 when the last check of the hash chain and the sums found nothing wrong.",
            f"min(cohortd_book_verified{{{FROM}}})",
            "short",
            ((None, "red"), (1, "green")),
        ),
        number(
            "Zones not known",
            "Zones whose last sweep was not Complete: nothing is stopped or charged there.",
            f"count(cohortd_zone_complete{{{FROM}}} == 0) or vector(0)",
            "short",
            NONE_IS_GOOD,
        ),
        number(
            "Intents waiting",
            "Calls to the cloud that were decided and have not ended.",
            f"sum(cohortd_intents_live{{{FROM}}})",
            "short",
        ),
        number(
            "Book size",
            "Bytes of the database.",
            f"max(cohortd_book_bytes{{{FROM}}})",
            "bytes",
        ),
        number(
            "Disk free",
            "Bytes left where the book lies.",
            f"min(cohortd_book_free_bytes{{{FROM}}})",
            "bytes",
            ((None, "red"), (1e9, "green")),
        ),
    ]


def _cycles() -> list[Panel]:
    """Cycles, and the age of what is known."""
    return [
        graph(
            "Cycles",
            "Cycles a second, by outcome: done, standby, observed, failed.",
            [
                Query(
                    f"sum by (outcome) (rate(cohortd_cycles_total{{{FROM}}}{RATE}))",
                    "{{outcome}}",
                )
            ],
            "cps",
        ),
        graph(
            "Cycle duration",
            "How long a cycle takes: the median, and 99 of 100.",
            [
                Query(_quantile(0.5, "cohortd_cycle_duration_seconds"), "median"),
                Query(_quantile(0.99, "cohortd_cycle_duration_seconds"), "99 of 100"),
            ],
            "s",
        ),
        graph(
            "Age of what is known",
            "How long ago each zone was last read completely.",
            [
                Query(
                    f"time() - max by (cloud_zone) "
                    f"(cohortd_zone_confirmed_timestamp_seconds{{{FROM}}})",
                    "{{cloud_zone}}",
                )
            ],
            "s",
        ),
        graph(
            "Calls to Scaleway",
            "Calls a second, by operation.",
            [
                Query(
                    f"sum by (operation) (rate(cohortd_cloud_requests_total{{{FROM}}}{RATE}))",
                    "{{operation}}",
                )
            ],
            "reqps",
            stacked=True,
        ),
    ]


def _calls() -> list[Panel]:
    """Calls to the cloud, and what became of them."""
    return [
        graph(
            "Failures of calls",
            "Failed calls a second, by operation and cause.",
            [
                Query(
                    f"sum by (operation, cause) "
                    f"(rate(cohortd_cloud_request_failures_total{{{FROM}}}{RATE}))",
                    "{{operation}}: {{cause}}",
                )
            ],
            "reqps",
        ),
        graph(
            "Duration of calls",
            "95 of 100 calls are quicker, by operation.",
            [
                Query(
                    f"histogram_quantile(0.95, sum by (le, operation) "
                    f"(rate(cohortd_cloud_request_duration_seconds_bucket{{{FROM}}}{RATE})))",
                    "{{operation}}",
                )
            ],
            "s",
        ),
        graph(
            "Intents ended",
            "Calls to the cloud by how they ended: confirmed, failed, expired, abandoned.",
            [
                Query(
                    f"sum by (outcome) (increase(cohortd_intents_ended_total{{{FROM}}}{RATE}))",
                    "{{outcome}}",
                )
            ],
            "short",
        ),
        graph(
            "Lease epoch",
            "It rises by one at each change of leader.",
            [Query(f"max by (instance) (cohortd_lease_epoch{{{FROM}}})", "{{instance}}")],
            "short",
        ),
    ]


def _quantile(part: float, histogram: str) -> str:
    return f"histogram_quantile({part}, sum by (le) (rate({histogram}_bucket{{{FROM}}}{RATE})))"

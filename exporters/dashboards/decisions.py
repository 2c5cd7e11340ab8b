"""The dashboard of decisions: stops, their rules, and whether each notice held."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.overview import ZERO_IS_GOOD
from exporters.dashboards.panels import (
    SELECTOR,
    Column,
    Panel,
    Query,
    empty_dashboard,
    stat_panel,
    table_panel,
    timeseries_panel,
    with_panels,
)

ZERO_BY_STARTUP = f"0 * cohortd_granted_credits{{{SELECTOR}}}"
"""A zero for each startup: a startup without decisions has no series."""
DECISIONS = f"cohortd_decisions_total{{{SELECTOR}"


def decisions() -> build.Dashboard:
    """Every decision by its verb and rule, and what became of the notices."""
    empty = empty_dashboard(
        "cohortd-decisions", "cohortd / Decisions", "What was stopped, why, notice kept?"
    )
    return with_panels(empty, [*_stats(), *_decision_panels(), *_notice_panels()])


def _stats() -> list[Panel]:
    """The figures at the top."""
    return [
        stat_panel(
            "Stops",
            "Servers that cohortd stopped in the time shown.",
            f'sum(increase({DECISIONS}, verb="stop"}}[$__range])) or vector(0)',
            "short",
            width=6,
        ),
        stat_panel(
            "Would stop (shadow)",
            "Stops that shadow mode only recorded in the time shown.",
            f'sum(increase({DECISIONS}, verb="would-stop"}}[$__range])) or vector(0)',
            "short",
            width=6,
        ),
        stat_panel(
            "Notices breached",
            "Notices that were cut short, or reached no channel.",
            f"sum(increase(cohortd_notices_breached_total{{{SELECTOR}}}[$__range])) or vector(0)",
            "short",
            ZERO_IS_GOOD,
            width=6,
        ),
        stat_panel(
            "Stops deferred",
            "Stops that wait for the disruption budget or for cohortd approve.",
            f"sum(cohortd_stops_deferred{{{SELECTOR}}})",
            "short",
            ZERO_IS_GOOD,
            width=6,
        ),
    ]


def _decision_panels() -> list[Panel]:
    """Decisions by verb, rule and startup."""
    return [
        timeseries_panel(
            "Decisions by verb",
            "Notices opened, cancelled and executed.",
            [Query(f"sum by (verb) (increase({DECISIONS}}}[$__rate_interval]))", "{{verb}}")],
            "short",
            stacked=True,
        ),
        timeseries_panel(
            "Decisions by rule",
            "The rules that led to them.",
            [Query(f"sum by (rule) (increase({DECISIONS}}}[$__rate_interval]))", "{{rule}}")],
            "short",
            stacked=True,
        ),
        table_panel(
            "Decisions by startup",
            "Notices, stops and cancellations of each startup in the time shown.",
            ["startup"],
            [
                Column(
                    title,
                    f'increase({DECISIONS}, verb="{verb}"}}[$__range]) or {ZERO_BY_STARTUP}',
                    "short",
                )
                for title, verb in (
                    ("Notices", "notify"),
                    ("Stops", "stop"),
                    ("Would stop", "would-stop"),
                    ("Executed", "executed"),
                    ("Cancelled", "cancelled"),
                )
            ],
            width=12,
        ),
    ]


def _notice_panels() -> list[Panel]:
    """What became of the notices."""
    return [
        timeseries_panel(
            "Deliveries",
            "Messages sent and failed, by outcome.",
            [
                Query(
                    f"sum by (outcome) (increase(cohortd_deliveries_total{{{SELECTOR}}}"
                    "[$__rate_interval]))",
                    "{{outcome}}",
                )
            ],
            "short",
        ),
        timeseries_panel(
            "Open notices",
            "Notices before a stop that are open.",
            [Query(f"sum(cohortd_notices_open{{{SELECTOR}}})", "open")],
            "short",
        ),
        timeseries_panel(
            "GPUs above share",
            "GPUs that run above the share, which an owner may reclaim.",
            [
                Query(
                    f"sum by (startup) (clamp_min(sum by (startup, pool) "
                    f'(cohortd_usage_gpus{{{SELECTOR}, pool!=""}}) - sum by (startup, pool) '
                    f"(cohortd_share_gpus{{{SELECTOR}}}), 0))"
                )
            ],
            "suffix: GPUs",
        ),
    ]

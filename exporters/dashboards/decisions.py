"""Decisions: what was stopped, why, and was the notice kept?"""

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
"""A zero for each startup: where nothing was decided there is no series."""
DECISIONS = f"cohortd_decisions_total{{{SELECTOR}"


def decisions() -> build.Dashboard:
    """Every decision by its verb and rule, and what became of the promises."""
    empty = empty_dashboard(
        "cohortd-decisions", "cohortd / Decisions", "What was stopped, why, notice kept?"
    )
    return with_panels(empty, [*_stats(), *_decision_panels(), *_notice_panels()])


def _stats() -> list[Panel]:
    """What is to be seen at a glance."""
    return [
        stat_panel(
            "Stops",
            "Servers that were told to stop in the time shown.",
            f'sum(increase({DECISIONS}, verb="stop"}}[$__range])) or vector(0)',
            "short",
            width=6,
        ),
        stat_panel(
            "Would have stopped",
            "Stops that shadow mode only recorded in the time shown.",
            f'sum(increase({DECISIONS}, verb="would-stop"}}[$__range])) or vector(0)',
            "short",
            width=6,
        ),
        stat_panel(
            "Promises broken",
            "Stops before their notice's deadline, or notices that reached nobody.",
            f"sum(increase(cohortd_promises_broken_total{{{SELECTOR}}}[$__range])) or vector(0)",
            "short",
            ZERO_IS_GOOD,
            width=6,
        ),
        stat_panel(
            "Held by the guard",
            "Stops that wait until the guard's hour is over, or for cohortd approve.",
            f"sum(cohortd_guard_holding{{{SELECTOR}}})",
            "short",
            ZERO_IS_GOOD,
            width=6,
        ),
    ]


def _decision_panels() -> list[Panel]:
    """What was decided, by verb and rule, and of whom."""
    return [
        timeseries_panel(
            "Decisions by verb",
            "Notices given, cancelled, carried out.",
            [Query(f"sum by (verb) (increase({DECISIONS}}}[$__rate_interval]))", "{{verb}}")],
            "short",
            stacked=True,
        ),
        timeseries_panel(
            "Decisions by rule",
            "Which rule they came from.",
            [Query(f"sum by (rule) (increase({DECISIONS}}}[$__rate_interval]))", "{{rule}}")],
            "short",
            stacked=True,
        ),
        table_panel(
            "Who was affected",
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
    """What became of the promises."""
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
            "Promises of a stop that are running.",
            [Query(f"sum(cohortd_notices_open{{{SELECTOR}}})", "open")],
            "short",
        ),
        timeseries_panel(
            "GPUs above share",
            "What runs above the share: borrowed capacity that an owner may ask back.",
            [
                Query(
                    f"sum by (startup) (clamp_min(sum by (startup, pool) "
                    f'(cohortd_used_gpus{{{SELECTOR}, pool!=""}}) - sum by (startup, pool) '
                    f"(cohortd_share_gpus{{{SELECTOR}}}), 0))"
                )
            ],
            "suffix: GPUs",
        ),
    ]

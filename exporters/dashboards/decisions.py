"""The dashboard of decisions: stops, their rules, and whether each notice held."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.panels import (
    GPUS,
    IN_POOLS,
    RANGE,
    RATE,
    ZERO_IS_GOOD,
    Column,
    Panel,
    dashboard,
    metric,
    stat_panel,
    sum_by,
    table_panel,
    timeseries_panel,
)

ZERO_BY_STARTUP = f"0 * {metric('granted_credits')}"
"""A zero for each startup: a startup without decisions has no series."""
DECISIONS = metric("decisions_total")


def decisions() -> build.Dashboard:
    """Every decision by its verb and rule, and what became of the notices."""
    panels = [*_stats(), *_decision_panels(), *_notice_panels()]
    summary = "What was stopped, why, notice kept?"
    return dashboard("cohortd-decisions", "cohortd / Decisions", summary, panels)


def _stats() -> list[Panel]:
    return [
        stat_panel(
            "Stops",
            "Servers that cohortd stopped in the time shown.",
            f"sum({_increase('stop')}) or vector(0)",
            width=6,
        ),
        stat_panel(
            "Would stop (shadow)",
            "Stops that shadow mode only recorded in the time shown.",
            f"sum({_increase('would-stop')}) or vector(0)",
            width=6,
        ),
        stat_panel(
            "Notices breached",
            "Notices that were cut short, or reached no channel.",
            f"sum(increase({metric('notices_breached_total')}{RANGE})) or vector(0)",
            thresholds=ZERO_IS_GOOD,
            width=6,
        ),
        stat_panel(
            "Stops deferred",
            "Stops that wait for the disruption budget or for cohortd approve.",
            f"sum({metric('stops_deferred')})",
            thresholds=ZERO_IS_GOOD,
            width=6,
        ),
    ]


def _decision_panels() -> list[Panel]:
    titles = {
        "Notices": "notify",
        "Stops": "stop",
        "Would stop": "would-stop",
        "Executed": "executed",
        "Cancelled": "cancelled",
    }
    columns = [
        Column(title, f"{_increase(verb)} or {ZERO_BY_STARTUP}") for title, verb in titles.items()
    ]
    return [
        timeseries_panel(
            "Decisions by verb",
            "Notices opened, cancelled and executed.",
            {"{{verb}}": sum_by("verb", f"increase({DECISIONS}{RATE})")},
            stacked=True,
        ),
        timeseries_panel(
            "Decisions by rule",
            "The rules that led to them.",
            {"{{rule}}": sum_by("rule", f"increase({DECISIONS}{RATE})")},
            stacked=True,
        ),
        table_panel(
            "Decisions by startup",
            "Notices, stops and cancellations of each startup in the time shown.",
            columns,
            width=12,
        ),
    ]


def _notice_panels() -> list[Panel]:
    used = sum_by("startup, pool", metric("usage_gpus", IN_POOLS))
    share = sum_by("startup, pool", metric("share_gpus"))
    return [
        timeseries_panel(
            "Deliveries",
            "Messages sent and failed, by outcome.",
            {"{{outcome}}": sum_by("outcome", f"increase({metric('deliveries_total')}{RATE})")},
        ),
        timeseries_panel(
            "Open notices",
            "Notices before a stop that are open.",
            {"open": f"sum({metric('notices_open')})"},
        ),
        timeseries_panel(
            "GPUs above share",
            "GPUs that run above the share, which an owner may reclaim.",
            {"{{startup}}": sum_by("startup", f"clamp_min({used} - {share}, 0)")},
            GPUS,
        ),
    ]


def _increase(verb: str) -> str:
    return f"increase({metric('decisions_total', verb=verb)}{RANGE})"

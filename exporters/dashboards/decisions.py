"""Decisions: what was stopped, why, and was the notice kept?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.overview import NONE_IS_GOOD
from exporters.dashboards.panels import (
    FROM,
    Column,
    Panel,
    Query,
    filled,
    graph,
    number,
    page,
    rows,
)

NONE = f"0 * cohortd_granted_credits{{{FROM}}}"
"""A zero for each startup: where nothing was decided there is no series."""
DECIDED = f"cohortd_decisions_total{{{FROM}"


def decisions() -> build.Dashboard:
    """Every decision by its verb and rule, and what became of the promises."""
    empty = page("cohortd-decisions", "cohortd / Decisions", "What was stopped, why, notice kept?")
    return filled(empty, [*_figures(), *_decided(), *_promised()])


def _figures() -> list[Panel]:
    """What is to be seen at a glance."""
    return [
        number(
            "Stops",
            "Servers that were told to stop in the time shown.",
            f'sum(increase({DECIDED}, verb="stop"}}[$__range])) or vector(0)',
            "short",
            width=6,
        ),
        number(
            "Would have stopped",
            "Stops that shadow mode only recorded in the time shown.",
            f'sum(increase({DECIDED}, verb="would-stop"}}[$__range])) or vector(0)',
            "short",
            width=6,
        ),
        number(
            "Promises broken",
            "Stops before their notice's deadline, or notices that reached nobody.",
            f"sum(increase(cohortd_promises_broken_total{{{FROM}}}[$__range])) or vector(0)",
            "short",
            NONE_IS_GOOD,
            width=6,
        ),
        number(
            "Held by the guard",
            "Stops that wait until the guard's hour is over, or for cohortd approve.",
            f"sum(cohortd_guard_holding{{{FROM}}})",
            "short",
            NONE_IS_GOOD,
            width=6,
        ),
    ]


def _decided() -> list[Panel]:
    """What was decided, by verb and rule, and of whom."""
    return [
        graph(
            "Decisions by verb",
            "Notices given, cancelled, carried out.",
            [Query(f"sum by (verb) (increase({DECIDED}}}[$__rate_interval]))", "{{verb}}")],
            "short",
            stacked=True,
        ),
        graph(
            "Decisions by rule",
            "Which rule they came from.",
            [Query(f"sum by (rule) (increase({DECIDED}}}[$__rate_interval]))", "{{rule}}")],
            "short",
            stacked=True,
        ),
        rows(
            "Who was affected",
            "Notices, stops and cancellations of each startup in the time shown.",
            ["startup"],
            [
                Column(title, f'increase({DECIDED}, verb="{verb}"}}[$__range]) or {NONE}', "short")
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


def _promised() -> list[Panel]:
    """What became of the promises."""
    return [
        graph(
            "Deliveries",
            "Messages sent and failed, by outcome.",
            [
                Query(
                    f"sum by (outcome) (increase(cohortd_deliveries_total{{{FROM}}}"
                    "[$__rate_interval]))",
                    "{{outcome}}",
                )
            ],
            "short",
        ),
        graph(
            "Open notices",
            "Promises of a stop that are running.",
            [Query(f"sum(cohortd_notices_open{{{FROM}}})", "open")],
            "short",
        ),
        graph(
            "GPUs above share",
            "What runs above the share: borrowed capacity that an owner may ask back.",
            [
                Query(
                    f"sum by (startup) (clamp_min(sum by (startup, pool) "
                    f'(cohortd_used_gpus{{{FROM}, pool!=""}}) - sum by (startup, pool) '
                    f"(cohortd_share_gpus{{{FROM}}}), 0))"
                )
            ],
            "suffix: GPUs",
        ),
    ]

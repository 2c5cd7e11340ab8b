"""The dashboard of the whole program: every startup, its credits and its GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table

from exporters.dashboards.panels import (
    CREDITS,
    GPUS,
    SELECTOR,
    Column,
    Panel,
    Query,
    ThresholdSteps,
    empty_dashboard,
    stat_panel,
    table_panel,
    timeseries_panel,
    with_panels,
)

DAY_S = 86_400
RUNWAY: ThresholdSteps = ((None, "red"), (DAY_S, "orange"), (7 * DAY_S, "green"))
ZERO_IS_GOOD: ThresholdSteps = ((None, "green"), (1, "orange"))
AVAILABLE = f'cohortd_balance_credits{{{SELECTOR}, state="available"}}'
RUNWAY_S = f"(cohortd_exhaustion_timestamp_seconds{{{SELECTOR}}} - time())"
LEVEL = " + ".join(
    f'{place} * sum by (startup) (cohortd_level{{{SELECTOR}, level="{name}"}})'
    for place, name in enumerate(("open", "paced", "closed", "stopped"))
)
"""The level of each startup as a number from 0 (open) to 3 (stopped)."""
LEVELS = {
    "0": ("open", "green"),
    "1": ("at limit", "yellow"),
    "2": ("no new servers", "orange"),
    "3": ("powering off", "red"),
}


def overview() -> build.Dashboard:
    """Every startup on one page: credits, pace, runway, GPUs by share, and the next deadlines."""
    empty = empty_dashboard(
        "cohortd-overview", "cohortd / Program overview", "Is everyone all right?"
    )
    return with_panels(empty, [*_stats(), *_graphs(), *_credits()])


def _stats() -> list[Panel]:
    """The figures at the top."""
    return [
        stat_panel(
            "Startups at risk",
            "Startups that are not open, or whose credits end within a week.",
            f'count((sum by (startup) (cohortd_level{{{SELECTOR}, level!="open"}}) > 0) or '
            f"(sum by (startup) ({RUNWAY_S}) < {7 * DAY_S})) or vector(0)",
            "short",
            ZERO_IS_GOOD,
        ),
        stat_panel(
            "Stops announced",
            "Open notices: servers that stop unless their cause ends first.",
            f"sum(cohortd_notices_open{{{SELECTOR}}})",
            "short",
            ZERO_IS_GOOD,
        ),
        stat_panel(
            "Active alarms",
            "Alarms that cohortd status shows now.",
            f"sum(cohortd_active_alarms{{{SELECTOR}}})",
            "short",
            ZERO_IS_GOOD,
        ),
        stat_panel(
            "GPUs in use",
            "GPUs of billable servers in the pools.",
            f'sum(cohortd_usage_gpus{{{SELECTOR}, pool!=""}}) or vector(0)',
            GPUS,
        ),
        stat_panel(
            "Credits available",
            "Credits that all startups may still spend, without the reserve for orderly stops.",
            f"sum({AVAILABLE})",
            CREDITS,
        ),
        stat_panel(
            "Last successful cycle",
            "Time since the last successful cycle.",
            f"time() - max(cohortd_last_successful_cycle_timestamp_seconds{{{SELECTOR}}})",
            "s",
            ((None, "green"), (120, "orange"), (900, "red")),
        ),
    ]


def _graphs() -> list[Panel]:
    """Use of the pools over time."""
    return [
        _startups(),
        timeseries_panel(
            "GPUs in use by startup",
            "Use of the pools by startup, against their capacity.",
            [
                Query(f'sum by (startup) (cohortd_usage_gpus{{{SELECTOR}, pool!=""}})'),
                Query(f"sum(cohortd_pool_gpus{{{SELECTOR}}})", "capacity"),
            ],
            GPUS,
            stacked=True,
            dashed=["capacity"],
        ),
        timeseries_panel(
            "Capacity lent and unused",
            "Nominal quota that others use now, and GPUs that nobody uses.",
            [
                Query(f"sum by (pool) (cohortd_lent_gpus{{{SELECTOR}}})", "lent in {{pool}}"),
                Query(
                    f"sum by (pool) (cohortd_pool_gpus{{{SELECTOR}}}) - (sum by (pool) "
                    f'(cohortd_usage_gpus{{{SELECTOR}, pool!=""}}) or '
                    f"0 * sum by (pool) (cohortd_pool_gpus{{{SELECTOR}}}))",
                    "unused in {{pool}}",
                ),
            ],
            GPUS,
        ),
    ]


def _credits() -> list[Panel]:
    """Burn of credits, and the next deadlines."""
    return [
        timeseries_panel(
            "Credits available",
            "Burn-down of each startup; it steps up where a grant becomes effective.",
            [Query(f"sum by (startup) ({AVAILABLE})")],
            CREDITS,
        ),
        timeseries_panel(
            "Burn rate",
            "Credits an hour that running servers cost.",
            [Query(f"sum by (startup) (cohortd_burn_credits_per_hour{{{SELECTOR}}})")],
            "suffix: credits/h",
            stacked=True,
        ),
        _next_deadlines(),
    ]


def _startups() -> table.Panel:
    share = "cohortd_{}_gpus{{" + SELECTOR + "}}"
    return table_panel(
        "Startups",
        "Credits left, runway at this burn, and GPUs by share.",
        ["startup"],
        [
            Column("Level", LEVEL, "short", value_mappings=LEVELS),
            Column("Available", AVAILABLE, CREDITS),
            Column("Runway", RUNWAY_S, "dtdurations", RUNWAY),
            Column("Burn an hour", f"cohortd_burn_credits_per_hour{{{SELECTOR}}}", CREDITS),
            Column("In use", f'cohortd_usage_gpus{{{SELECTOR}, pool!=""}}', "short"),
            Column("Nominal", share.format("nominal"), "short"),
            Column("Share", share.format("share"), "short"),
            Column("Ceiling", share.format("ceiling"), "short"),
            Column("Borrowed", share.format("borrowed"), "short"),
            Column("Lent", share.format("lent"), "short"),
        ],
    )


def _next_deadlines() -> table.Panel:
    return table_panel(
        "Next deadlines",
        "When credits are exhausted, when a stop is due, and when credits expire.",
        ["startup"],
        [
            Column(
                "Exhausted at", f"1000 * cohortd_exhaustion_timestamp_seconds{{{SELECTOR}}}", _DATE
            ),
            Column("Stop", f"1000 * cohortd_next_stop_timestamp_seconds{{{SELECTOR}}}", _DATE),
            Column("Expiry", f"1000 * cohortd_expiry_timestamp_seconds{{{SELECTOR}}}", _DATE),
            Column("Would expire", f"cohortd_expiring_credits{{{SELECTOR}}}", CREDITS),
        ],
    )


_DATE = "dateTimeAsIso"

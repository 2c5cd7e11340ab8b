"""Program overview: is every startup all right, and who needs me?"""

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
    "1": ("paced", "yellow"),
    "2": ("closed", "orange"),
    "3": ("stopped", "red"),
}


def overview() -> build.Dashboard:
    """Every startup on one page: credits, pace, runway, GPUs by share, and the next edges."""
    empty = empty_dashboard(
        "cohortd-overview", "cohortd / Program overview", "Is everyone all right?"
    )
    return with_panels(empty, [*_stats(), *_graphs(), *_credits()])


def _stats() -> list[Panel]:
    """What is to be seen at a glance."""
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
            "Alarms",
            "What cohortd status asks an operator to look at.",
            f"sum(cohortd_alarms{{{SELECTOR}}})",
            "short",
            ZERO_IS_GOOD,
        ),
        stat_panel(
            "GPUs in use",
            "GPUs of billable servers in the pools.",
            f'sum(cohortd_used_gpus{{{SELECTOR}, pool!=""}}) or vector(0)',
            GPUS,
        ),
        stat_panel(
            "Credits available",
            "What all startups may still spend, the cost of orderly stops set aside.",
            f"sum({AVAILABLE})",
            CREDITS,
        ),
        stat_panel(
            "Last good cycle",
            "How long ago the books were last brought up to date.",
            f"time() - max(cohortd_last_good_cycle_timestamp_seconds{{{SELECTOR}}})",
            "s",
            ((None, "green"), (120, "orange"), (900, "red")),
        ),
    ]


def _graphs() -> list[Panel]:
    """Who uses what, over time."""
    return [
        _startups(),
        timeseries_panel(
            "GPUs in use by startup",
            "Who uses the pools, against the capacity that they have.",
            [
                Query(f'sum by (startup) (cohortd_used_gpus{{{SELECTOR}, pool!=""}})'),
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
                    f'(cohortd_used_gpus{{{SELECTOR}, pool!=""}}) or '
                    f"0 * sum by (pool) (cohortd_pool_gpus{{{SELECTOR}}}))",
                    "unused in {{pool}}",
                ),
            ],
            GPUS,
        ),
    ]


def _credits() -> list[Panel]:
    """How credits burn, and what falls due."""
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
        "One line each: what is left, how long it lasts at this burn, and GPUs by share.",
        ["startup"],
        [
            Column("Level", LEVEL, "short", value_mappings=LEVELS),
            Column("Available", AVAILABLE, CREDITS),
            Column("Runway", RUNWAY_S, "dtdurations", RUNWAY),
            Column("Burn an hour", f"cohortd_burn_credits_per_hour{{{SELECTOR}}}", CREDITS),
            Column("In use", f'cohortd_used_gpus{{{SELECTOR}, pool!=""}}', "short"),
            Column("Nominal", share.format("nominal"), "short"),
            Column("Share", share.format("share"), "short"),
            Column("Ceiling", share.format("ceiling"), "short"),
            Column("Borrowed", share.format("borrowed"), "short"),
            Column("Lent", share.format("lent"), "short"),
        ],
    )


def _next_deadlines() -> table.Panel:
    return table_panel(
        "Next edges",
        "What falls due, and when: credits used up, a stop announced, credits that expire.",
        ["startup"],
        [
            Column("Used up", f"1000 * cohortd_exhaustion_timestamp_seconds{{{SELECTOR}}}", _DATE),
            Column("Stop", f"1000 * cohortd_stop_timestamp_seconds{{{SELECTOR}}}", _DATE),
            Column("Expiry", f"1000 * cohortd_expiry_timestamp_seconds{{{SELECTOR}}}", _DATE),
            Column("Would expire", f"cohortd_expiring_credits{{{SELECTOR}}}", CREDITS),
        ],
    )


_DATE = "dateTimeAsIso"

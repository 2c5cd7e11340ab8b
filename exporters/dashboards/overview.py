"""The dashboard of the whole program: every startup, its credits and its GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.panels import (
    CREDITS,
    CREDITS_PER_HOUR,
    GPUS,
    IN_POOLS,
    RUNWAY,
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
from quotas.messages.levels import LEVELS
from quotas.model.units import DAY_S

AVAILABLE = metric("balance_credits", state="available")
RUNWAY_S = f"({metric('exhaustion_timestamp_seconds')} - time())"
IN_USE = metric("usage_gpus", IN_POOLS)
LEVEL = " + ".join(
    f"{place} * {sum_by('startup', metric('level', level=code))}"
    for place, code in enumerate(LEVELS)
)
"""The level of each startup as a number from 0 (open) to 3 (stopped)."""
LEVEL_COLOURS = ("green", "yellow", "orange", "red")
_DATE = "dateTimeAsIso"


def overview() -> build.Dashboard:
    """Every startup on one page: credits, pace, runway, GPUs by share, and the next deadlines."""
    panels = [*_stats(), *_graphs(), *_credits()]
    summary = "Is everyone all right?"
    return dashboard("cohortd-overview", "cohortd / Program overview", summary, panels)


def _stats() -> list[Panel]:
    restricted = sum_by("startup", metric("level", 'level!="open"'))
    ends_soon = f"{sum_by('startup', RUNWAY_S)} < {7 * DAY_S}"
    return [
        stat_panel(
            "Startups at risk",
            "Startups that are not open, or whose credits end within a week.",
            f"count(({restricted} > 0) or ({ends_soon})) or vector(0)",
            thresholds=ZERO_IS_GOOD,
        ),
        stat_panel(
            "Stops announced",
            "Open notices: servers that stop unless their cause ends first.",
            f"sum({metric('notices_open')})",
            thresholds=ZERO_IS_GOOD,
        ),
        stat_panel(
            "Active alarms",
            "Alarms that cohortd status shows now.",
            f"sum({metric('active_alarms')})",
            thresholds=ZERO_IS_GOOD,
        ),
        stat_panel(
            "GPUs in use",
            "GPUs of billable servers in the pools.",
            f"sum({IN_USE}) or vector(0)",
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
            f"time() - max({metric('last_successful_cycle_timestamp_seconds')})",
            "s",
            thresholds=((None, "green"), (120, "orange"), (900, "red")),
        ),
    ]


def _graphs() -> list[Panel]:
    capacity = sum_by("pool", metric("pool_gpus"))
    return [
        _startups(),
        timeseries_panel(
            "GPUs in use by startup",
            "Use of the pools by startup, against their capacity.",
            {"{{startup}}": sum_by("startup", IN_USE), "capacity": f"sum({metric('pool_gpus')})"},
            GPUS,
            stacked=True,
            dashed=["capacity"],
        ),
        timeseries_panel(
            "Capacity lent and unused",
            "Nominal quota that others use now, and GPUs that nobody uses.",
            {
                "lent in {{pool}}": sum_by("pool", metric("lent_gpus")),
                # A pool of which nobody uses a GPU has no series of its use.
                "unused in {{pool}}": (
                    f"{capacity} - ({sum_by('pool', IN_USE)} or 0 * {capacity})"
                ),
            },
            GPUS,
        ),
    ]


def _credits() -> list[Panel]:
    return [
        timeseries_panel(
            "Credits available",
            "Burn-down of each startup; it steps up where a grant becomes effective.",
            {"{{startup}}": sum_by("startup", AVAILABLE)},
            CREDITS,
        ),
        timeseries_panel(
            "Burn rate",
            "Credits an hour that running servers cost.",
            {"{{startup}}": sum_by("startup", metric("burn_credits_per_hour"))},
            CREDITS_PER_HOUR,
            stacked=True,
        ),
        table_panel(
            "Next deadlines",
            "When credits are exhausted, when a stop is due, and when credits expire.",
            [
                Column("Exhausted at", f"1000 * {metric('exhaustion_timestamp_seconds')}", _DATE),
                Column("Stop", f"1000 * {metric('next_stop_timestamp_seconds')}", _DATE),
                Column("Expiry", f"1000 * {metric('expiry_timestamp_seconds')}", _DATE),
                Column("Would expire", metric("expiring_credits"), CREDITS),
            ],
        ),
    ]


def _startups() -> Panel:
    names_and_colours = zip(LEVELS.values(), LEVEL_COLOURS, strict=True)
    levels = {str(n): (level.name, colour) for n, (level, colour) in enumerate(names_and_colours)}
    shares = ("nominal", "share", "ceiling", "borrowed", "lent")
    return table_panel(
        "Startups",
        "Credits left, runway at this burn, and GPUs by share.",
        [
            Column("Level", LEVEL, value_mappings=levels),
            Column("Available", AVAILABLE, CREDITS),
            Column("Runway", RUNWAY_S, "dtdurations", RUNWAY),
            Column("Burn an hour", metric("burn_credits_per_hour"), CREDITS),
            Column("In use", IN_USE),
            *(Column(name.capitalize(), metric(f"{name}_gpus")) for name in shares),
        ],
    )

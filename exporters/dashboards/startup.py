"""The dashboard of one startup: credits, runway and GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.overview import RUNWAY
from exporters.dashboards.panels import (
    CREDITS,
    GPUS,
    SELECTOR,
    Panel,
    Query,
    empty_dashboard,
    stat_panel,
    timeseries_panel,
    with_panels,
)

STARTUP_SELECTOR = f'{SELECTOR}, startup=~"$startup"'
BURN = f"cohortd_burn_credits_per_hour{{{STARTUP_SELECTOR}}}"
BALANCE = f"cohortd_balance_credits{{{STARTUP_SELECTOR}, state="


def startup() -> build.Dashboard:
    """One startup, or a few: credits against their pace, GPUs against their share."""
    empty = empty_dashboard(
        "cohortd-startup",
        "cohortd / Startup",
        "How much is left, and how long will it last?",
        variables=["startup"],
    )
    return with_panels(empty, [*_stats(), *_credits(), *_gpus()])


def _stats() -> list[Panel]:
    """The figures at the top."""
    return [
        stat_panel(
            "Available",
            "Credits that may still be spent, without the reserve for an orderly stop.",
            f'sum by (startup) ({BALANCE}"available"}})',
            CREDITS,
            width=6,
            legend="{{startup}}",
        ),
        stat_panel(
            "Runway",
            "Time until available credits are used up at the present burn.",
            "sum by (startup) "
            f"(cohortd_exhaustion_timestamp_seconds{{{STARTUP_SELECTOR}}} - time())",
            "dtdurations",
            RUNWAY,
            width=6,
            legend="{{startup}}",
        ),
        stat_panel(
            "Burn",
            "Credits an hour that running servers cost.",
            f"sum by (startup) ({BURN})",
            "suffix: credits/h",
            width=6,
            legend="{{startup}}",
        ),
        stat_panel(
            "Would expire next",
            "Credits that the next end of a grant takes if nothing more burns.",
            f"sum by (startup) (cohortd_expiring_credits{{{STARTUP_SELECTOR}}})",
            CREDITS,
            width=6,
            legend="{{startup}}",
        ),
    ]


def _credits() -> list[Panel]:
    """Credits over time."""
    return [
        timeseries_panel(
            "Credits",
            "Credits available, held, and reserved for a stop.",
            [
                Query(f'sum by (startup) ({BALANCE}"available"}})', "available {{startup}}"),
                Query(f'sum by (startup) ({BALANCE}"held"}})', "held {{startup}}"),
                Query(f'sum by (startup) ({BALANCE}"reserve"}})', "reserve {{startup}}"),
            ],
            CREDITS,
        ),
        timeseries_panel(
            "Pace",
            "Credits charged to date against the allowance to date of the pacing curve.",
            [
                Query(
                    f"sum by (startup) (cohortd_charged_credits{{{STARTUP_SELECTOR}}})",
                    "charged {{startup}}",
                ),
                Query(
                    f"sum by (startup) (cohortd_allowance_credits{{{STARTUP_SELECTOR}}})",
                    "allowance",
                ),
            ],
            CREDITS,
            dashed=["allowance"],
        ),
        timeseries_panel(
            "GPUs against share",
            "GPUs in use, guaranteed, in the share at current demands, and the ceiling.",
            [
                Query(
                    f'sum by (startup) (cohortd_usage_gpus{{{STARTUP_SELECTOR}, pool!=""}})',
                    "in use",
                ),
                Query(f"sum by (startup) (cohortd_nominal_gpus{{{STARTUP_SELECTOR}}})", "nominal"),
                Query(f"sum by (startup) (cohortd_share_gpus{{{STARTUP_SELECTOR}}})", "share"),
                Query(f"sum by (startup) (cohortd_ceiling_gpus{{{STARTUP_SELECTOR}}})", "ceiling"),
            ],
            GPUS,
            dashed=["nominal", "ceiling"],
        ),
    ]


def _gpus() -> list[Panel]:
    """GPUs over time."""
    return [
        timeseries_panel(
            "GPUs by flavor",
            "GPUs of billable servers, by flavor.",
            [Query(f"sum by (flavor) (cohortd_usage_gpus{{{STARTUP_SELECTOR}}})", "{{flavor}}")],
            GPUS,
            stacked=True,
        ),
        timeseries_panel(
            "Burn rate",
            "Credits an hour, and the 24-hour mean.",
            [
                Query(
                    f"sum by (startup) ({BURN})",
                    "now {{startup}}",
                ),
                Query(
                    f"sum by (startup) (avg_over_time({BURN}[1d]))",
                    "mean of 24 h",
                ),
            ],
            "suffix: credits/h",
            dashed=["mean of 24 h"],
        ),
        timeseries_panel(
            "Borrowed and lent",
            "GPUs of the share above nominal, and GPUs of the nominal quota that others use.",
            [
                Query(
                    f"sum by (startup) (cohortd_borrowed_gpus{{{STARTUP_SELECTOR}}})",
                    "borrowed {{startup}}",
                ),
                Query(
                    f"sum by (startup) (cohortd_lent_gpus{{{STARTUP_SELECTOR}}})",
                    "lent {{startup}}",
                ),
            ],
            GPUS,
        ),
    ]

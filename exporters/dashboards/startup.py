"""Startup: how much is left, how long will it last, and what will be stopped?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.overview import RUNWAY
from exporters.dashboards.panels import (
    CREDITS,
    FROM,
    GPUS,
    Panel,
    Query,
    filled,
    graph,
    number,
    page,
)

OF = f'{FROM}, startup=~"$startup"'
BURN = f"cohortd_burn_credits_per_hour{{{OF}}}"
BALANCE = f"cohortd_balance_credits{{{OF}, state="


def startup() -> build.Dashboard:
    """One startup, or a few: credits against their pace, GPUs against their share."""
    empty = page(
        "cohortd-startup",
        "cohortd / Startup",
        "How much is left, and how long will it last?",
        variables=["startup"],
    )
    return filled(empty, [*_figures(), *_credits(), *_gpus()])


def _figures() -> list[Panel]:
    """What is to be seen at a glance."""
    return [
        number(
            "Available",
            "Credits that may still be spent, the cost of an orderly stop set aside.",
            f'sum by (startup) ({BALANCE}"available"}})',
            CREDITS,
            width=6,
            legend="{{startup}}",
        ),
        number(
            "Runway",
            "Time until available credits are used up at the present burn.",
            f"sum by (startup) (cohortd_exhaustion_timestamp_seconds{{{OF}}} - time())",
            "dtdurations",
            RUNWAY,
            width=6,
            legend="{{startup}}",
        ),
        number(
            "Burn",
            "Credits an hour that running servers cost.",
            f"sum by (startup) ({BURN})",
            "suffix: credits/h",
            width=6,
            legend="{{startup}}",
        ),
        number(
            "Would expire next",
            "What would be forfeited at the next end of a grant if nothing more burned.",
            f"sum by (startup) (cohortd_expiring_credits{{{OF}}})",
            CREDITS,
            width=6,
            legend="{{startup}}",
        ),
    ]


def _credits() -> list[Panel]:
    """Credits over time."""
    return [
        graph(
            "Credits",
            "Burn-down: what is available, and what is set aside for holds and a stop.",
            [
                Query(f'sum by (startup) ({BALANCE}"available"}})', "available {{startup}}"),
                Query(f'sum by (startup) ({BALANCE}"held"}})', "held {{startup}}"),
                Query(f'sum by (startup) ({BALANCE}"reserve"}})', "reserve {{startup}}"),
            ],
            CREDITS,
        ),
        graph(
            "Pace",
            "Credits charged to date against the allowance to date of the pacing curve.",
            [
                Query(f"sum by (startup) (cohortd_charged_credits{{{OF}}})", "charged {{startup}}"),
                Query(f"sum by (startup) (cohortd_allowance_credits{{{OF}}})", "allowance"),
            ],
            CREDITS,
            dashed=["allowance"],
        ),
        graph(
            "GPUs against share",
            "What runs, what is guaranteed, the share at present demands, and the ceiling.",
            [
                Query(f'sum by (startup) (cohortd_used_gpus{{{OF}, pool!=""}})', "in use"),
                Query(f"sum by (startup) (cohortd_nominal_gpus{{{OF}}})", "nominal"),
                Query(f"sum by (startup) (cohortd_share_gpus{{{OF}}})", "share"),
                Query(f"sum by (startup) (cohortd_ceiling_gpus{{{OF}}})", "ceiling"),
            ],
            GPUS,
            dashed=["nominal", "ceiling"],
        ),
    ]


def _gpus() -> list[Panel]:
    """GPUs over time."""
    return [
        graph(
            "GPUs by flavor",
            "Which machines run.",
            [Query(f"sum by (flavor) (cohortd_used_gpus{{{OF}}})", "{{flavor}}")],
            GPUS,
            stacked=True,
        ),
        graph(
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
        graph(
            "Borrowed and lent",
            "GPUs above nominal that others lend, and nominal quota that others use.",
            [
                Query(f"sum by (startup) (cohortd_borrowed_gpus{{{OF}}})", "borrowed {{startup}}"),
                Query(f"sum by (startup) (cohortd_lent_gpus{{{OF}}})", "lent {{startup}}"),
            ],
            GPUS,
        ),
    ]

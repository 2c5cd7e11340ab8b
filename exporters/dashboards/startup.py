"""The dashboard of one startup: credits, runway and GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from exporters.dashboards.panels import (
    CREDITS,
    CREDITS_PER_HOUR,
    GPUS,
    IN_POOLS,
    RUNWAY,
    Panel,
    dashboard,
    metric,
    stat_panel,
    sum_by,
    timeseries_panel,
)

CHOSEN = 'startup=~"$startup"'
BURN = metric("burn_credits_per_hour", CHOSEN)


def startup() -> build.Dashboard:
    """One startup, or a few: credits against their pace, GPUs against their share."""
    panels = [*_stats(), *_credits(), *_gpus()]
    summary = "How much is left, and how long will it last?"
    return dashboard("cohortd-startup", "cohortd / Startup", summary, panels, ["startup"])


def _stats() -> list[Panel]:
    runway_s = f"{metric('exhaustion_timestamp_seconds', CHOSEN)} - time()"
    figures = (
        (
            "Available",
            "Credits that may still be spent, without the reserve for an orderly stop.",
            _by_startup("balance_credits", state="available"),
            CREDITS,
        ),
        (
            "Runway",
            "Time until available credits are used up at the present burn.",
            sum_by("startup", runway_s),
            "dtdurations",
            RUNWAY,
        ),
        (
            "Burn",
            "Credits an hour that running servers cost.",
            sum_by("startup", BURN),
            CREDITS_PER_HOUR,
        ),
        (
            "Would expire next",
            "Credits that the next end of a grant takes if nothing more burns.",
            _by_startup("expiring_credits"),
            CREDITS,
        ),
    )
    return [stat_panel(*figure, width=6, legend="{{startup}}") for figure in figures]


def _credits() -> list[Panel]:
    states = ("available", "held", "reserve")
    return [
        timeseries_panel(
            "Credits",
            "Credits available, held, and reserved for a stop.",
            {
                f"{state} {{{{startup}}}}": _by_startup("balance_credits", state=state)
                for state in states
            },
            CREDITS,
        ),
        timeseries_panel(
            "Pace",
            "Credits charged to date against the allowance to date of the pacing curve.",
            {
                "charged {{startup}}": _by_startup("charged_credits"),
                "allowance": _by_startup("allowance_credits"),
            },
            CREDITS,
            dashed=["allowance"],
        ),
        timeseries_panel(
            "GPUs against share",
            "GPUs in use, guaranteed, in the share at current demands, and the ceiling.",
            {
                "in use": _by_startup("usage_gpus", IN_POOLS),
                **{name: _by_startup(f"{name}_gpus") for name in ("nominal", "share", "ceiling")},
            },
            GPUS,
            dashed=["nominal", "ceiling"],
        ),
    ]


def _gpus() -> list[Panel]:
    return [
        timeseries_panel(
            "GPUs by flavor",
            "GPUs of billable servers, by flavor.",
            {"{{flavor}}": sum_by("flavor", metric("usage_gpus", CHOSEN))},
            GPUS,
            stacked=True,
        ),
        timeseries_panel(
            "Burn rate",
            "Credits an hour, and the 24-hour mean.",
            {
                "now {{startup}}": sum_by("startup", BURN),
                "mean of 24 h": sum_by("startup", f"avg_over_time({BURN}[1d])"),
            },
            CREDITS_PER_HOUR,
            dashed=["mean of 24 h"],
        ),
        timeseries_panel(
            "Borrowed and lent",
            "GPUs of the share above nominal, and GPUs of the nominal quota that others use.",
            {
                f"{name} {{{{startup}}}}": _by_startup(f"{name}_gpus")
                for name in ("borrowed", "lent")
            },
            GPUS,
        ),
    ]


def _by_startup(name: str, *matchers: str, **labels: str) -> str:
    return sum_by("startup", metric(name, CHOSEN, *matchers, **labels))

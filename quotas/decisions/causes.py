"""What holds a startup below open? Pure functions from a cause's inputs to its level and reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quotas.decisions.sentences import Inputs, override_text, pace
from quotas.model.units import format_instant

LevelReason = tuple[str, str] | None
"""A level and the reason for it; None where a cause asks for nothing."""

PACING_LIMITS = {
    "policy": "its limit allows",
    "credits": "its credits pay for",
    "pace": "its pace allows",
}


def _nothing(i: Inputs) -> LevelReason:
    return "open", "credits and time are left"


def _membership(i: Inputs) -> LevelReason:
    return None if int(i["members"]) else ("stopped", "it is no longer in the program")


def _operator(i: Inputs) -> LevelReason:
    return str(i["level"]), override_text(i)


def _time(i: Inputs) -> LevelReason:
    ends_s, now_s = int(i["ends_s"]), int(i["now_s"])
    if now_s >= ends_s:
        return "stopped", f"its cohort ended at {format_instant(ends_s)}"
    if now_s >= ends_s - int(i["notice_s"]):
        return "closed", f"its cohort ends at {format_instant(ends_s)}, within the minimum notice"
    return None


def _credits(i: Inputs) -> LevelReason:
    why = "its credits are used up"
    if int(i["stopped_before"]):
        return "stopped", why
    if _available_ucr(i) <= 0 < int(i["burn_ucr_per_h"]):
        return "closed", f"{why}: the final notice runs"
    return None


def _limits(i: Inputs) -> LevelReason:
    used, ceiling = int(i["used_gpus"]), int(i["ceiling_gpus"])
    fits = used + int(i.get("step_gpus", 1)) <= ceiling
    if used <= 0 or fits or i["limited_by"] not in PACING_LIMITS:
        return None
    why = PACING_LIMITS[str(i["limited_by"])]
    return "paced", f"{why} no more than {ceiling} GPUs in {i['pool']}"


def _pace(i: Inputs) -> LevelReason:
    text = pace(i)
    return None if text is None else ("paced", text)


def _available_ucr(i: Inputs) -> int:
    gone_ucr = int(i["accrued_ucr"]) + int(i["held_ucr"]) + int(i["reserve_ucr"])
    return int(i["posted_ucr"]) - gone_ucr


RESTRICTION_LEVELS: Mapping[str, Callable[[Inputs], LevelReason]] = {
    "nothing": _nothing,
    "membership": _membership,
    "operator": _operator,
    "time": _time,
    "credits": _credits,
    "limits": _limits,
    "pace": _pace,
}


def level_from(i: Inputs) -> tuple[str, str]:
    """The level that the cause named `by` holds a startup at, and the reason for it.

    Raises KeyError where an input is missing, ValueError where they hold it at nothing.
    """
    restriction = RESTRICTION_LEVELS[str(i["by"])](i)
    if restriction is None:
        raise ValueError(f"{i['by']} holds nobody for {dict(i)}")
    return restriction

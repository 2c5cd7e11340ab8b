"""Texts of requests: how each ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quotas.model.units import format_duration
from quotas.state.requests import LONGEST_WAIT_S, Outcome, Request, RequestState


def request_detail(request: Request) -> str:
    """How a request ended; what a person wrote, for one that was withdrawn."""
    length_s = request.duration_s if request.met_s is not None else LONGEST_WAIT_S
    is_closed = request.state is RequestState.CLOSED
    return _ended(request.detail, length_s) if is_closed else request.detail


def _ended(outcome: str, length_s: int) -> str:
    length = format_duration(length_s)
    return {
        "startup": "its startup left the program",
        "pool": "its pool left the program",
        "cohort": "its cohort ended",
        "over": f"its {length} are over",
        "unmet": f"it was not met within {length}; ask again if it still matters",
    }[outcome]


def _request(f: Outcome) -> str:
    if f.outcome == "fulfilled":
        return f"{f.startup} runs what it asked for"
    return _ended(f.outcome, f.length_s or 0)


TEXTS: Mapping[str, Callable[[Any], str]] = {"request": _request}

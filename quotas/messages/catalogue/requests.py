"""Texts of requests: how each ended, and what each waits for in the queue."""

from __future__ import annotations

from quotas.decisions.queue_position import Lent, QueuePosition
from quotas.messages.catalogue.rules import BOUNDS, SHORT, level_text, obstacle_text, override_text
from quotas.messages.catalogue.texts import Texts, render
from quotas.model.units import format_duration, format_instant
from quotas.rules.context import Restriction
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


def _closed(found: Restriction) -> str:
    level, why = level_text(found)
    return f"it is {level} and asks for nothing: {why}"


def _lent(f: Lent) -> str:
    borrowers = ", ".join(f"{startup} ({gpus})" for startup, gpus in f.borrowers)
    kept = (render(TEXTS, each.id, each.facts) for each in f.kept)
    return "; ".join([f"its quota is lent to {borrowers}", *kept])


def position_text(position: QueuePosition) -> str:
    """The place of a request, what it waits for and when it may be met."""
    why = render(TEXTS, position.why.id, position.why.facts)
    if not position.place:
        return why
    expected_s = position.expected_s
    when = "not known" if expected_s is None else format_instant(expected_s)
    when = "now" if expected_s == position.now_s else when
    line = f"place {position.place} of {position.of} in the line for {position.request.pool}"
    return f"{line}: {why}; expected: {when}"


TEXTS: Texts = {
    "request": _request,
    "position.met": lambda until_s: (
        f"met; its GPUs are kept for it until {format_instant(until_s)}"
    ),
    "position.nothing-kept": lambda f: f"met; nothing is kept for it: {_closed(f)}",
    "position.closed": _closed,
    "position.cohort": "its cohort has not started",
    "position.free": "the GPUs are free, start the servers",
    "position.in-use": "the pool's GPUs are in use",
    "position.lent": _lent,
    "position.credits": lambda limited_by: f"waits for {BOUNDS[limited_by]}",
    "position.limit": lambda limited_by: f"held by {BOUNDS[limited_by]}",
    "position.capacity": lambda limited_by: BOUNDS.get(limited_by, SHORT),
    "kept.mode": lambda f: f"in mode {f.mode} nothing is stopped",
    "kept.freeze": lambda f: f"stops of {f.borrower} wait: {override_text(f.facts)}",
    "kept.exempt": lambda f: f"{f.borrower} is exempt: {override_text(f.facts)}",
    "kept.obstacle": lambda f: obstacle_text(f.pool, f.owner, f.facts),
    "kept.deferred": lambda f: f"the disruption budget defers a stop of {f.borrower}",
    "kept.no-notice": lambda f: f"no server of {f.borrower} has a notice",
}

"""Mutants that keep a daemon from becoming quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quotas.enforcement import stop_lifecycle
from quotas.enforcement.reminders import REMINDERS_S
from quotas.model.units import DAY_S
from quotas.state.notices import Notice
from scheduler.views import assemble

from ..scenario.events import NOBODY, Event
from ..scenario.script import Script
from .registry import mutant_of

CYCLE_S = 30


def _quiescent_when_reminded(script: Script) -> Script:
    """Quiescences begin again and again, each as soon as a reminder was sent."""
    often = [
        Event(at_s, NOBODY, "quiesce", (3 * DAY_S, "reminded"))
        for at_s in range(script.start_s + DAY_S, script.healed_s - 3 * DAY_S, 3 * DAY_S)
    ]
    events = [*often, *(e for e in script.events if e.who != NOBODY)]
    return replace(script, events=tuple(sorted(events, key=lambda e: e.at_s)))


@mutant_of(needs=_quiescent_when_reminded)
def what_was_reminded_is_reminded_again(patch: pytest.MonkeyPatch) -> None:
    """Reminders are not remembered: every cycle sends them again."""
    right = stop_lifecycle.reminder_due

    def wrong(notice: Notice, now_s: int) -> int | None:
        return right(replace(notice, reminded_s=None), now_s)

    patch.setattr(stop_lifecycle, "reminder_due", wrong)


@mutant_of()
def every_open_notice_is_reminded_of(patch: pytest.MonkeyPatch) -> None:
    """Every cycle sends a reminder of every open notice, however far its deadline is."""
    right = stop_lifecycle.reminder_due

    def wrong(notice: Notice, now_s: int) -> int | None:
        nearest = right(notice, now_s)
        is_live = notice.state == "open" and now_s < notice.deadline_s
        return max(REMINDERS_S) if is_live and nearest is None else nearest

    patch.setattr(stop_lifecycle, "reminder_due", wrong)


def _is_odd(work: Any) -> bool:
    return bool(work.snapshot.now_s // CYCLE_S % 2)


@mutant_of()
def a_notice_comes_and_goes(patch: pytest.MonkeyPatch) -> None:
    """In every other cycle far notices are cancelled and none is opened."""
    follow, open_notice = (
        stop_lifecycle.StopLifecycle.follow,
        stop_lifecycle.StopLifecycle.open_notice,
    )

    def follow_wrong(work: Any, notice: Notice, violation: Any) -> None:
        far = notice.state == "open" and notice.deadline_s - work.snapshot.now_s > 10 * CYCLE_S
        follow(work, notice, None if far and _is_odd(work) else violation)

    def give_wrong(work: Any, violation: Any) -> None:
        if not _is_odd(work):
            open_notice(work, violation)

    patch.setattr(stop_lifecycle.StopLifecycle, "follow", follow_wrong)
    patch.setattr(stop_lifecycle.StopLifecycle, "open_notice", give_wrong)


@mutant_of()
def what_runs_is_written_anew(patch: pytest.MonkeyPatch) -> None:
    """Every cycle counts every open run as changed."""
    right = assemble.meter

    def wrong(*args: Any) -> Any:
        metered = right(*args)
        return replace(metered, changed=tuple(metered.runs.values()))

    patch.setattr(assemble, "meter", wrong)

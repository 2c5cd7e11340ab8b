"""Quiescence in mid-play, and events that fall into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ..scenario.events import NOBODY, Event
from ..scenario.script import Script, draw
from .play import Play
from .quiescence import M_CYCLES, N_CYCLES

pytestmark = pytest.mark.usefixtures("deterministic")


def _with(*more: Event) -> Script:
    """A script with other quiescences, and with more events."""
    script = draw(5, 10)
    kept = [e for e in script.events if e.who != NOBODY]
    return replace(script, events=tuple(sorted((*kept, *more), key=lambda e: e.at_s)))


def _rest(script: Script) -> tuple[Play, list[int]]:
    """The play after its quiescence, and when that began and ended."""
    play, bounds = Play(script), []
    rested = play.quiescence._rested

    def noted() -> Iterator[None]:
        bounds.append(play.region.now_s)
        yield from rested()
        bounds.append(play.region.now_s)

    play.quiescence._rested = noted  # type: ignore[method-assign]  # the same, with a look at the clock
    play.run_to(script.healed_s)
    return play, bounds


REST = Event(_with().start_s + 3 * 86_400, NOBODY, "quiesce", (0, "open"))


def test_what_falls_into_a_rest_happens_after_it() -> None:
    """The first cycle after a quiescence makes a grant that was due in the middle of it."""
    _, (began_s, ended_s) = _rest(_with(REST))
    assert ended_s - began_s >= 30 * (N_CYCLES + M_CYCLES)
    more = Event((began_s + ended_s) // 2, "operator", "grant", ("acme", "late", 50, 30))
    play, again = _rest(_with(REST, more))
    assert again == [began_s, ended_s] and play.quiescence.wrong == []
    made = play.book.posted["grant:acme:late"]
    assert ended_s <= made.recorded_s <= ended_s + 60


def test_a_script_without_rests_has_none() -> None:
    """A quiescence is an event like any other: a script that shrinks may lose it."""
    play, bounds = _rest(_with())
    assert bounds == [] and play.quiescence.held == 0

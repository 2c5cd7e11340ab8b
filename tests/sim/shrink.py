"""Which events of a failing script are needed for it to fail? Drops parts while it still does.

`python -m tests.sim.shrink SEED DAYS FILE` writes the least script it finds; one that lies in
tests/sim/regressions/ is played again by every run of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .auditor import faults_of
from .play import Play
from .script import Script, draw
from .soak import quiet
from .wiring import wired


def fails(script: Script) -> bool:
    """Whether the auditor finds anything in a script's play."""
    with wired():
        play = Play(script)
        play.run()
    return bool(faults_of(play))


def shrink(script: Script, still: Callable[[Script], bool] = fails) -> Script:
    """The script without every window, die and event that it fails without."""
    for name, none in (("dice", {}), ("daemons", 1)):
        calmer = replace(script, **{name: none})
        script = calmer if still(calmer) else script
    windows = _least(script.windows, lambda part: still(replace(script, windows=part)))
    calmer = replace(script, windows=windows)
    events = _least(calmer.events, lambda part: still(replace(calmer, events=part)))
    return replace(calmer, events=events)


def _least(parts: tuple[Any, ...], still: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
    """Halves, then quarters, and so on down to single parts, are dropped where they may be."""
    size = len(parts)
    while size:
        at = 0
        while at < len(parts):
            fewer = parts[:at] + parts[at + size :]
            if still(fewer):
                parts = fewer
            else:
                at += size
        size //= 2
    return parts


if __name__ == "__main__":
    quiet()
    seed, days, path = sys.argv[1:]
    Path(path).write_text(shrink(draw(int(seed), int(days))).to_json())

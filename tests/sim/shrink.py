"""Which events of a failing script are needed for it to fail? Drops parts while it still does.

`python -m tests.sim.shrink SEED DAYS FILE` writes the least script it finds; one that lies in
tests/sim/regressions/ is played again by every run of the tests. `--sql` after FILE plays on
the real book, which alone has IAM and milestones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .auditor import faults_of
from .play import Play
from .script import Script, draw
from .soak import quiet
from .wiring import wired


def fails(script: Script, *, sql: bool = False) -> bool:
    """Whether the auditor finds anything in a script's play."""
    with wired():
        play = Play(script, sql=sql)
        play.run()
    return bool(faults_of(play))


NONE = (("dice", {}), ("daemons", 1), ("iam", False), ("hasty", 0.0), ("milestones", ()))
"""What a script is without each thing that may be left out whole."""


def shrink(script: Script, still: Callable[[Script], bool] = fails) -> Script:
    """The script without every window, die and event that it fails without."""
    for name, none in NONE:
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
    seed, days, path, *rest = sys.argv[1:]
    still = partial(fails, sql=rest == ["--sql"])
    Path(path).write_text(shrink(draw(int(seed), int(days)), still).to_json())

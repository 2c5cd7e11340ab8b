"""Shrinks a failing script to the events that it needs to fail.

`python -m tests.sim.soak.shrink SEED DAYS FILE` writes the smallest script it finds that breaks
the same invariant as the whole script. Every test run plays the scripts in
tests/sim/soak/regressions/ again. `--sql` after FILE plays on the real book, which alone has IAM
and milestones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..audit.evidence import evidence_of
from ..mutants.hunt import invariant_of
from ..play.play import Play
from ..play.wiring import wired
from ..scenario.script import Script, draw
from .run import quiet, wrong_with


@dataclass(frozen=True, slots=True)
class Kept:
    """A script that once broke an invariant; `sql` means on the real book."""

    script: Script
    invariant: str
    sql: bool

    def to_json(self) -> str:
        """The whole as text, for a file of its own."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Kept:
        """What `to_json` wrote."""
        body = json.loads(text)
        return cls(Script.from_json(json.dumps(body.pop("script"))), **body)


def faults_in(script: Script, *, sql: bool) -> list[str]:
    """Every fault that a soak would report for a script: audit, `verify` and instability."""
    with wired():
        play = Play(script, sql=sql)
        play.run()
        return wrong_with(play, evidence_of(play))


def least(
    script: Script, *, sql: bool = False, faults: Callable[..., list[str]] = faults_in
) -> Kept:
    """The script without the parts that it does not need to break the same invariant.

    Raises ValueError if the script breaks none.
    """

    def broken(each: Script) -> list[str]:
        try:
            found = faults(each, sql=sql)
        except Exception as error:  # a play that falls over is another fault, or the one sought
            return [type(error).__name__]
        return [invariant_of(fault) for fault in found]

    first, *_ = broken(script) or [""]
    if not first:
        raise ValueError(f"nothing is wrong with seed {script.seed} of {script.days} days")
    return Kept(shrink(script, lambda each: first in broken(each)), first, sql)


NONE = (("dice", {}), ("daemons", 1), ("iam", False), ("hasty", 0.0), ("milestones", ()))
"""The script without each thing that may be left out as a whole."""


def shrink(script: Script, still: Callable[[Script], bool]) -> Script:
    """The script without every window, die and event that its fault does not need."""
    for name, none in NONE:
        calmer = replace(script, **{name: none})
        script = calmer if still(calmer) else script
    windows = _least(script.windows, lambda part: still(replace(script, windows=part)))
    calmer = replace(script, windows=windows)
    events = _least(calmer.events, lambda part: still(replace(calmer, events=part)))
    return replace(calmer, events=events)


def _least(parts: tuple[Any, ...], still: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
    """Drop halves, then quarters, and so on down to single parts, if the script still fails."""
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
    Path(path).write_text(least(draw(int(seed), int(days)), sql=rest == ["--sql"]).to_json())

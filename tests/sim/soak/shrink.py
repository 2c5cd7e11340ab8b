"""Which events of a failing script are needed for it to fail? Drops parts while it still does.

`python -m tests.sim.soak.shrink SEED DAYS FILE` writes the least script it finds that breaks
what the whole one breaks first; one that lies in tests/sim/soak/regressions/ is played again by
every run of the tests. `--sql` after FILE plays on the real book, which alone has IAM and
milestones, and so does every play of the file.
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
    """A script that broke an invariant once; `sql` says that it did so on the real book."""

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
    """All that a soak would call broken in a script's play: audit, `verify` and unrest."""
    with wired():
        play = Play(script, sql=sql)
        play.run()
        return wrong_with(play, evidence_of(play))


def least(
    script: Script, *, sql: bool = False, faults: Callable[..., list[str]] = faults_in
) -> Kept:
    """The script without what it does not need to break the invariant that it breaks first.

    Raises ValueError where it breaks none.
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
"""What a script is without each thing that may be left out whole."""


def shrink(script: Script, still: Callable[[Script], bool]) -> Script:
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
    Path(path).write_text(least(draw(int(seed), int(days)), sql=rest == ["--sql"]).to_json())

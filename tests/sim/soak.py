"""Plays many seeds with faults and audits each: `make soak SEEDS=200`.

Prints a line for each seed that fails, progress on the way, and a summary; exit 1 when
an invariant was broken. A failing seed is looked at again with `--first SEED --seeds 1`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

import structlog
from rich.progress import track

from quotas.book.verify import verify
from quotas.units import HOUR_S
from scheduler.clock import monotonic

from .auditor import Audit
from .play import END_S, Play


def faults_of(seed: int) -> tuple[list[str], set[str]]:
    """What the auditor and the book's own check find wrong in a seed, and its marks."""
    play = Play(seed)
    play.run(END_S + 3 * HOUR_S)
    audit = Audit(play)
    found = list(audit.all())
    fault = verify(play.book).fault
    return found + ([f"verify: {fault}"] if fault else []), audit.marks()


def main() -> int:
    """Play the seeds; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began, broken, marks = monotonic(), 0, Counter[str]()
    for seed in track(range(options.first, options.first + options.seeds), "playing seeds"):
        found, fired = faults_of(seed)
        marks.update(fired)
        broken += bool(found)
        for text in found:
            print(f"seed {seed}: {text}")
    minutes = (monotonic() - began) / 60
    for mark, seeds in sorted(marks.items()):
        print(f"{mark}: in {seeds} of {options.seeds} seeds")
    rate = options.seeds / minutes if minutes else 0
    print(f"{options.seeds} seeds, {broken} broken, {rate:.0f} seeds per minute")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

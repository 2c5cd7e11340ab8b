"""Which bugs, planted on purpose, does a seed find, and who noticed? Stops at the first fault.

A bug is found by the auditor's invariants, or by the product's own guards: an exception that
a module of `quotas` or `scheduler` raises on purpose. A play that falls over in any other
way has crashed: that finds nothing, and is counted by itself.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pytest

from . import planted_books, planted_closing, planted_conduct, planted_metering
from .auditor import faults_early, faults_of
from .planting import MUTANTS, Mutant
from .play import Play
from .script import draw
from .wiring import wired

__all__ = ["MUTANTS", "Mutant", "killed_by"]
PLANTED_IN = (planted_books, planted_closing, planted_conduct, planted_metering)
GUARDS = (ArithmeticError, AssertionError, ValueError)
"""What the product raises where an amount, a period or a transfer is no such thing."""
MOST_CYCLES_A_DAY = 50
MOST_CPU_S = 30.0
LOOKS = 4
"""How often a mutant's play is audited before its end: most bugs show early."""


def killed_by(mutant: Mutant, seed: int, days: int) -> str:
    """Who finds the bug in a seed: an invariant, "guard", "crash" or "" for nobody."""
    script = draw(seed, days)
    script = mutant.needs(script) if mutant.needs else script
    patch = pytest.MonkeyPatch()
    mutant.plant(patch)
    try:
        with bounded(MOST_CPU_S), wired():
            play = Play(script, sql=mutant.sql)
            play.most_cycles = MOST_CYCLES_A_DAY * days
            for part in range(1, LOOKS):
                until_s = script.start_s + part * (script.end_s - script.start_s) // LOOKS
                play.run_to(until_s)
                if early := faults_early(play):
                    return invariant_of(early[0])
            play.run()
        found = faults_of(play)
        return invariant_of(found[0]) if found else ""
    except GUARDS as error:
        return "guard" if _is_ours(error.__traceback__) else "crash"
    except Exception:
        return "crash"
    finally:
        patch.undo()


class Endless(Exception):
    """A planted bug keeps the product in a loop, in which it asks nobody."""


@contextmanager
def bounded(cpu_s: float) -> Iterator[None]:
    """Raise Endless where a play takes more CPU time than that."""

    def over(*_: object) -> None:
        raise Endless

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def invariant_of(fault: str) -> str:
    """The invariant, promise or rule that a fault's sentence begins with."""
    return re.split(r"[ :]", fault)[0]


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is of the product."""
    path = ""
    while trace is not None:
        path, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return not {"quotas", "scheduler"}.isdisjoint(Path(path).parts) and "tests" not in path

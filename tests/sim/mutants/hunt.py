"""The hunt for mutants: plays a seed with a planted bug until somebody notices the bug.

A bug is found by the auditor's invariants, or by the product's own checks: an exception that
a module of `quotas` or `scheduler` raises on purpose. A play that fails in any other way has
crashed. A crash finds nothing, and is counted separately. A mutant whose planted code never
runs is inert: the product no longer asks the rule that the mutant breaks.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from ..audit.auditor import faults_early, faults_of, instability_of
from ..play.play import Play
from ..play.wiring import wired
from ..scenario.script import Script, draw
from . import conduct, iam_closing, ledger, metering, quiescence
from .patch import CountingPatch
from .registry import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "killed_by"]
MUTANT_MODULES = (ledger, iam_closing, conduct, metering, quiescence)
CHECKS = (ArithmeticError, AssertionError, ValueError)
"""The product's exceptions for values that are no amount, period or transfer."""
MOST_CYCLES_A_DAY = 600
MOST_CPU_S = 90.0
STAGES = 4
"""How often a mutant's play is audited before its end: most bugs show early."""
UNCLEAN = "baseline"
"""A kill that does not count: the same script fails without the bug."""
INERT = "inert"
"""The result of a play without a fault in which the planted code never ran."""


def killed_by(mutant: Mutant, seed: int, days: int) -> str:
    """Who finds the bug in a seed: an invariant, "check", "crash", "baseline", "inert" or ""."""
    script = draw(seed, days)
    script = mutant.needs(script) if mutant.needs else script
    patch = CountingPatch()
    mutant.apply(patch)
    stages = StagedAudit(script, mutant.sql)
    try:
        found = stages.first_fault()
    finally:
        patch.undo()
    needs = mutant.needs if found not in ("", "crash") else None
    if needs is not None and baseline_fault(needs, mutant.sql, seed, days, stages.at):
        return UNCLEAN
    if not found and not patch.uses:
        return INERT
    return found and invariant_of(found)


@lru_cache(maxsize=1_000)
def baseline_fault(
    needs: Callable[[Script], Script], sql: bool, seed: int, days: int, stages: int = STAGES
) -> str:
    """What is wrong with a script of mutants when no bug is planted in it, up to a look."""
    return StagedAudit(needs(draw(seed, days)), sql).first_fault(stages)


class StagedAudit:
    """A play that is audited at each part, until an audit finds a fault."""

    def __init__(self, script: Script, sql: bool) -> None:
        self.script, self.sql = script, sql
        self.at = 0
        """The number of the current look; the last one is after the end of the play."""

    def first_fault(self, stages: int = STAGES) -> str:
        """The first sentence of a fault, "check", "crash", or "" if there is none."""
        try:
            with bounded(MOST_CPU_S), wired():
                play = Play(self.script, sql=self.sql)
                play.most_cycles = MOST_CYCLES_A_DAY * self.script.days
                for self.at in range(1, stages + 1):
                    if wrong := self._look(play):
                        return wrong[0]
        except CHECKS as error:
            return "check" if _is_ours(error.__traceback__) else "crash"
        except Exception:
            return "crash"
        return ""

    def _look(self, play: Play) -> list[str]:
        if self.at < STAGES:
            script = self.script
            play.run_to(script.start_s + self.at * (script.end_s - script.start_s) // STAGES)
            return faults_early(play)
        play.run()
        return faults_of(play) or instability_of(play)


class Endless(Exception):
    """A planted bug keeps the product in an endless loop, which no check ends."""


@contextmanager
def bounded(cpu_s: float) -> Iterator[None]:
    """Raise Endless if a play takes more CPU time than that."""

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

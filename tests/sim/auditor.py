"""Is what the daemon did right? Judged from the region's own truth and the book's rows.

The auditor uses none of the rules of `quotas`, so that a fault there cannot hide itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .books_audit import books, leftovers
from .conduct_audit import after_the_end, conduct, deeds
from .evidence import Evidence, evidence_of
from .metering_audit import metering
from .play import Play
from .rules_audit import rules

CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    books,
    leftovers,
    metering,
    conduct,
    rules,
)
INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I11", "I12", "I13", "I14")
INVARIANTS += ("I15", "I16", "I18", "I19", "I21")


def faults_of(play: Play) -> list[str]:
    """Everything that is wrong with a finished play, a sentence each."""
    found = evidence_of(play)
    wrong = [*found.watched, *play.watch.kept()]
    wrong += [text for check in CHECKS for text in check(found)]
    if found.script.mode == "enforce":
        wrong += after_the_end(found)
    if play.count >= play.most_cycles:
        wrong.append(f"I17 {play.count} cycles, and still something to do at once")
    return wrong


def faults_early(play: Play) -> list[str]:
    """What is wrong already, in the middle of a play: of what no later row could excuse."""
    found = evidence_of(play)
    stormy = [f"I17 a storm of {play.count} cycles"] if play.count >= play.most_cycles else []
    return [*stormy, *found.watched, *books(found), *deeds(found)]


def marks_of(play: Play) -> set[str]:
    """What happened at all in this play: a batch in which one never does is too tame."""
    found = evidence_of(play)
    marks = {f"intent {i['state']}" for i in found.intents}
    marks |= {f"notice {n['rule']} {n['state']}" for n in found.notices}
    marks |= {s.outcome for sweeps in found.swept.values() for s in sweeps}
    marks |= {"dispute"} if found.disputes else set()
    marks |= {row["kind"] for row in found.transfers}
    marks |= {f"call {call.answer}" for call in found.calls}
    marks |= {f"decision {d['verb']}" for d in found.decisions}
    if any(a.startswith("overdraft:") for row in found.transfers for a, _ in row["entries"]):
        marks.add("overdraft")
    return marks | {f"fault {kind}" for kind, count in play.injected.items() if count}

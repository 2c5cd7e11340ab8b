"""The auditor judges the daemon from the region's own truth and the book's rows.

The auditor uses none of the rules of `quotas`, so that a fault there cannot hide itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from quotas.state.notices import IntentCode

from ..ahead_audit import ahead
from ..play.play import Play
from ..play.quiescence import M_CYCLES, N_CYCLES
from . import iam
from .conduct import calls, conduct
from .evidence import Evidence, evidence_of
from .ledger import books, held, leftovers
from .metering import metering
from .milestones import milestones
from .reclaim import unserved_owners
from .rules import CleanCycles, rules
from .stops import overdue_stops

CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    books,
    held,
    leftovers,
    milestones,
    ahead,
    metering,
    conduct,
    overdue_stops,
    iam.iam,
)
QUIET_CYCLES = M_CYCLES


def faults_of(play: Play, found: Evidence | None = None) -> list[str]:
    """Everything that is wrong with a finished play, one sentence each."""
    found = found or evidence_of(play)
    wrong = [*found.watched, *play.quiescence.wrong, *play.cycle_checks.kept()]
    wrong += [text for check in CHECKS for text in check(found)]
    clean_cycles = CleanCycles(found)
    wrong += [*rules(clean_cycles), *unserved_owners(clean_cycles)]
    if play.count >= play.most_cycles:
        wrong.append(f"I17 {play.count} cycles, and still something to do at once")
    return wrong


def faults_early(play: Play) -> list[str]:
    """Everything that is wrong in the middle of a play, and that no later row could tolerate."""
    found = evidence_of(play)
    stormy = [f"I17 a storm of {play.count} cycles"] if play.count >= play.most_cycles else []
    return [
        *stormy,
        *found.watched,
        *play.quiescence.wrong,
        *books(found),
        *calls(found),
        *iam.changes(found),
        *milestones(found),
        *ahead(found),
    ]


def instability_of(play: Play) -> list[str]:
    """I17: at its fixpoint, a healed daemon writes nothing in ten more cycles."""
    before = _counts(play)
    play.cycle_checks.checks["I17"] += len(play.settle(QUIET_CYCLES))
    after = _counts(play)
    stirred = [name for name, count in after.items() if count != before[name]]
    return [f"I17 ten quiet cycles wrote {', '.join(stirred)}"] if stirred else []


def _counts(play: Play) -> dict[str, int]:
    found = evidence_of(play)
    names = ("transfers", "decisions", "notices", "intents", "unconfirmed_periods", "requests")
    counts = {name: len(getattr(found, name)) for name in names}
    # A closed startup's rules are read again each hour: that is written, and changes nothing.
    results = [intent["result"] for intent in found.intents if intent["result"]]
    counts["intents"] -= sum(r.code == IntentCode.POLICIES and not r.policies for r in results)
    return counts | {"policies": len(found.organization.log)}


def checks_of(play: Play, found: Evidence) -> Counter[str]:
    """How often each invariant was judged in a play; tolerated cases do not count."""
    rests = Counter({"I17": play.quiescence.held * (N_CYCLES + M_CYCLES)})
    return found.judged + rests + play.cycle_checks.checks


def coverage_marks_of(play: Play, found: Evidence) -> set[str]:
    """What happened in this play: a batch in which some mark never fires proves little."""
    coverage_marks = {f"intent {i['state']}" for i in found.intents}
    coverage_marks |= {f"notice {n['rule']} {n['state']}" for n in found.notices}
    # A notice whose server runs again is over in the end: what came of it is in the decisions.
    ended = (d for d in found.decisions if d["verb"] in ("executed", "restarted"))
    coverage_marks |= {f"notice {d['rule']} {d['verb']}" for d in ended}
    coverage_marks |= {s.outcome for sweeps in found.swept.values() for s in sweeps}
    coverage_marks |= {"unconfirmed"} if found.unconfirmed_periods else set()
    coverage_marks |= {"quiescence"} if play.quiescence.held else set()
    coverage_marks |= {row["kind"] for row in found.transfers}
    coverage_marks |= {f"call {call.answer}" for call in found.calls}
    coverage_marks |= iam.coverage_marks(found)
    coverage_marks |= {f"decision {d['verb']}" for d in found.decisions}
    if any(a.startswith("overdraft:") for row in found.transfers for a, _ in row["entries"]):
        coverage_marks.add("overdraft")
    coverage_marks |= {
        f"action {verb}" for verb in play.program_operator.done if "refused" not in verb
    }
    return coverage_marks | {f"fault {kind}" for kind, count in play.injected.items() if count}

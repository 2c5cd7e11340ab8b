"""The report of a soak: checks by invariant, faults by class, and coverage marks."""

from __future__ import annotations

from collections.abc import Mapping

from ..scenario.events import CALLS, DICE, IAM, LISTINGS, POINTS, READS

CLASSES = {
    "faults of the clock": ("clock step",),
    "faults of the process": ("crash ", "stall ", "slow "),
    "faults of the database": ("error ",),
    "faults of reads": READS,
    "faults of the catalogue": LISTINGS,
    "faults of calls": CALLS,
    "faults of IAM": IAM,
    "what the provider did": ("provider ",),
    "what people did": ("operator ", "hand "),
    "what came of it": ("cycle failed ", "observed", "follower"),
}
"""The class of each count, by the first letters of its name; only the first class are faults."""
COVERAGE_MARKS = (
    *("Complete", "Partial", "Unknown", "unconfirmed", "overdraft"),
    *("charge", "grant", "expiry", "void", "rollover"),
    *("hold", "settle", "hold-void", "hold-expiry"),
    *(f"intent {state}" for state in ("confirmed", "failed", "expired")),
    *(f"call {answer}" for answer in ("done", "Conflict", "Throttled", "Unreachable")),
    *("call KeyRefused", "call Forbidden"),
    *(f"notice {rule} executed" for rule in ("credits", "limit", "standby", "cohort-end")),
    *(f"notice {rule} executed" for rule in ("reclaim", "membership", "operator")),
    *("notice credits restarted", "notice overuse announced", "notice runway announced"),
    *(f"decision {verb}" for verb in ("defer", "fulfil", "extend", "remind", "would-stop")),
    *(
        f"action {verb}"
        for verb in ("acknowledge", "snooze", "undo", "approve", "override", "request")
    ),
    *(f"action {verb}" for verb in ("cut", "join", "leave", "pass")),
)
"""Events that must happen in a batch of a hundred seeds."""
SQL_COVERAGE_MARKS = (
    *(
        "refund",
        "action refund",
        "action move",
        "action advance",
        "action accept",
        "action confirm",
    ),
    "action ahead",
    *("closing close", "closing reopen", "iam narrowed", "iam restored", "iam edited"),
    *("revoked revoked", "revoked ended"),
)
"""Events that only the real book can have."""
ENOUGH = 100


FAULTS = (*READS, *CALLS, *LISTINGS, "clock step")
FAULTS += tuple(f"{die} {point}" for die in DICE for point in POINTS)
"""Every kind of fault; each must happen in a batch of a hundred seeds."""


def silent(
    coverage_marks: Mapping[str, int], injected: Mapping[str, int], seeds: int, *, real: bool
) -> list[str]:
    """Marks that never fired and faults that never happened, in a batch that is large enough."""
    if seeds < ENOUGH:
        return []
    wanted = (*COVERAGE_MARKS, *SQL_COVERAGE_MARKS) if real else COVERAGE_MARKS
    faults = (*FAULTS, *IAM) if real else FAULTS
    tame = [mark for mark in wanted if not coverage_marks.get(mark)]
    return tame + [f"fault {kind}" for kind in faults if not injected.get(kind)]


def by_class(injected: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """What happened, counted by class; the rest is under "other"."""
    found: dict[str, dict[str, int]] = {}
    for kind, count in sorted(injected.items()):
        of = next((c for c, names in CLASSES.items() if kind.startswith(names)), "other")
        found.setdefault(of, {})[kind] = count
    return found


def lines(
    seeds: int,
    broken: int,
    cycles: int,
    seconds: float,
    *,
    of: str,
    checks: Mapping[str, int],
    injected: Mapping[str, int],
    coverage_marks: Mapping[str, int],
) -> list[str]:
    """The lines of the report."""
    rate = 60 * seeds / seconds if seconds else 0
    text = [
        f"{of}: {seeds} played, {broken} broken, {cycles} cycles, "
        f"{rate:.1f} seeds per minute and core",
        f"invariants judged: {counted(checks)}",
    ]
    classes = by_class(injected)
    for name in (*CLASSES, "other"):
        kinds = classes.get(name, {})
        text += [f"{name}: {sum(kinds.values())} ({counted(kinds)})"] if kinds else []
    text.append(f"marks, by seeds in which they fired: {counted(coverage_marks)}")
    return text


def counted(of: Mapping[str, int]) -> str:
    """Names with their counts, in order."""
    named = sorted(of.items(), key=lambda each: _order(each[0]))
    return ", ".join(f"{name} {count}" for name, count in named) or "none"


def _order(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return head, int(digits) if digits else 0

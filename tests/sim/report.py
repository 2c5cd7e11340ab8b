"""What does a person read of a soak? Faults by class, checks by invariant, marks that fired."""

from __future__ import annotations

from collections.abc import Mapping

CLASSES = {
    "clock": ("clock step", "observed"),
    "process": ("crash", "stall", "slow"),
    "database": ("error", "heard OperationalError", "heard Overdrawn"),
    "leadership": ("standby", "heard StaleEpoch"),
    "people meanwhile": ("heard Overtaken",),
    "reads": ("outage", "partial", "stale", "shuffled", "unknown-state"),
    "calls": ("throttle", "refuse", "lost-before", "lost-after", "late", "iam-"),
    "world": ("provider",),
    "people": ("operator",),
}
"""Which faults are of which class, by what their names begin with."""
MARKS = (
    *("Complete", "Partial", "Unknown", "dispute", "overdraft"),
    *("charge", "grant", "expiry", "void", "rollover", "repayment"),
    *("hold", "settle", "hold-void", "hold-expiry"),
    *(f"intent {state}" for state in ("confirmed", "failed", "expired")),
    *(f"call {answer}" for answer in ("done", "Conflict", "Throttled", "Unreachable")),
    *(f"notice {rule} executed" for rule in ("credits", "limit", "leaked", "cohort-end")),
    *(f"notice {rule} executed" for rule in ("borrowed", "membership", "operator")),
    *("notice credits restored", "notice excess told", "notice runway told"),
    *(f"decision {verb}" for verb in ("hold", "meet", "renew", "remind", "would-stop")),
    *(f"deed {verb}" for verb in ("acknowledge", "snooze", "undo", "approve", "say", "request")),
    *(f"deed {verb}" for verb in ("cut", "join", "leave", "pass")),
)
"""What has to happen in a batch of a hundred seeds."""
REAL_MARKS = (
    *("refund", "deed refund", "deed move", "deed advance", "deed accept", "deed confirm"),
    *("closing close", "closing reopen", "iam narrowed", "iam restored", "iam edited"),
    *("withheld withheld", "withheld ended"),
)
"""What only the real book can do."""
ENOUGH = 100


def silent(marks: Mapping[str, int], seeds: int, *, real: bool) -> list[str]:
    """Marks that never fired in a batch that is large enough to ask."""
    wanted = (*MARKS, *REAL_MARKS) if real else MARKS
    return [mark for mark in wanted if not marks.get(mark)] if seeds >= ENOUGH else []


def by_class(injected: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Faults counted by class; what has no class stands under "other"."""
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
    tier: str,
    checks: Mapping[str, int],
    injected: Mapping[str, int],
    marks: Mapping[str, int],
) -> list[str]:
    """The report, a line for each thing."""
    rate = 60 * seeds / seconds if seconds else 0
    told = [
        f"seeds: {seeds} {tier}, {broken} broken, {cycles} cycles, "
        f"{rate:.0f} seeds per minute and core",
        f"invariants checked: {counted(checks)}",
    ]
    for of, kinds in by_class(injected).items():
        told.append(f"faults, {of}: {sum(kinds.values())} ({counted(kinds)})")
    told.append(f"marks, by seeds in which they fired: {counted(marks)}")
    return told


def counted(of: Mapping[str, int]) -> str:
    """Names with their counts, in order."""
    named = sorted(of.items(), key=lambda each: _order(each[0]))
    return ", ".join(f"{name} {count}" for name, count in named) or "none"


def _order(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return head, int(digits) if digits else 0

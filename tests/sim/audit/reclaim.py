"""I10: an owner that asks gets its nominal quota back, as far as others run above theirs.

The auditor looks at each clean cycle. If an owner asks for nominal quota that is not free,
notices that end within R must free as many GPUs as are missing, or all that others run above
their own quota. The owner must have its quota once R and a stop have passed, unless somebody
began to run in the meantime, or the book records why not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .conduct import FRESH_S, NOTICE_S, STOP_S
from .evidence import Row
from .metering import SLACK_S
from .rules import DAY_S, CleanCycles, gpus_of

RUNTIME_S = 3_600
R_S = RUNTIME_S + NOTICE_S + 2 * FRESH_S
"""Minimum runtime and notice; how long the stop takes is I11."""
CARRIES_UCR = 100_000_000
"""Credit for each GPU with which no share is limited by credits."""
POOL = "h100"
TOLD_FOR_S = 3 * DAY_S
"""How long a reclaim that was recorded as deferred may stay so: longer than a request lasts."""
OVER = ("cancelled", "executed", "restarted", "shadow", "finished")


@dataclass(frozen=True, slots=True)
class Wait:
    """An owner that waits at a look, and how many GPUs others owe it or all waiting owners."""

    owner: str
    owed: int
    others: dict[str, int]
    """Servers of everybody who does not wait, with their GPUs."""


def unserved_owners(clean_cycles: CleanCycles) -> Iterator[str]:
    """Every owner for which too little is on its way, or which waited too long."""
    audit = _ReclaimAudit(clean_cycles)
    waits = {at_s: audit.waits(at_s) for at_s in clean_cycles.at if audit.asks(at_s)}
    for at_s, own in waits.items():
        for wait in own:
            yield from audit.on_its_way(wait, at_s)
            if clean_cycles.found.script.mode == "enforce":  # in shadow nobody is made to give way
                yield from audit.comes_true(wait, at_s, waits)


class _ReclaimAudit:
    def __init__(self, clean_cycles: CleanCycles) -> None:
        self.clean_cycles, self.found = clean_cycles, clean_cycles.found
        self.requests = [r for r in self.found.requests if r["pool"] == POOL]
        self.recorded = [row["recorded_s"] for row in self.found.transfers]
        self.ends: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.holds = [made for made in self.found.decisions if made["verb"] == "defer"]
        for made in self.found.decisions:
            if made["verb"] in OVER:
                self.ends[made["server_id"], made["rule"]].append(made["at_s"])
        self.starts = sorted(
            (start_s, server) for server, spans in self.found.truth.items() for start_s, _ in spans
        )

    def asks(self, at_s: int) -> bool:
        """Whether any owner asks for its quota."""
        return any(r["opened_s"] < at_s and _lasts(r, at_s) for r in self.requests)

    # -- who waits ----------------------------------------------------------------------

    def waits(self, at_s: int) -> list[Wait]:
        """Owners whose requested nominal quota others use, and what all of them need together."""
        program = self.clean_cycles.program(at_s)
        if program is None or self._says(at_s, "shortage", POOL):
            return []
        used, sure = self._used(program, at_s), dict(self.clean_cycles.running(at_s))
        capacity = program.pools[0].gpus_at(at_s)
        nominal = {s.name: s.nominal.get(POOL, 0) for s in program.startups()}
        if sum(nominal.values()) > capacity or set(used) - set(nominal):
            return []
        free = capacity - sum(g for own in used.values() for s, g in own.items() if s in sure)
        missing = {
            s.name: count
            for s in program.startups()
            if (count := self._missing(s, capacity, sum(used[s.name].values()), at_s)) > 0
        }
        above = {
            name: max(0, sum(g for s, g in own.items() if s in sure) - nominal[name])
            for name, own in used.items()
        }
        # GPUs given to a startup that is exempt are not taken from the others instead.
        spared = sum(above.pop(n) for n in list(above) if self._is_let_off(n, used[n], at_s))
        others = {s: g for name, own in used.items() if name not in missing for s, g in own.items()}
        need = sum(missing.values()) - max(0, free) - spared
        owed = min(need, sum(above.values()))
        return [Wait(n, owed, others) for n in missing if owed > 0]

    def _used(self, program: Any, at_s: int) -> dict[str, dict[str, int]]:
        """GPUs of all servers that run at about this time, by startup."""
        used: dict[str, dict[str, int]] = defaultdict(dict)
        for server, spans in self.found.truth.items():
            for start_s, end_s in spans:
                if start_s < at_s + SLACK_S and end_s > at_s - SLACK_S:
                    owner = program.owner(self.found.projects[server], at_s)
                    if owner is not None:
                        used[owner.name][server] = gpus_of(*self.found.kinds[server, start_s])
        return used

    def _missing(self, startup: Any, capacity: int, used: int, at_s: int) -> int:
        """How many GPUs of its nominal quota a startup asks for and does not use."""
        asks = sum(
            r["gpus"]
            for r in self.requests
            if r["startup"] == startup.name
            and r["opened_s"] < at_s - FRESH_S
            and _lasts(r, at_s + FRESH_S)
        )
        limit = startup.limit.get(POOL)
        nominal = startup.nominal.get(POOL, 0)
        most = min(nominal, capacity if limit is None else limit)
        missing = min(asks, most) - used
        if missing <= 0 or self._says(at_s, "level", startup.name):
            return 0
        let_off = (
            n["episode"].split(":")[3] == startup.name
            for n in self.found.notices
            if n["rule"] == "deferral" and at_s - TOLD_FOR_S <= n["opened_s"] <= at_s + FRESH_S
        )
        return missing if self._carries(startup.name, most, at_s) and not any(let_off) else 0

    def _says(self, at_s: int, family: str, *subjects: str) -> bool:
        """Whether an override of a family applies to one of these subjects."""
        return any(
            w.family == family
            and w.subject in subjects
            and w.at_s <= at_s + FRESH_S
            and (w.until_s is None or w.until_s > at_s - FRESH_S)
            for w in self.found.overrides
        )

    def _is_let_off(self, name: str, servers: dict[str, int], at_s: int) -> bool:
        """Whether something of a borrower is frozen, exempt, undone, or refused to stop."""
        return self.clean_cycles.is_troubled(at_s, f"startup:{name}", *servers) or self._says(
            at_s, "level", name
        )

    def _carries(self, name: str, gpus: int, at_s: int) -> bool:
        """Whether the owner has enough credits, so that they limit nothing."""
        left = sum(
            ucr
            for row in self.found.transfers[: bisect_right(self.recorded, at_s)]
            for account, ucr in row["entries"]
            if account.startswith(f"grant:{name}:") and row["at_s"] <= at_s
        )
        return left > CARRIES_UCR * max(1, gpus)

    # -- what is done for it ------------------------------------------------------------

    def on_its_way(self, wait: Wait, at_s: int) -> Iterator[str]:
        """Notices that end within R free the missing GPUs, and all that others run above quota."""
        self.found.judged["I10"] += 1
        due = sum(
            gpus
            for server, gpus in wait.others.items()
            if any(self._gives_way(n, at_s) for n in self.clean_cycles.notices[server])
        )
        if due < wait.owed:
            yield (
                f"I10 {wait.owner} waits at {at_s}, others run {wait.owed} GPUs of what it needs "
                f"above theirs, and {due} have a notice"
            )

    def _gives_way(self, notice: Row, at_s: int) -> bool:
        """Whether a notice is open and ends within R; snoozes and the budget may defer it."""
        if notice["opened_s"] > at_s + FRESH_S:
            return False
        ended = self.ends[notice["server_id"], notice["rule"]]
        since = bisect_right(ended, notice["opened_s"])
        if notice["state"] in OVER and ended[since : since + 1] and ended[since] <= at_s:
            return False
        due_s = notice["deadline_s"] - notice["snoozed_s"]
        return bool(due_s <= max(notice["opened_s"], at_s) + R_S)

    def comes_true(self, wait: Wait, at_s: int, waits: dict[int, list[Wait]]) -> Iterator[str]:
        """After R and a stop, an undisturbed owner does not wait any more."""
        clean_cycles = self.clean_cycles
        first = bisect_left(clean_cycles.at, at_s + R_S + STOP_S)
        for later_s in clean_cycles.at[first : first + 1]:
            still = {each.owner: each for each in waits.get(later_s, ())}
            if self._is_disturbed(wait, at_s, later_s):
                continue
            self.found.judged["I10"] += 1
            if wait.owner in still:
                yield f"I10 {wait.owner} waits at {later_s} for what it waited for at {at_s}"

    def _is_disturbed(self, wait: Wait, from_s: int, to_s: int) -> bool:
        """Whether something on record between two looks may make the wait longer."""
        began = self.starts[
            bisect_left(self.starts, (from_s - SLACK_S, "")) : bisect_left(self.starts, (to_s, ""))
        ]
        asked = any(from_s - FRESH_S <= r["opened_s"] <= to_s for r in self.requests)
        changed = any(from_s - FRESH_S <= s <= to_s for s, _ in self.found.programs)
        held = any(self._is_uninterruptible(d, wait, from_s, to_s) for d in self.holds)
        late = any(
            n["snoozed_s"] and n["deadline_s"] >= from_s
            for server in wait.others
            for n in self.clean_cycles.notices[server]
        )
        said = any(from_s - FRESH_S <= w.at_s <= to_s for w in self.found.overrides)
        names = ("", *self.found.swept, *wait.others)
        troubled = self.clean_cycles.is_troubled(from_s, *names, until_s=to_s)
        return bool(began) or asked or changed or held or late or said or troubled

    def _is_uninterruptible(self, made: Row, wait: Wait, from_s: int, to_s: int) -> bool:
        """Whether the disruption budget deferred a stop of a borrower, perhaps for hours."""
        if made["server_id"] not in wait.others or made["at_s"] > to_s:
            return False
        ended = self.ends[made["server_id"], made["rule"]]
        since = bisect_right(ended, made["at_s"])
        return not ended[since : since + 1] or ended[since] > from_s


def _lasts(request: Row, at_s: int) -> bool:
    return request["ended_s"] is None or bool(request["ended_s"] > at_s)

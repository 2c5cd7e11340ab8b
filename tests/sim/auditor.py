"""Is what the daemon did right? Judged from the region's own truth and the book's entries.

The auditor reads rows by SQL and intervals from `World.truth`; it uses none of the
rules of `quotas`, so that a fault there cannot hide itself.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from sqlalchemy import text

from .cloud import STALE_S
from .play import END_S, HEALED_S, START_S, Play

Interval = tuple[int, int]
FRESH_S = 60
STOP_S = 2 * 30 + 300 + 188
"""T_stop, and the longest that a stop takes."""
TERMINAL = {"confirmed", "failed", "expired", "abandoned"}


def seconds(of: Iterable[Interval]) -> int:
    """Length of disjoint intervals together."""
    return sum(end - start for start, end in of)


def overlap(left: Iterable[Interval], right: Iterable[Interval]) -> int:
    """Seconds that are in both; each side is disjoint."""
    others = list(right)
    return sum(max(0, min(a_end, b_end) - max(a, b)) for a, a_end in left for b, b_end in others)


class Audit:
    """One finished play, its rows, and everything that is wrong with them."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.faults: list[str] = []
        self.transfers = self._rows("SELECT * FROM transfer ORDER BY id")
        self.entries = self._rows("SELECT * FROM entry ORDER BY transfer_id, position")
        self.runs = self._rows("SELECT * FROM run")
        self.notices = self._rows("SELECT * FROM notice")
        self.intents = self._rows("SELECT * FROM intent")
        self.disputes = self._rows("SELECT * FROM dispute")
        self.charges: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.transfers:
            if row["kind"] == "charge":
                detail = json.loads(row["detail"])
                self.charges[detail["server"]].append({**detail, "id": row["id"]})
        self.truth: dict[str, list[Interval]] = defaultdict(list)
        self.kinds: dict[str, tuple[str, str]] = {}
        for run in play.world.truth():
            end_s = run.end_s if run.end_s is not None else play.world.now_s
            self.truth[run.server_id].append((run.start_s, end_s))
            self.kinds[run.server_id] = (run.zone, run.commercial_type)

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with self.play.book.reading() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def all(self) -> list[str]:
        """Every fault found, a sentence each."""
        self.sums()
        self.periods()
        self.amounts()
        self.stops()
        self.calls()
        self.intents_end()
        return self.faults

    def sums(self) -> None:
        """I1, I2, I14: sums are zero, balances are sums, epochs do not fall."""
        by_transfer: dict[int, int] = defaultdict(int)
        by_account: dict[str, int] = defaultdict(int)
        for entry in self.entries:
            by_transfer[entry["transfer_id"]] += entry["amount_ucr"]
            by_account[entry["account"]] += entry["amount_ucr"]
        self.faults += [f"I1 transfer {t} sums to {s}" for t, s in by_transfer.items() if s]
        rows = self._rows("SELECT * FROM balance")
        if {r["account"]: r["amount_ucr"] for r in rows} != dict(by_account):
            self.faults.append("I2 balances are not the sums of their entries")
        epochs = [row["epoch"] for row in self.transfers if row["actor"] == "cohortd"]
        if any(b < a for a, b in pairwise(epochs)):
            self.faults.append("I14 an epoch fell")
        for account, amount in by_account.items():
            if amount < 0 and account.split(":")[0] in {"grant", "usage", "expired"}:
                self.faults.append(f"I8 {account} is overdrawn by {-amount} ucr")

    def periods(self) -> None:
        """I3: the periods of a server are disjoint, and those of a run contiguous."""
        for server, charges in self.charges.items():
            ordered = sorted(charges, key=lambda each: each["start_s"])
            for first, second in pairwise(ordered):
                if second["start_s"] < first["end_s"]:
                    self.faults.append(f"I3 {server} is charged twice at {second['start_s']}")
                if first["run"] == second["run"] and first["end_s"] != second["start_s"]:
                    self.faults.append(f"I3 run {first['run']} has a gap at {first['end_s']}")
            for charge in charges:
                if (
                    charge["end_s"] <= charge["start_s"]
                    or charge["start_s"] < charge["run_start_s"]
                ):
                    self.faults.append(f"I3 transfer {charge['id']} is no period of its run")

    def amounts(self) -> None:
        """I4: charged is the truth at list price, within the bounds that the book states."""
        amount_of: dict[int, int] = {
            e["transfer_id"]: e["amount_ucr"] for e in self.entries if e["account"][:6] == "usage:"
        }
        for server in sorted(self.truth.keys() | self.charges.keys()):
            charges = self.charges.get(server, [])
            charged = [(c["start_s"], c["end_s"]) for c in charges]
            real = [i for i in self._clipped(server) if self._was_seen(server, i)]
            both = overlap(charged, real)
            wrong_s = seconds(charged) + seconds(real) - 2 * both
            bound_s = self._bound_s(server)
            if wrong_s > bound_s:
                self.faults.append(
                    f"I4 {self.kinds.get(server)} {server} is charged for {charged}, ran {real}: "
                    f"{wrong_s} s differ, the bound is {bound_s} s"
                )
            rate = self._rate(server)
            cost = sum(amount_of.get(c["id"], 0) for c in charges)
            if abs(cost - rate * seconds(charged) // 3600) > 1 + len(charges):
                self.faults.append(f"I4 {server} costs {cost} ucr for {seconds(charged)} s")

    def _clipped(self, server: str) -> list[Interval]:
        """The truth within the program, as far as this server is posted or known."""
        is_open = [r for r in self.runs if r["server_id"] == server and r["end_s"] is None]
        until_s = min([r["posted_until_s"] for r in is_open] or [self.play.world.now_s])
        found = [(max(a, START_S), min(b, until_s)) for a, b in self.truth.get(server, [])]
        return [(a, b) for a, b in found if a < b]

    def _was_seen(self, server: str, interval: Interval) -> bool:
        zone = self.kinds[server][0]
        log = self.play.cloud.swept.get(zone, [])
        return any(o == "Complete" and interval[0] <= at < interval[1] for at, o in log)

    def _bound_s(self, server: str) -> int:
        own = [r for r in self.runs if r["server_id"] == server]
        errors = sum(r["start_error_s"] + r["end_error_s"] for r in own)
        disputed = sum(d["end_s"] - d["start_s"] for d in self.disputes if d["server_id"] == server)
        zone = self.kinds[server][0] if server in self.kinds else ""
        is_stale = any(w.kind == "stale" and w.zone == zone for w in self.play.cloud.windows)
        return errors + disputed + (2 * STALE_S * len(own) if is_stale else 0)

    def _rate(self, server: str) -> int:
        zone, kind = self.kinds[server]
        return self.play.world.rate_ucr_per_h(zone, kind, START_S)

    def stops(self) -> None:
        """I11: a server whose notice ran out is off within T_stop, faults apart."""
        for notice in self.notices:
            deadline_s = notice["deadline_s"]
            if notice["server_id"] == "" or notice["state"] == "cancelled":
                continue
            late_s = deadline_s + STOP_S
            is_excused = any(
                w.zone == notice["zone"] and w.from_s <= late_s and w.until_s >= deadline_s
                for w in self.play.cloud.windows
            )
            failed = [i for i in self.intents if i["server_id"] == notice["server_id"]]
            is_excused |= any(i["state"] != "confirmed" for i in failed)
            for start_s, end_s in self.truth[notice["server_id"]]:
                if start_s < deadline_s and end_s > late_s and not is_excused:
                    self.faults.append(
                        f"I11 {notice['server_id']} was to stop at {deadline_s}, ran to {end_s}"
                    )

    def calls(self) -> None:
        """I12, I13: each call follows a fresh Complete sweep and a notice that ran out."""
        projects = {project.id for project in self.play.world.projects}
        owner = {r["server_id"]: r["project_id"] for r in self.runs}
        for at_s, zone, server in self.play.cloud.calls:
            if owner.get(server) not in projects:
                self.faults.append(f"I13 {server} is not ours")
            last_s, outcome = max(x for x in self.play.cloud.swept[zone] if x[0] <= at_s)
            if outcome != "Complete" or at_s - last_s > FRESH_S:
                self.faults.append(f"I12 {server} was stopped at {at_s} on a {outcome} zone")
            told = [n for n in self.notices if n["server_id"] == server]
            if not any(
                n["given_s"] + 1800 <= n["deadline_s"] <= at_s and n["mode"] == "enforce"
                for n in told
            ):
                self.faults.append(f"{server} was stopped at {at_s} without notice")

    def intents_end(self) -> None:
        """I21: each intent is terminal, each call has one, and confirmed means off."""
        for intent in self.intents:
            if intent["state"] not in TERMINAL or intent["ended_s"] is None:
                self.faults.append(f"I21 intent {intent['id']} is {intent['state']} at the end")
        for at_s, _, server in self.play.cloud.calls:
            if not any(
                i["server_id"] == server and i["decided_s"] <= at_s <= i["not_after_s"]
                for i in self.intents
            ):
                self.faults.append(f"I21 the call for {server} at {at_s} has no intent")

    def marks(self) -> set[str]:
        """What happened at all in this play: a batch in which one never does is too tame."""
        found = {f"intent {i['state']}" for i in self.intents}
        found |= {f"notice {n['rule']} {n['state']}" for n in self.notices}
        found |= {outcome for log in self.play.cloud.swept.values() for _, outcome in log}
        found |= {"dispute"} if self.disputes else set()
        found |= {row["kind"] for row in self.transfers}
        if any(HEALED_S <= at_s < END_S for at_s, _, _ in self.play.cloud.calls):
            found.add("a stop after healing")
        return found

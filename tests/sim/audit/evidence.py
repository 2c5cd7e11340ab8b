"""The evidence of a play: the rows of either book, and the region's own truth."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quotas.state.notices import IntentResult

from ..play.cloud import Call, Swept
from ..play.iam import CycleRecord, Organization
from ..play.memory_book import InMemoryBook
from ..scenario.script import Script

if TYPE_CHECKING:
    from ..play.play import Play

Row = dict[str, Any]
Interval = tuple[int, int]
BELIEVED = "flavor, rate_ucr_per_h, listed_s FROM listing"


@dataclass(frozen=True)
class Evidence:
    """Rows as dictionaries; `truth` has the true runs, `kinds` the zone and type of each one."""

    script: Script
    now_s: int
    transfers: list[Row]
    runs: list[Row]
    notices: list[Row]
    intents: list[Row]
    unconfirmed_periods: list[Row]
    requests: list[Row]
    decisions: list[Row]
    balances: dict[str, int]
    truth: dict[str, list[Interval]]
    kinds: dict[tuple[str, int], tuple[str, str]]
    projects: dict[str, str]
    swept: dict[str, list[Swept]]
    changed: dict[str, list[int]]
    deleted: dict[str, int]
    calls: list[Call]
    offsets: list[tuple[int, int]]
    incidents: list[int]
    rates: dict[tuple[str, str], int]
    listed: dict[str, set[int]]
    believed: list[tuple[str, int, int]]
    programs: list[tuple[int, Any]]
    in_place: dict[str, list[Interval]]
    unstoppable: dict[str, list[Interval]]
    overrides: list[Any]
    accepted: set[tuple[str, int]]
    other_terms: dict[str, tuple[int, int, int]]
    watched: list[str]
    committed: set[int]
    looks: set[int]
    revoked_rules: list[Row]
    organization: Organization
    cycle_records: list[CycleRecord]
    confirmed: list[tuple[int, str, str]]
    judged: Counter[str] = field(default_factory=Counter)
    """How often each invariant was judged; cases that a tolerance excuses are not counted."""

    @property
    def approved(self) -> set[str]:
        """The ids of notices whose stop an operator approved."""
        return {override.subject for override in self.overrides if override.family == "approve"}

    @cached_property
    def complete(self) -> Mapping[str, list[Swept]]:
        """By zone: the Complete sweeps of committed cycles and of quiet looks, in order."""
        kept: dict[str, list[Swept]] = defaultdict(list)
        for zone, sweeps in self.swept.items():
            complete = (each for each in sweeps if each.outcome == "Complete")
            kept[zone] = [each for each in complete if each.cycle_s in self.committed | self.looks]
        return kept

    def owned(self, server: str) -> list[Interval]:
        """When the server's project belonged to a startup, by the programs as they were applied."""
        project = self.projects.get(server, "")
        ends = [*(at_s for at_s, _ in self.programs[1:]), self.now_s]
        return [
            (from_s, end_s)
            for (from_s, program), end_s in zip(self.programs, ends, strict=True)
            if program.owner(project, from_s) is not None
        ]


def evidence_of(play: Play) -> Evidence:
    """Everything that a play left behind."""
    rows = _of_memory(play.book) if isinstance(play.book, InMemoryBook) else _of_sql(play.book)
    truth: dict[str, list[Interval]] = defaultdict(list)
    kinds = {}
    projects = {}
    for run in play.region.truth():
        end_s = run.end_s if run.end_s is not None else play.region.now_s
        truth[run.server_id].append((run.start_s, end_s))
        kinds[run.server_id, run.start_s] = (run.zone, run.commercial_type)
        projects[run.server_id] = run.project_id
    return Evidence(
        script=play.script,
        now_s=play.region.now_s,
        truth=truth,
        kinds=kinds,
        projects=projects,
        swept=play.cloud.swept,
        changed=play.region.changed,
        deleted=play.region.deleted,
        calls=play.cloud.calls,
        offsets=play.offsets,
        incidents=play.incidents,
        rates=play.region.rates(),
        listed=play.region.listed(),
        programs=play.program_operator.applied,
        in_place=play.region.stood_in_place(),
        unstoppable=play.region.unstoppable(),
        overrides=play.program_operator.overrides,
        accepted=play.program_operator.accepted,
        watched=play.cycle_checks.wrong,
        committed=play.cycle_checks.committed,
        looks=play.cycle_checks.looks,
        organization=play.organization,
        cycle_records=play.cycle_records,
        confirmed=play.program_operator.confirmed,
        **rows,
    )


def _of_memory(book: InMemoryBook) -> dict[str, Any]:
    transfers, listings = [], book.prices.listings.items()
    for number, posted in enumerate(book.posted.values(), 1):
        moved = posted.transfer
        transfers.append(
            {
                "id": number,
                "key": moved.key,
                "kind": moved.kind,
                "cohort": moved.cohort,
                "startup": moved.startup,
                "at_s": moved.at_s,
                "recorded_s": posted.recorded_s,
                "epoch": posted.epoch,
                "actor": posted.actor,
                "detail": dict(moved.detail),
                "entries": [(entry.account, entry.amount_ucr) for entry in moved.entries],
            }
        )
    return {
        "transfers": transfers,
        "runs": [_row(run) for run in book.runs.values()],
        "notices": [_row(notice) for notice in book.notices.values()],
        "intents": [_row(intent) for intent in book.intents.values()],
        "unconfirmed_periods": [
            {**asdict(d), "start_s": d.period.start_s, "end_s": d.period.end_s}
            for d in book.unconfirmed_periods.values()
        ],
        "decisions": [{**_row(d), "at_s": s, "mode": m} for s, m, d in book.decisions],
        "balances": dict(book.balances),
        "believed": [(f, s.rate_ucr_per_h, s.from_s) for f, steps in listings for s in steps],
        "other_terms": {},
        "revoked_rules": [],
        "requests": [_row(request) for request in book.requests.values()],
    }


def _row(value: Any) -> Row:
    """The fields of a frozen value; their contents are never changed."""
    return {name: getattr(value, name) for name in value.__slots__}


def _of_sql(book: Any) -> dict[str, Any]:
    with book.reading() as connection:

        def rows(query: str) -> list[Row]:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

        transfers = rows("SELECT * FROM transfer ORDER BY id")
        by_id = {row["id"]: row for row in transfers}
        for row in transfers:
            row["detail"], row["entries"] = json.loads(row["detail"]), []
        for entry in rows("SELECT * FROM entry ORDER BY transfer_id, position"):
            by_id[entry["transfer_id"]]["entries"].append((entry["account"], entry["amount_ucr"]))
        return {
            "transfers": transfers,
            "runs": rows("SELECT * FROM run"),
            "notices": rows("SELECT * FROM notice ORDER BY id"),
            "intents": [
                {**row, "result": row["result"] and IntentResult(**json.loads(row["result"]))}
                for row in rows("SELECT * FROM intent ORDER BY id")
            ],
            "unconfirmed_periods": rows("SELECT * FROM unconfirmed"),
            "requests": rows("SELECT * FROM request ORDER BY id"),
            "decisions": [
                {**row, "inputs": json.loads(row["inputs"])}
                for row in rows("SELECT * FROM decision ORDER BY id")
            ],
            "believed": [tuple(r.values()) for r in rows(f"SELECT {BELIEVED}")],
            "revoked_rules": rows("SELECT * FROM revoked_rules ORDER BY id"),
            "other_terms": {
                f"grant:{r['startup']}:{r['grant_id']}": tuple(
                    r[name] for name in ("effective_s", "expires_s", "priority")
                )
                for r in rows("SELECT * FROM credit_grant")
            },
            "balances": {r["account"]: r["amount_ucr"] for r in rows("SELECT * FROM balance")},
        }

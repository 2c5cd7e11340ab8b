"""Golden plays: records what plays and demos did, and compares them through a rename map.

    python -m tests.sim.golden record DIR [--pure 50] [--sql 20] [--demo 3] [--jobs 2]
    python -m tests.sim.golden compare DIR OTHER [--names tests/sim/renames.json]

A record holds each transfer, decision, notice and cloud call of one play, without texts and
without stored facts. `renames.json` maps old values (rules, verbs, accounts, kinds) to new ones.
Both files leave the tree when the move to the new layout is done.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .audit.evidence import evidence_of
from .play.play import played
from .play.wiring import wired
from .scenario.script import draw
from .soak.run import quiet

DAYS = 183
Line = list[Any]


def of_play(seed: int, days: int, sql: bool) -> Iterator[Line]:
    """What one seed's play did."""
    quiet()
    with wired():
        play = played(draw(seed, days), sql=sql)
        found = evidence_of(play)
        yield ["with tranches", any("/" in account for account in found.balances)]
        for row in found.transfers:
            entries = [list(entry) for entry in row["entries"]]
            named = [row[name] for name in ("key", "kind", "cohort", "startup", "at_s")]
            yield ["transfer", *named, row["recorded_s"], entries]
        for row in found.decisions:
            named = ("at_s", "mode", "startup", "server_id", "rule", "verb", "episode")
            yield ["decision", *(row[name] for name in named)]
        for row in found.notices:
            named = ("startup", "rule", "server_id", "episode", "mode", "state")
            instants = ("opened_s", "deadline_s", "off_s", "reminded_s", "snoozed_s")
            yield ["notice", *(row[name] for name in (*named, *instants))]
        for call in found.calls:
            yield ["call", call.at_s, call.zone, call.server_id, call.action, call.answer]


QUERIES = {
    "transfer": "SELECT key, kind, cohort, startup, at_s, recorded_s FROM transfer ORDER BY id",
    "entry": "SELECT transfer_id, account, amount_ucr FROM entry ORDER BY transfer_id, position",
    "decision": "SELECT at_s, mode, startup, server_id, rule, verb, episode FROM decision"
    " ORDER BY id",
    "notice": "SELECT startup, rule, server_id, episode, mode, state, opened_s, deadline_s, off_s,"
    " reminded_s, snoozed_s FROM notice ORDER BY id",
    "call": "SELECT sent_s, zone, server_id, action, state FROM intent ORDER BY id",
}


def of_demo(seed: int) -> Iterator[Line]:
    """What the demo of a seed did: its result, and the rows of its book."""
    with TemporaryDirectory() as folder:
        keep = Path(folder) / "book"
        command = [
            str(Path(sys.executable).with_name("cohortd")),
            "demo",
            "--json",
            "--seed",
            str(seed),
        ]
        done = subprocess.run([*command, "--keep", str(keep)], capture_output=True, text=True)
        yield ["exit", done.returncode]
        (file,) = keep.glob("*.db")
        book = sqlite3.connect(file)
        for kind, query in QUERIES.items():
            for row in book.execute(query):
                yield [kind, *row]
        book.close()


def record_one(task: tuple[str, int, int, Path]) -> str:
    """Write one record; its name."""
    kind, seed, days, folder = task
    name = f"{kind}-{seed}"
    path = folder / f"{name}.jsonl.gz"
    if path.exists():
        return name
    lines = of_demo(seed) if kind == "demo" else of_play(seed, days, kind == "sql")
    body = "".join(json.dumps(line) + "\n" for line in lines)
    unfinished = path.with_suffix(".part")
    with gzip.open(unfinished, "wt", compresslevel=3) as file:
        file.write(body)
    unfinished.rename(path)
    return name


def record(options: argparse.Namespace) -> None:
    """Record every play that the folder lacks."""
    options.dir.mkdir(parents=True, exist_ok=True)
    kinds = {"pure": options.pure, "demo": options.demo, "sql": options.sql}
    tasks = [
        (kind, seed, options.days, options.dir)
        for kind, seeds in kinds.items()
        for seed in range(1, seeds + 1)
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in pool.map(record_one, tasks):
            print(name, flush=True)


def read(path: Path) -> list[Line]:
    """The lines of a record."""
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


class Names:
    """Old values with their new names, by the column that holds them."""

    def __init__(self, values: dict[str, dict[str, str]]) -> None:
        self._rules = values.get("decision.rule", {})
        self._verbs = values.get("decision.verb", {})
        self._states = values.get("notice.state", {})
        self._episodes = values.get("episode", {})
        self._kinds = values.get("transfer.kind", {})
        self._closing_rules = values.get("closing.rule", {})

    def of(self, line: Line) -> Line:
        """The line with today's names."""
        if line[0] == "decision":
            *head, rule, verb, episode = line
            if (rule, verb) == ("cohort-end", "announce") or (rule, verb) == ("cohort-end", "tell"):
                rule = "end"
            found = (self._rules.get(rule, rule), self._verbs.get(verb, verb))
            return [*head, *found, self._episode(episode)]
        if line[0] == "notice":
            kind, startup, rule, server, episode, mode, state, *instants = line
            if rule == "cohort-end" and not server:
                rule = "end"
            found = (self._rules.get(rule, rule), server, self._episode(episode), mode)
            return [kind, startup, *found, self._states.get(state, state), *instants]
        return line

    def _episode(self, episode: str) -> str:
        first, colon, rest = episode.partition(":")
        if first in {"close", "reopen", "forbid", "permit"}:
            parts = [re.sub(r"^\w+", self._closing_rule, part) for part in rest.split("+")]
            rest = "+".join(sorted(parts))
        return self._episodes.get(first, first) + colon + rest

    def _closing_rule(self, found: re.Match[str]) -> str:
        return self._closing_rules.get(found[0], found[0])


def differences(old: Iterable[Line], new: Iterable[Line]) -> Iterator[str]:
    """The first lines in which two records differ, and how many of each kind there are."""
    old, new = list(old), list(new)
    gone = Counter(json.dumps(line) for line in old)
    gone.subtract(Counter(json.dumps(line) for line in new))
    if not any(gone.values()):
        return  # within an instant, decisions are ordered by the names of their rules
    for before, after in zip_longest(old, new):
        if before != after:
            yield f"  was {before}\n  is  {after}"
            break
    kinds = Counter((json.loads(line)[0], n > 0) for line, n in gone.items() if n)
    yield "  " + ", ".join(f"{n} {k} {'gone' if g else 'new'}" for (k, g), n in kinds.items())


def compare(options: argparse.Namespace) -> int:
    """Print each play that differs; 1 if any does."""
    names = json.loads(options.names.read_text())["values"] if options.names.exists() else {}
    wrong = same = 0
    for path in sorted(options.other.glob("*.jsonl.gz")):
        old, new = (read(options.dir / path.name), read(path))
        if options.no_tranches and old[0] == ["with tranches", True]:
            continue
        known = Names(names)
        shown = list(differences((known.of(line) for line in old), new))
        wrong, same = wrong + bool(shown), same + (not shown)
        if shown:
            print(path.name, *shown, sep="\n")
    print(f"{same} plays are the same, {wrong} differ")
    return 1 if wrong or not same else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    verbs = parser.add_subparsers(required=True, dest="verb")
    recorder = verbs.add_parser("record")
    recorder.add_argument("dir", type=Path)
    for name, default in (("pure", 50), ("sql", 20), ("demo", 3), ("jobs", 2), ("days", DAYS)):
        recorder.add_argument(f"--{name}", type=int, default=default)
    comparer = verbs.add_parser("compare")
    comparer.add_argument("dir", type=Path)
    comparer.add_argument("other", type=Path)
    comparer.add_argument("--names", type=Path, default=Path(__file__).parent / "renames.json")
    comparer.add_argument("--no-tranches", action="store_true")
    options = parser.parse_args()
    if options.verb == "record":
        record(options)
        return 0
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())

"""Plays many seeds with faults and audits each: `make soak SEEDS=10000`.

Prints what failed, progress on the way, and a report: seeds and their commit, checks by
invariant, faults by class, what came of them, marks fired, seeds per minute, mutants killed.
Exit 1 when an invariant was broken, when a mark or a kind of fault never happened in a large
batch, or when too few seeds find a mutant. With `--state FILE` it goes on where it was
interrupted, mutants in FILE.mutants, at the same commit only. `--first SEED --seeds 1` looks at one
seed again; `--seeds 0 --mutants 200` plays the mutants alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from rich.progress import track
from sqlalchemy import create_engine, text

from quotas.book import Address, Book
from quotas.book.verify.verify import verify
from scheduler.clock import monotonic

from ..audit.auditor import checks_of, coverage_marks_of, faults_of, instability_of
from ..audit.evidence import Evidence, evidence_of
from ..mutants.hunt import MUTANTS
from ..mutants.kill_rates import describe, hunted, survivors
from ..play.play import Play
from ..play.wiring import wired
from ..scenario.events import HAND
from ..scenario.script import draw
from .report import lines, silent

MUTANT_SEEDS = 200
LEAST_DAYS = 5
"""A shorter program has no room for its actors, and for the days in which it heals."""
UNKNOWN = "unknown"
"""The commit without git, and of states that were saved before commits were recorded."""


@dataclass
class Tally:
    """The results of the seeds so far; tallies add up, and are JSON."""

    tier: str = ""
    seeds: int = 0
    cycles: int = 0
    seconds: float = 0.0
    broken: dict[str, list[str]] = field(default_factory=dict)
    injected: Counter[str] = field(default_factory=Counter)
    coverage_marks: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    first: int = 0
    commit: str = UNKNOWN

    @property
    def of(self) -> str:
        """The seeds and the code that the tally is about."""
        return f"seeds {self.tier}, from {self.first} on, at commit {self.commit}"

    def add(self, other: Tally) -> None:
        """One more part of it."""
        self.seeds += other.seeds
        self.cycles += other.cycles
        self.seconds += other.seconds
        self.broken |= other.broken
        self.injected.update(other.injected)
        self.coverage_marks.update(other.coverage_marks)
        self.checks.update(other.checks)

    @classmethod
    def read(cls, path: Path) -> Tally:
        """The tally that a file keeps."""
        body = json.loads(path.read_text())
        body |= {name: Counter(body[name]) for name in ("injected", "coverage_marks", "checks")}
        return cls(**body)


def commit() -> str:
    """The commit of the code, "+changes" if files differ from it, or "unknown"."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + "+changes" * bool(_git("status", "--porcelain", "-uno")) if head else UNKNOWN


def _git(*args: str) -> str:
    """The answer of git about this checkout; an empty string if there is none."""
    command = ("git", "-C", str(Path(__file__).parent), *args)
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def quiet() -> None:
    """Turn off logs and frequent garbage collection: thousands of cycles need neither."""
    gc.set_threshold(50_000, 20, 100)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def tally_of(seed: int, *, days: int = 183, sql: bool = False, database: str = "") -> Tally:
    """One seed, played and audited; in a schema of its own where a database is given."""
    quiet()
    began = monotonic()
    with wired(), book_of(seed, database) as book:
        play = Play(draw(seed, days), sql=sql, book=book)
        play.run()
        found = evidence_of(play)
        wrong = wrong_with(play, found)
        coverage_marks = Counter(m for m in coverage_marks_of(play, found) if m[:6] != "fault ")
    return Tally(
        "",
        1,
        play.count,
        monotonic() - began,
        {str(seed): wrong} if wrong else {},
        play.injected + done(play),
        coverage_marks,
        checks_of(play, found),
    )


def wrong_with(play: Play, found: Evidence) -> list[str]:
    """Everything wrong in a finished play: audit, `verify` on a real book, and instability."""
    wrong = faults_of(play, found)
    if isinstance(play.book, Book) and (fault := verify(play.book).fault):
        wrong.append(f"verify: {fault}")
    return wrong + instability_of(play)


def done(play: Play) -> Counter[str]:
    """What provider and people did in a play, without refused or empty actions."""
    actions = {f"provider {verb}": count for verb, count in play.region.done().items()}
    for verb, count in play.program_operator.done.items():
        if not verb.endswith(" refused"):
            actions[f"operator {verb}"] = count
    edits = sum(change.by == HAND for change in play.organization.log)
    return +Counter({**actions, "hand edit": edits})


@contextmanager
def book_of(seed: int, database: str) -> Iterator[Book | None]:
    """An empty book in a PostgreSQL schema named after the seed, dropped afterwards; or None."""
    if not database:
        yield None
        return
    address = Address(Path(), database)
    schema = f"soak_{seed}"
    engine = create_engine(address.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        within = address.url.update_query_dict({"options": f"-csearch_path={schema}"})
        book = Book.open(Address(Path(), within.render_as_string(hide_password=False)))
        try:
            yield book
        finally:
            book.close()
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


def tallies(
    seeds: Iterable[int], jobs: int, *, days: int, sql: bool, database: str
) -> Iterator[Tally]:
    """The tally of each seed, in this process or in several."""
    one = partial(tally_of, days=days, sql=sql, database=database)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(one, seeds, chunksize=4)


def soak(options: argparse.Namespace, tier: str) -> Tally:
    """Play the remaining seeds; returns the whole tally."""
    path: Path | None = options.state
    fresh = Tally(tier=tier, first=options.first, commit=commit())
    whole = Tally.read(path) if path and path.exists() else fresh
    if whole.of != fresh.of:
        raise SystemExit(
            f"{path} is of {whole.of}, and these would be {fresh.of}: one report is of one code "
            f"and one row of seeds, so name another file, or remove this one to begin anew"
        )
    first = options.first + whole.seeds
    seeds = range(first, options.first + options.seeds)
    how = {"days": options.days, "sql": options.sql, "database": options.book}
    parts = tallies(seeds, options.jobs, **how)
    for part in track(parts, "playing seeds", total=len(seeds), disable=options.quiet):
        whole.add(part)
        for seed, wrong in part.broken.items():
            print(f"seed {seed}: {len(wrong)} faults, the first: {wrong[0]}", flush=True)
        if path and whole.seeds % 20 == 0:
            keep(path, vars(whole))
    if path:
        keep(path, vars(whole))
    return whole


def keep(path: Path, body: object) -> None:
    """Write a state whole or not at all, so that an interrupted soak keeps its seeds."""
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_text(json.dumps(body))
    os.replace(beside, path)


def report(whole: Tally) -> str:
    """The report of a soak as text."""
    describe = lines(
        whole.seeds,
        len(whole.broken),
        whole.cycles,
        whole.seconds,
        of=whole.of,
        checks=whole.checks,
        injected=whole.injected,
        coverage_marks=whole.coverage_marks,
    )
    return "\n".join(describe)


def hunt(options: argparse.Namespace) -> list[str]:
    """Play the mutants from the saved state on; the names of those that fail the hunt."""
    path: Path | None = options.state and options.state.with_suffix(".mutants")
    now = commit()
    state = json.loads(path.read_text()) if path and path.exists() else {"commit": now, "by": {}}
    if state.get("commit") != now:
        raise SystemExit(
            f"{path} is of mutants at commit {state.get('commit', UNKNOWN)}, and this is {now}: "
            f"remove it to begin anew, or name another --state"
        )
    known = state["by"]
    for mutant in hunted(known, options.mutants, options.jobs):
        print(f"mutant {describe(mutant, known[mutant.name])}", flush=True)
        if path:
            keep(path, state)
    alive = survivors(known)
    played = sum(map(len, known.values()))
    print(f"mutants killed: {len(MUTANTS) - len(alive)} of {len(MUTANTS)}, in {played} plays")
    return alive


def main() -> int:
    """Play the seeds; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--days", type=int, default=183)
    parser.add_argument("--sql", action="store_true", help="the real book, in memory")
    parser.add_argument("--book", default="", metavar="URL", help="the real book, in PostgreSQL")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, help="a file to go on from")
    parser.add_argument("--mutants", type=int, help="seeds for each (200, or a fifth of SEEDS)")
    parser.add_argument("--quiet", action="store_true", help="no bar")
    options = parser.parse_args()
    if options.days < LEAST_DAYS:
        parser.error(f"argument --days: {options.days} is too short: give {LEAST_DAYS} or more")
    quiet()
    tier = "in PostgreSQL" if options.book else "on SQLite in memory" if options.sql else "pure"
    tier = f"of {options.days} days, {tier}"
    whole = soak(options, tier)
    if whole.seeds:
        print(report(whole))
    real = bool(options.sql or options.book)
    tame = silent(whole.coverage_marks, whole.injected, whole.seeds, real=real)
    if tame:
        print(f"never happened: {', '.join(tame)}")
    if options.mutants is None:  # on a real book the pure soak has hunted them already
        options.mutants = 0 if real else min(MUTANT_SEEDS, options.seeds // 5)
    alive = hunt(options) if options.mutants else []
    if alive:
        print(f"mutants that too few seeds find, or that are inert: {', '.join(alive)}")
    return 1 if whole.broken or alive or tame else 0


if __name__ == "__main__":
    sys.exit(main())

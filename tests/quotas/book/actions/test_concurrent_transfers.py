"""Two processes write to one book, and no credits are lost or made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import text

from quotas.book import Book
from quotas.book.cycle.commit import apply_program
from quotas.book.verify.verify import verify
from quotas.model.units import parse_credits
from tests.builders import a_grant, a_program, a_startup
from tests.cli.command import REPO

from ..transfer_worker import STARTUPS

CLERKS, TIMES, LIMIT_S = ("ann", "bob"), 40, 100
GRANTED = 1_000_000


class TransferWorker:
    """A process that moves credits when it is told to."""

    def __init__(self, folder: Path, name: str) -> None:
        command = [sys.executable, "-m", "tests.quotas.book.transfer_worker", str(folder), name]
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=REPO, env=env
        )

    def told(self) -> None:
        """Tell it to move credits once."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it was answered."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def leaves(self) -> int:
        """How it ends, once there is nothing more to do."""
        self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode


def at_once(folder: Path) -> list[dict[str, Any]]:
    """What two clerks were answered that were told at the same time, again and again."""
    clerks = [TransferWorker(folder, name) for name in CLERKS]
    answers = []
    for _ in range(TIMES):
        for worker in clerks:
            worker.told()
        answers += [worker.answer() for worker in clerks]
    assert [worker.leaves() for worker in clerks] == [0, 0]
    return answers


def test_two_clerks_lose_and_make_nothing(tmp_path: Path) -> None:
    """Totals are conserved, every answer is in the book, and there is nothing else in it."""
    members = [a_startup(name, grants=(a_grant(f"{name}-1", GRANTED),)) for name in STARTUPS]
    book = Book.open(tmp_path)
    apply_program(book, a_program(*members), 0, "tests")
    answers = at_once(tmp_path)
    assert len(answers) == len(CLERKS) * TIMES
    moved = {line["key"]: line["answer"] for line in answers if line["answer"]}
    assert len(moved) > TIMES, "the clerks were refused too often to prove anything"

    with book.reading() as connection:
        columns = "operator_action.key, detail, actor"
        query = f"SELECT {columns} FROM operator_action JOIN transfer ON id = transfer_id"
        rows = connection.execute(text(f"{query} ORDER BY id")).all()
        kinds = connection.execute(text("SELECT kind FROM transfer")).scalars().all()
        sums = "SELECT account, sum(amount_ucr) AS ucr FROM entry GROUP BY account"
        accounts = {row.account: int(row.ucr) for row in connection.execute(text(sums))}
    assert {row.key: json.loads(json.loads(row.detail)["answer"]) for row in rows} == moved
    assert Counter(kinds) == {"grant": len(STARTUPS), "transfer": len(moved)}
    assert sum(a.actor != b.actor for a, b in pairwise(rows)) > TIMES // 4, "they never met"

    stands = dict.fromkeys(STARTUPS, GRANTED)
    for answer in moved.values():
        stands[answer["from"]] -= parse_credits(answer["moved"])
        stands[answer["to"]] += parse_credits(answer["moved"])
    found = Counter[str]()
    for account, ucr in accounts.items():
        found[account.split(":")[1]] += ucr * account.startswith("grant:")
    assert {name: found[name] for name in STARTUPS} == stands
    assert sum(stands.values()) == len(STARTUPS) * GRANTED and sum(accounts.values()) == 0
    assert verify(book).fault is None
    book.close()

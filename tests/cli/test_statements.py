"""`cohortd statement` and `verify`: months that add up, chain heads, progress."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand
from quotas.book.actions.refunds import RefundCommand
from quotas.book.reads.statements import close_months
from quotas.book.session import Book
from quotas.model.units import format_instant, month_start_s, parse_instant
from tests.quotas.book.book_builders import filled
from tests.scheduler import harness as rigs
from tests.scheduler.harness import Harness, server

from .command import MAIN, CommandResult, environment, run_in_process

HOUR_S = 3600
TURN = "2026-03-01T00:00:00Z"
TURN_S = parse_instant(TURN)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed February, and an open March with a refund for February."""
    folder, began_s = tmp_path_factory.mktemp("state"), TURN_S - 5 * HOUR_S
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rigs, "T0", began_s)
        patch.setattr(rigs, "END", TURN_S + 90 * 24 * HOUR_S)
        harness = Harness(rigs.program(credits=10_000), Book.open(folder))
    harness.clock.move_to(began_s)
    harness.cloud.add(server(since_s=began_s))
    harness.run()
    perform_action(
        harness.book,
        OperatorAction(GrantCommand("acme", "more", 5_500_000), "a prize", "ann", began_s),
    )
    harness.run_until(TURN_S + 2 * HOUR_S, 1000)
    refund = RefundCommand(TURN_S - HOUR_S, TURN_S, startup="acme")
    perform_action(harness.book, OperatorAction(refund, "outage", "bob", harness.clock.now_s()))
    harness.run_until(TURN_S + 4 * HOUR_S, 1000)
    harness.book.close()
    return folder


def on(state: Path, *arguments: object) -> CommandResult:
    """`cohortd statement` on the book."""
    return run_in_process("statement", *arguments, "--state", state)


def test_a_month_adds_up_and_carries_over(state: Path) -> None:
    """Opening plus lines is the closing, which opens the next month; the text has the reasons."""
    first = on(state, "acme", "2026-02", "--json").json
    second = on(state, "acme", "2026-03", "--json").json
    for month in (first, second):
        lines = sum(Decimal(line["amount"]) for line in month["lines"])
        assert Decimal(month["opening"]) + lines == Decimal(month["closing"])
    assert (second["opening"], second["carried_from"]) == (first["closing"], first["hash"])
    assert (first["closed"], second["closed"]) != (None, None) and second["hash"] is None
    shown = on(state, "acme", "2026-02").out
    assert f"closing balance{first['closing']:>60}" in shown and first["hash"] in shown
    assert "by ann: a prize" in shown
    late = on(state, "acme", "2026-03").out
    assert "open: it may still change" in late
    assert "by bob: outage" in late


def test_the_csv_sums_to_the_closing(state: Path) -> None:
    """The table has an opening line, every line, and a closing line with their sum."""
    rows = list(csv.DictReader(io.StringIO(on(state, "acme", "2026-02", "--csv").out)))
    *lines, closing = [Decimal(row["amount"]) for row in rows]
    assert (rows[0]["kind"], rows[-1]["kind"]) == ("opening", "closing")
    assert sum(lines) == closing and {row["month"] for row in rows} == {"2026-02"}


def test_the_list_has_what_is_closed(state: Path) -> None:
    """Statements of one startup or all, as table and JSON, each with its month's hash."""
    (listed,) = on(state, "--list", "--json").json
    whole = on(state, "acme", "2026-02", "--json").json
    assert listed == {key: value for key, value in whole.items() if key != "lines"}
    assert on(state, "acme", "--list", "--json").json == [listed]
    assert listed["hash"] in on(state, "--list").out
    before = format_instant(TURN_S - HOUR_S)
    assert on(state, "--list", "--as-of", before, "--json").json == []


def test_a_month_as_it_was_known(state: Path) -> None:
    """At an earlier instant the month was open, and before the refund had none."""
    hour = format_instant(TURN_S - HOUR_S)
    open_then = on(state, "acme", "2026-02", "--as-of", hour, "--json").json
    assert (open_then["closed"], open_then["hash"]) == (None, None)
    earlier = format_instant(TURN_S + HOUR_S)
    for as_of, refunds in (([], {"refund"}), (["--as-of", earlier], set())):
        month = on(state, "acme", "2026-03", *as_of, "--json").json
        assert {line["kind"] for line in month["lines"]} - {"charge"} == refunds


def test_every_closed_month_is_shown(tmp_path: Path) -> None:
    """Each closed month is shown with the hash that the list names."""
    book = filled(Book.open(tmp_path))
    march_s = month_start_s(0, 2)
    with book.writing() as connection:
        assert close_months(connection, march_s, march_s) == 2
    book.close()
    listed = {row["month"]: row["hash"] for row in on(tmp_path, "acme", "--list", "--json").json}
    assert set(listed) == {"1970-01", "1970-02"}
    for month, hash in listed.items():
        assert on(tmp_path, "acme", month, "--json").json["hash"] == hash
        assert hash in on(tmp_path, "acme", month).out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(
            ["nobody"],
            1,
            "no startup 'nobody' is in the book; it has acme",
            id="the startup is unknown",
        ),
        pytest.param(
            ["acme", "2026-1"],
            2,
            "'2026-1' is not a month: write it as 2027-01",
            id="the month cannot be read",
        ),
        pytest.param(
            ["acme", "2999-01"], 1, "2999-01 has not begun yet", id="the month has not begun"
        ),
        pytest.param(
            ["acme", "2025-01"],
            1,
            "acme has no statement for 2025-01",
            id="the month is before the cohort",
        ),
        pytest.param(
            [], 2, "STARTUP is missing: name a startup, or add --list", id="no startup is named"
        ),
        pytest.param(
            ["acme", "--as-of", "2026-03-01"], 2, "has no zone", id="the instant has no zone"
        ),
    ],
)
def test_what_there_is_no_statement_of(
    state: Path, arguments: list[str], code: int, says: str
) -> None:
    """A refusal is one sentence, with nothing on stdout."""
    ran = on(state, *arguments)
    assert (ran.code, ran.out) == (code, "") and says in ran.sentence


def test_a_head_that_is_none_is_bad_usage(state: Path, tmp_path: Path) -> None:
    """What is no hash and no file with one gets one plain sentence and exit 2."""
    empty = tmp_path / "mail.txt"
    empty.write_text("no hash in here")
    for head in ("abc", tmp_path, empty):
        ran = run_in_process("verify", "--chain-head", head, "--state", state)
        assert (ran.code, ran.out) == (2, "") and f"--chain-head {head}: n" in ran.sentence


def test_a_head_is_looked_for_in_the_chain(state: Path, tmp_path: Path) -> None:
    """Our chain head is found, in a file too; a foreign one is not, with exit 1."""
    (head,) = run_in_process("verify", "--json", "--state", state).json["chain_heads"].values()
    mail = tmp_path / "mail.txt"
    mail.write_text(f"the newest is\n  {head}\n")
    for given in (head, mail):
        assert run_in_process("verify", "--chain-head", given, "--state", state).code == 0
    ran = run_in_process("verify", "--chain-head", "0" * 64, "--state", state)
    assert ran.code == 1 and "is in no chain of this book" in ran.sentence


def test_progress_is_shown_on_a_terminal_only(state: Path) -> None:
    """On a terminal stderr counts the transfers, and stdout has only the answer."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", MAIN, "verify", "--state", str(state)]
    env = environment(TERM="xterm")
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=env, check=True)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "transfers checked" in shown and b"transfers are right" in ran.stdout
    assert run_in_process("verify", "--state", state).err == ""

"""Reports of the books: at a past instant, and as an accountant's journal."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.actions.refunds import RefundCommand
from quotas.book.reads.audit import account_sums
from quotas.book.session import Book
from quotas.ledger.export import ledger_account
from quotas.model.units import UCR_PER_CREDIT, format_instant, parse_instant
from tests.cli.command import CommandResult, run_in_process
from tests.scheduler import harness as rigs
from tests.scheduler.harness import Harness, server

HOUR_S = 3600
NASTY = 'an "outage", [2027-99-99] date:x ; = €5 | =1+1'


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a book of one day: charges, an expiry, a refund, a void, an overdraft."""
    folder = tmp_path_factory.mktemp("state")
    began_s = int(time.time()) // 60 * 60 - 30 * HOUR_S
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rigs, "T0", began_s)
        patch.setattr(rigs, "END", began_s + 20 * HOUR_S)
        harness = Harness(rigs.program(credits=60), Book.open(folder))
    harness.clock.move_to(began_s)
    harness.cloud.add(server(since_s=began_s))
    command = GrantCommand("acme", "short", 5_500_000, expires_s=began_s + 2 * HOUR_S - 1)
    perform_action(harness.book, OperatorAction(command, NASTY, "ann", began_s))
    harness.run()
    harness.run_until(began_s + 5 * HOUR_S, 1000)
    refund = RefundCommand(began_s, began_s + 5 * HOUR_S, startup="acme")
    perform_action(harness.book, OperatorAction(refund, NASTY, "ann", harness.clock.now_s()))
    perform_action(
        harness.book, OperatorAction(VoidCommand("acme", "g1"), NASTY, "ann", harness.clock.now_s())
    )
    harness.run(HOUR_S)
    harness.book.close()
    return folder


def on(state: Path, command: str, *more: object) -> CommandResult:
    """A command on the book."""
    return run_in_process(command, "--state", state, *more)


def began_s(state: Path) -> int:
    """The start of the cohort in the book."""
    first = on(state, "journal", "--format", "json").out.splitlines()[0]
    return parse_instant(json.loads(first)["effective"])


def sums(state: Path) -> dict[str, int]:
    """The sum of every account."""
    return account_sums(Book.open_existing(state))


def test_hledger_accepts_the_journal_and_agrees(state: Path, tmp_path: Path) -> None:
    """hledger reads the export, checks each transaction, and computes our balances."""
    hledger = shutil.which("hledger")
    if hledger is None:
        pytest.skip("service: hledger is absent")
    file = tmp_path / "book.journal"
    file.write_text(on(state, "journal", "--format", "ledger").out, encoding="utf-8")
    run = [hledger, "--file", str(file), "bal", "--flat", "--empty", "--no-total", "-O", "json"]
    done = subprocess.run(
        run, capture_output=True, check=False, env={"LC_ALL": "C.UTF-8"}, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    rows, _ = json.loads(done.stdout)
    theirs = {
        name: sum(
            amount["aquantity"]["decimalMantissa"]
            * UCR_PER_CREDIT
            // 10 ** amount["aquantity"]["decimalPlaces"]
            for amount in amounts
        )
        for name, _, _, amounts in rows
    }
    ours = {ledger_account(account): ucr for account, ucr in sums(state).items()}
    assert theirs == ours
    assert {name.split(":")[0] for name in ours} == {
        "assets", "equity", "expenses", "liabilities"
    }  # fmt: skip


def test_the_csv_adds_up_account_by_account(state: Path) -> None:
    """The columns are named, each entry is a line, and the lines sum to the balances."""
    rows = list(csv.DictReader(io.StringIO(on(state, "journal").out)))
    found: dict[str, Decimal] = {}
    for row in rows:
        found[row["account"]] = found.get(row["account"], Decimal(0)) + Decimal(row["credits"])
    assert {a: int(v * UCR_PER_CREDIT) for a, v in found.items()} == sums(state)
    refund = next(row for row in rows if row["kind"] == "refund")
    assert (refund["actor"], refund["reason"]) == ("ann", NASTY)
    assert [row["transfer"] for row in rows] == sorted((r["transfer"] for r in rows), key=int)


def test_json_lines_say_the_same(state: Path) -> None:
    """One object for each transfer, with the same hashes as the CSV."""
    lines = [json.loads(line) for line in on(state, "journal", "--format", "json").out.splitlines()]
    rows = csv.DictReader(io.StringIO(on(state, "journal", "--format", "csv").out))
    assert {line["hash"] for line in lines} == {row["hash"] for row in rows}
    assert all(sum(Decimal(e["credits"]) for e in line["entries"]) == 0 for line in lines)


def test_a_part_of_the_journal(state: Path) -> None:
    """The export filters by startup and instant of effect, and by what the book knew then."""
    start_s = began_s(state)

    def keys(*more: object) -> list[str]:
        out = on(state, "journal", "--format", "json", *more).out
        return [json.loads(line)["key"] for line in out.splitlines()]

    whole = keys()
    assert keys("--startup", "acme") == whole
    assert on(state, "journal", "--startup", "nobody").code == 1
    middle = format_instant(start_s + 3 * HOUR_S)
    assert keys("--to", middle) + keys("--from", middle) == whole
    assert keys("--as-of", middle) == whole[: len(keys("--as-of", middle))] != whole


def test_status_as_of(state: Path) -> None:
    """A past instant shows the same amounts each time, and the next expiry."""
    at = format_instant(began_s(state) + HOUR_S)
    first = on(state, "status", "--as-of", at, "--json")
    assert first.code == 0, first.err
    acme = first.json["startups"][0]
    assert acme["granted"] == "65.50"
    assert (acme["expiring_next"]["grant"], acme["expiring_next"]["credits"]) == ("short", "5.50")
    assert Decimal(acme["charged"]) + Decimal(acme["accrued"]) == Decimal("25.3308")
    assert Decimal(acme["available"]) == (
        Decimal(acme["posted"]) - Decimal(acme["accrued"]) - Decimal(acme["reserve"])
    )
    assert on(state, "status", "--as-of", at).out.splitlines()[0] == first.json["sentence"]
    assert on(state, "status", "--as-of", at, "--json").out == first.out


def test_explain_as_of(state: Path) -> None:
    """explain of a past instant has the decisions up to then, and none after."""
    every = on(state, "explain", "acme", "--json").json["decisions"]
    assert every
    at_s = min(row["at_s"] for row in every)
    then = on(state, "explain", "acme", "--json", "--as-of", format_instant(at_s)).json
    some = then["decisions"]
    assert then["shares"] == [] and then["pace"] is None
    assert {row["at_s"] for row in some} == {at_s}
    assert on(state, "explain", "acme", "--as-of", format_instant(at_s - 1)).code == 1


@pytest.mark.parametrize("command", [("status",), ("journal",), ("explain", "acme")])
@pytest.mark.parametrize(
    ("instant", "code", "says"),
    [
        ("2027-01-05T00:00:00", 2, "has no zone"),
        ("yesterday", 2, "--as-of yesterday"),
        ("2020-01-01T00:00:00Z", 1, "before the first cohort starts"),
        ("2999-01-01T00:00:00Z", 1, "is not past yet"),
    ],
)
def test_a_bad_instant_is_refused(
    state: Path, command: tuple[str, ...], instant: str, code: int, says: str
) -> None:
    """A refusal is one sentence on stderr, with nothing on stdout."""
    ran = on(state, command[0], *command[1:], "--as-of", instant)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.sentence and len(ran.err.strip().splitlines()) == 1


def test_a_bad_format_is_refused(state: Path) -> None:
    """The refusal of an unknown format names the known ones."""
    ran = on(state, "journal", "--format", "xml")
    assert ran.code == 2 and "csv, json, ledger" in ran.sentence

"""Operator actions on the books: each is done once, or refused in one sentence."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

import pytest

from quotas.book.cycle.commit import apply_program
from quotas.book.schema.tables import RUN
from quotas.book.session import FILE_NAME, Book
from quotas.book.transfers import post
from quotas.ledger.transfers import charge_transfer
from quotas.model.units import Period, format_instant
from tests.builders import a_balance_of, a_grant, a_program, a_run, a_startup
from tests.cli.command import CommandResult, environment, run_in_process
from tests.quotas.book.book_builders import digest, thaw

HOUR_S = 3_600
START_S = int(time.time()) // HOUR_S * HOUR_S - 48 * HOUR_S
END_S = START_S + 100 * 24 * HOUR_S
FROM, TO = format_instant(START_S), format_instant(START_S + HOUR_S)
WHY = ("--reason", "because")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A book in which acme has 100 credits and was charged 2 hours of s1; birch has none."""
    grant = a_grant("g1", 100_000_000, effective_s=START_S, expires_s=END_S)
    acme = a_startup("acme", grants=(grant,))
    book = Book.open(tmp_path)
    whole = a_program(acme, a_startup("birch"), starts_s=START_S, ends_s=END_S)
    apply_program(book, whole, START_S, "tests")
    run = a_run(start_s=START_S, rate_ucr_per_h=3_600_000)
    own = [a_balance_of(left_ucr=10**8, effective_s=START_S, expires_s=END_S)]
    with book.writing() as connection:
        values = {name: getattr(run, name) for name in run.__slots__}
        connection.execute(RUN.insert().values(**values))
        for hour in range(2):
            period = Period(START_S + hour * HOUR_S, START_S + (hour + 1) * HOUR_S)
            made = charge_transfer("spring", run, period, own)
            assert made is not None
            post(connection, [made], recorded_s=period.end_s, epoch=1, actor="cohortd")
    book.close()
    return tmp_path


def on(state: Path, *words: object) -> CommandResult:
    """Run a command on the book as olga."""
    return run_in_process(*words, "--state", state, env=environment(USER="olga", SUDO_USER=""))


def digest_of(state: Path) -> str:
    """The digest of the book in a folder."""
    book = Book.open_existing(state)
    try:
        return digest(book)
    finally:
        book.close()


NOW = re.compile(r"20\d\d-\d\d-\d\dT[\d:]+Z")
COMMANDS: list[tuple[str, ...]] = [
    ("grant", "birch", "12.5", "--id", "b1"),
    ("void", "acme", "g1"),
    ("refund", "--server", "s1", "--from", FROM, "--to", TO),
    ("refund", "--startup", "acme", "--from", FROM, "--to", TO),
    ("refund", "--zone", "fr-par-2", "--from", FROM, "--to", TO),
    ("transfer", "acme", "birch", "40"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_dry_run_previews_and_changes_nothing(state: Path, command: tuple[str, ...]) -> None:
    """A dry run prints the action's sentence, as what it would do, with exit 0."""
    before = digest_of(state)
    shown = on(state, *command, *WHY, "--dry-run")
    assert (shown.code, digest_of(state)) == (0, before)
    done = on(state, *command, *WHY)
    assert done.code == 0
    # The clock may pass a second between the two.
    assert NOW.sub("T", shown.out) == NOW.sub("T", f"would be: {done.out}")
    assert digest_of(state) != before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_key_makes_it_safe_to_repeat(state: Path, command: tuple[str, ...]) -> None:
    """The same key and command repeat the first answer; another command exits 1."""
    first = on(state, *command, *WHY, "--key", "k1", "--json")
    before = digest_of(state)
    again = on(state, *command, *WHY, "--key", "k1", "--json")
    assert (first.code, again.code, again.json) == (0, 0, first.json)
    other = on(state, *command, "--reason", "another", "--key", "k1")
    assert other.code == 1 and "choose a new key" in other.sentence
    assert digest_of(state) == before
    assert on(state, "verify", "--json").json["ok"]


def test_the_answers_in_json(state: Path) -> None:
    """JSON has amounts as decimal strings, where a refund goes, and how much of a void was used."""
    refund = on(state, *COMMANDS[2], *WHY, "--json").json
    assert refund["to"] == {"grant:acme:g1": refund["refunded"]} == {"grant:acme:g1": "3.60"}
    assert refund["seconds"] == HOUR_S
    void = on(state, *COMMANDS[1], *WHY, "--json").json
    assert (void["used"], void["voided"], void["dry_run"]) == ("3.60", "96.40", False)


def test_a_zone_is_refunded_startup_by_startup(state: Path) -> None:
    """The preview names each startup and its sum; the second time nothing is left."""
    zone = COMMANDS[4]
    shown = on(state, *zone, *WHY, "--dry-run")
    assert shown.out.endswith("go back to where they were drawn: acme 3.60\n")
    done = on(state, *zone, *WHY, "--json").json
    acme = {"charges": 1, "seconds": HOUR_S, "refunded": "3.60", "expired": "0.00"}
    assert done["startups"] == {"acme": acme}
    again = on(state, *zone, *WHY)
    assert again.code == 1 and "is left to refund" in again.sentence


def test_status_shows_a_grant_by_command(state: Path) -> None:
    """A grant is available at once."""
    assert on(state, *COMMANDS[0], *WHY).code == 0
    lines = on(state, "status", "--json").json["startups"]
    assert {line["name"]: line["available"] for line in lines}["birch"] == "12.50"


def grant_of(amount: str, *more: str) -> tuple[str, ...]:
    """A grant of an amount to birch."""
    return ("grant", "birch", amount, "--id", "b1", *more)


BAD: list[tuple[tuple[str, ...], int, str]] = [
    *((grant_of(a), 2, "the amount") for a in ("0", "-5", "-0.5", "0.0000001", "NaN", "inf")),
    *((grant_of(a), 2, "the amount") for a in ("x", "", "4611686018427.387905", "1e99")),
    (("transfer", "acme", "birch", "-1"), 2, "not above zero"),
    (("transfer", "acme", "birch", "98"), 1, "more than the"),
    (("transfer", "acme", "acme", "1"), 1, "itself"),
    (("grant", "nobody", "1", "--id", "b1"), 1, "no startup 'nobody'"),
    (("grant", "birch", "1", "--id", "g1"), 1, "already"),
    (("grant", "birch", "1", "--id", "B.1"), 2, "no valid id"),
    (grant_of("1", "--category", "gift"), 2, "--category"),
    (grant_of("1", "--priority", "-1"), 2, "--priority"),
    (grant_of("1", "--expires", "2099-01-01T00:00:00"), 2, "no zone"),
    (grant_of("1", "--expires", "tomorrow"), 2, "--expires"),
    (grant_of("1", "--expires", "9999-12-31T23:59:59-14:00"), 2, "--expires"),
    (grant_of("1", "--expires", FROM), 1, "--expires"),
    (grant_of("1", "--effective", "2001-01-01T00:00:00Z"), 1, "before cohort spring"),
    (grant_of("1", "--key", "#1"), 2, "--key"),
    (("void", "acme", "g9"), 1, "no grant g9"),
    (("void", "nobody", "g1"), 1, "no startup"),
    (("refund", "--from", FROM, "--to", TO), 2, "--server, --startup or --zone"),
    (("refund", "--zone", "z", "--server", "s1", "--from", FROM, "--to", TO), 2, "one of three"),
    (("refund", "--zone", "fr-par-9", "--from", FROM, "--to", TO), 1, "servers ran in fr-par-2"),
    (("refund", "--startup", "acme", "--from", TO, "--to", FROM), 2, "is not after"),
    (("refund", "--startup", "acme", "--from", "2027-01-01", "--to", TO), 2, "no zone"),
    (
        ("refund", "--startup", "acme", "--from", "2001-01-01T00:00:00Z", "--to", TO),
        1,
        "before cohort",
    ),
    (("refund", "--server", "s9", "--from", FROM, "--to", TO), 1, "no server s9"),
]


@pytest.mark.parametrize(
    ("command", "code", "why"), BAD, ids=[f"{bad[0][0]}-{n}" for n, bad in enumerate(BAD)]
)
def test_bad_input_is_one_sentence_and_no_change(
    state: Path, command: tuple[str, ...], code: int, why: str
) -> None:
    """A refusal exits 1 or 2 with one line, writes nothing on stdout, and changes no row."""
    before = digest_of(state)
    ended = on(state, *command, *WHY)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("cohortd: ") and ended.err.count("\n") == 1
    assert why in ended.err
    assert digest_of(state) == before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_reason_is_required(state: Path, command: tuple[str, ...]) -> None:
    """A missing or empty reason exits 2, and nothing is written."""
    before = digest_of(state)
    assert on(state, *command).code == 2
    assert on(state, *command, "--reason", " ").code == 2
    assert digest_of(state) == before


def test_an_operator_action_creates_no_book(tmp_path: Path) -> None:
    """A folder without a book is refused, and stays empty."""
    assert on(tmp_path, *COMMANDS[0], *WHY).code == 2
    assert not (tmp_path / FILE_NAME).exists()


def test_rebuild_mends_the_balances_and_nothing_else(state: Path) -> None:
    """A false balance exits 1, then is rebuilt; a false transfer stays a fault."""
    with sqlite3.connect(state / FILE_NAME) as book:
        book.execute("UPDATE balance SET amount_ucr = amount_ucr + 1 WHERE account = 'usage:acme'")
    refused = on(state, "verify")
    assert refused.code == 1 and "balance of usage:acme is" in refused.sentence
    assert on(state, "verify", "--rebuild").code == 0
    assert on(state, "verify").code == 0
    opened = Book.open_existing(state)
    thaw(opened)
    opened.close()
    with sqlite3.connect(state / FILE_NAME) as book:
        book.execute("UPDATE entry SET amount_ucr = amount_ucr * 2 WHERE transfer_id = 3")
    refused = on(state, "verify", "--rebuild")
    assert refused.code == 1 and "transfer 3" in refused.sentence

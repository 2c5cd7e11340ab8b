"""Every command has the same result on a book in PostgreSQL as on SQLite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from quotas.book import Address, Book
from quotas.model.units import DAY_S, format_instant
from scheduler.clock import SystemClock
from tests.cli.command import CommandResult, environment, run_in_process
from tests.cli.operator_env import PROGRAM
from tests.sim.play.play import Play
from tests.sim.play.wiring import wired
from tests.sim.scenario.script import START_S, draw
from tests.sim.soak.run import quiet

from .server import Server

SEED, DAYS = 9, 6
NOW_S = START_S + (DAYS - 1) * DAY_S
WHEN, FROM, TO = (format_instant(START_S + n * DAY_S) for n in (2, 1, 3))
FLAVOR = "H100-1-80G@fr-par-2"
TEST = "--reason test --json"
COMMANDS = [
    "status",
    "status --json",
    f"status --as-of {WHEN} --json",
    "explain acme --json",
    f"explain acme --as-of {WHEN} --json",
    "explain 99999999999999",
    "statement acme --json",
    "statement --list --json",
    "journal --format ledger",
    f"journal --as-of {WHEN} --format csv",
    f"grant acme 10 --id extra --key k1 {TEST}",
    f"grant acme 10 --id extra --key k1 {TEST}",
    f"grant acme 11 --id extra --key k1 {TEST}",
    f"hold acme 1 --for 12h {TEST}",
    "hold list --json",
    f"refund --zone fr-par-2 --from {FROM} --to {TO} {TEST}",
    f"price accept {FLAVOR} 2 --from {FROM} {TEST}",
    f"price accept {FLAVOR} 3 --from {WHEN} {TEST}",
    "price list --json",
    f"void acme extra {TEST}",
    "notice list --json",
    "request acme h100 1 --for 2h --json",
    "request list --json",
    f"level acme closed {TEST}",
    "audit --json",
    "verify --rebuild --json",
    "verify",
]


@dataclass(frozen=True)
class Pair:
    """The same book on both databases."""

    file: Address
    database: Address

    def run(self, *words: str) -> tuple[CommandResult, CommandResult]:
        """Run a command on each book."""
        where = ("--state", self.file.folder)
        on = ("--state", self.database.folder, "--database", self.database.database)
        return run_in_process(*words, *where), run_in_process(*words, *on)


@pytest.fixture(scope="module")
def pair(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A seed played on both."""
    folder = tmp_path_factory.mktemp("pair")
    pair = Pair(Address(folder / "one"), server.address(folder / "two"))
    before = structlog.get_config()
    quiet()
    for address in (pair.file, pair.database):
        book = Book.open(address)
        with wired():
            Play(draw(SEED, DAYS), book=book).run()
        book.close()
    structlog.configure(**before)
    return pair


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both books are read at the same instant."""
    monkeypatch.setattr(SystemClock, "now_s", lambda _: NOW_S)


def test_every_command_answers_the_same(pair: Pair) -> None:
    """Exit code, output and error of each command are equal on both books."""
    codes = []
    for command in COMMANDS:
        one, two = pair.run(*command.split())
        assert one == two, command
        assert "Traceback" not in one.err
        codes.append((command, one.code, one.err))
    refused = ["explain 99999999999999", f"grant acme 11 --id extra --key k1 {TEST}"]
    assert [each for each in codes if each[1] and each[0] not in refused] == []


def test_a_book_is_begun_from_the_environment(address: Address, tmp_path: Path) -> None:
    """COHORTD_DATABASE names the book for every command; no file is made in --state."""
    file = tmp_path / "program.toml"
    file.write_text(PROGRAM)
    env = environment(COHORTD_DATABASE=address.database)
    for words in (["plan"], ["apply"], ["plan"]):
        ran = run_in_process(*words, "--state", tmp_path / "s", "--program", file, env=env)
        assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("0 changes")
    token = run_in_process(
        "token", "create", "acme", "--name", "ci", "--state", tmp_path / "s", env=env
    )
    assert token.code == 0
    listed = run_in_process("token", "list", "--json", "--state", tmp_path / "s", env=env)
    assert [each["name"] for each in listed.json] == ["ci"]
    assert not (tmp_path / "s").exists()


def test_a_credential_names_it_too(address: Address, tmp_path: Path) -> None:
    """The URL with its password can come as a credential file; the environment overrides it."""
    (tmp_path / "database-url").write_text(f"{address.database}\n")
    env = environment(CREDENTIALS_DIRECTORY=str(tmp_path))
    ran = run_in_process("status", "--state", tmp_path, env=env)
    assert ran.code == 2 and f"--database {address.book}: no book there" in ran.sentence
    ran = run_in_process("status", "--state", tmp_path, env={**env, "COHORTD_DATABASE": "nonsense"})
    assert ran.code == 2 and "write postgresql://" in ran.sentence


@pytest.mark.parametrize("is_there", [True, False])
def test_check_tries_the_database(address: Address, tmp_path: Path, is_there: bool) -> None:
    """check has a line on the database, with a fix if it is not reached, and creates nothing."""
    file = tmp_path / "program.toml"
    file.write_text(PROGRAM)
    url = address.database if is_there else f"postgresql://me@/x?host={tmp_path}"
    ran = run_in_process(
        "check", "--state", tmp_path, "--program", file, "--json", "--database", url
    )
    (found,) = [each for each in ran.json if each["name"] == "database"]
    assert (found["ok"], bool(found["fix"])) == (is_there, not is_there)
    assert not is_there or not Book.exists_at(address)


def test_what_is_wrong_is_one_sentence(address: Address, tmp_path: Path) -> None:
    """No book and a bad URL exit 2, a server that is away exits 3, and no password is shown."""
    state = ("--state", tmp_path)
    none = run_in_process("status", *state, "--database", address.database)
    assert none.code == 2 and "no book there" in none.sentence
    bad = run_in_process("status", *state, "--database", "mysql://me:sesame@db/x")
    assert bad.code == 2 and "write postgresql://" in bad.sentence
    away = run_in_process(
        "status", *state, "--database", f"postgresql://me:sesame@/x?host={tmp_path}"
    )
    assert away.code == 3 and "cannot be read" in away.sentence
    assert "sesame" not in bad.err + away.err

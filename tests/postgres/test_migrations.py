"""I23: a book of an earlier schema becomes one of this schema, with its rows, on both databases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import quotas.migrations
from quotas.book import Address, Book

from .test_session import schema_of

REPO = Path(__file__).resolve().parents[2]
FIRST = "0002"
OLD_ROWS = (
    "INSERT INTO transfer VALUES (1, 'k', 'grant', 'c', 's', 0, 0, 0, 'a', 'r', "
    "'{\"deed\": \"d1\", \"x\": 1}', 'p', 'h')",
    "INSERT INTO transfer VALUES (2, 'l', 'grant', 'c', 's', 0, 0, 1, 'a', 'r', '{}', 'h', 'i')",
    "INSERT INTO price VALUES ('b', 20, 2000, 'api'), ('a', 20, 1000, 'api'), ('b', 10, 1, 'api')",
    "INSERT INTO notice (startup, server_id, server_name, zone, rule, cause, mode, given_s, "
    "deadline_s, state, text) VALUES ('s', 'v', 'n', 'z', 'limit', 'c', 'off', 1, 2, 'open', 't')",
    *(
        "INSERT INTO run (id, server_id, server_name, zone, project_id, startup, flavor, gpus, "
        "start_s, posted_until_s, state, end_s, start_error_s, end_error_s) VALUES "
        f"('{server}@{start_s}', '{server}', 'n', 'z', 'p', '{startup}', 'f', 1, {start_s}, "
        f"{start_s}, 'x', {end_s}, 0, 0)"
        for server, startup, start_s, end_s in (
            ("cut", "s", 5, 10),
            ("cut", "r", 20, 30),
            ("cut", "s", 30, 40),
            ("cut", "s", 45, "NULL"),
            ("other", "s", 7, 45),
            ("off", "s", 5, 10),
            ("off", "s", 12, "NULL"),
        )
    ),
    "INSERT INTO dispute VALUES ('cut', 40, 45, 's', 'f', 1), ('off', 0, 12, 's', 'f', 1)",
)
BEGAN = [
    ("cut@20", 20, "r"),
    ("cut@30", 30, "s"),
    ("cut@45", 20, "r"),
    ("cut@5", 5, "s"),
    ("off@12", 12, "s"),
    ("off@5", 5, "s"),
    ("other@7", 7, "s"),
]
"""Cut twice, by an owner and an outage; off in between; and a server of its own."""
SPEAKS_SQLITE = re.compile(
    r"dialects\.sqlite|dialects import sqlite|json_extract\(|json_each|\browid\b|INSERT OR|LIMIT -1"
    r"|PRAGMA|GLOB|sqlite_master|sqlite_schema"
)
MAY = {
    "quotas/book/sqlite.py": "is SQLite's side of the book",
    "quotas/book/reads/history.py": "has a branch for each",
    "quotas/book/reads/changes.py": "has a class for each",
    "quotas/book/inbox.py": "is a SQLite file beside either book",
}


@pytest.fixture(params=["file", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    """Where a book is to be made, on each of the two."""
    if request.param == "file":
        return Address(tmp_path)
    found: Address = request.getfixturevalue("address")
    return found


@pytest.fixture
def upgrades(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Opening a book brings it to the revision in "to"."""
    target = {"to": "head"}
    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, target["to"]))
    return target


def revisions() -> list[str]:
    """Every revision, oldest first."""
    scripts = ScriptDirectory(str(Path(quotas.migrations.__file__).parent))
    return [each.revision for each in scripts.walk_revisions()][::-1]


def test_each_step_keeps_what_was_there(place: Address, upgrades: dict[str, str]) -> None:
    """From the second schema on, one revision after the other, to the schema of a new book."""
    upgrades["to"] = FIRST
    book = Book.open(place)
    with book.writing() as connection:
        for row in OLD_ROWS:
            connection.execute(text(row))
    for revision in revisions()[revisions().index(FIRST) + 1 :]:
        book.close()
        upgrades["to"] = revision
        book = Book.open(place)
    with book.reading() as connection:
        assert _all(connection, "SELECT key, transfer_id FROM deed") == [("d1", 1)]
        prices = "SELECT id, flavor, from_s, rate_ucr_per_h FROM price ORDER BY id"
        assert _all(connection, prices) == [
            (1, "b", 10, 1),
            (2, "a", 20, 1000),
            (3, "b", 20, 2000),
        ]
        assert _all(connection, "SELECT id, snoozed_s, acknowledged_by FROM notice") == [(1, 0, "")]
        assert sorted(_all(connection, "SELECT id, began_s, began_by FROM run")) == BEGAN
    assert book.engine.dialect.name == ("postgresql" if place.database else "sqlite")
    book.close()


def test_step_by_step_leads_to_the_same_schema(
    address: Address, upgrades: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """PostgreSQL's tables are the same whether a book was made yesterday or long ago."""
    for upgrades["to"] in revisions():
        Book.open(address).close()
    direct = Book.open(request.getfixturevalue("server").address(address.folder))
    slowly = Book.open(address)
    with direct.reading() as one, slowly.reading() as two:
        assert schema_of(one) == schema_of(two)
    direct.close()
    slowly.close()


def test_only_a_few_modules_speak_sqlite() -> None:
    """Words that PostgreSQL does not know stand where a branch for it stands too."""
    found = {
        str(path.relative_to(REPO))
        for folder in ("quotas", "scheduler", "exporters")
        for path in (REPO / folder).rglob("*.py")
        if "migrations" not in path.parts and SPEAKS_SQLITE.search(path.read_text())
    }
    assert found == set(MAY)


def _all(connection: Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]

"""What does a book look like that another version of cohortd left behind?"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from quotas import migrations
from quotas.book.session import FILE_NAME

NO_HISTORY = {"alembic_version", "lease"}
"""Tables that are not copied: each schema has its version, and nobody leads after a clean stop."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def head() -> str:
    """The revision of this version's books."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def revision(state: Path) -> str:
    """The revision of a book."""
    with closing(sqlite3.connect(state / FILE_NAME)) as book:
        return str(book.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def make_older(state: Path) -> str:
    """Put the rows of a book into one of the revision before the newest; answer that revision.

    The schema is that of its migrations, run up to there; owner and mode stay. Nothing may have
    the book open.
    """
    newest = ScriptDirectory.from_config(_config()).get_revision("head")
    assert newest is not None and isinstance(newest.down_revision, str)
    book, older = state / FILE_NAME, state / "older.db"
    engine = create_engine(f"sqlite:///{older}")
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, newest.down_revision)
    engine.dispose()
    with closing(sqlite3.connect(older, isolation_level=None)) as target:
        target.execute("ATTACH ? AS new", (str(book),))
        target.execute("BEGIN")
        for (name,) in target.execute(
            "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            kept = _columns(target, "main", name)
            if name not in NO_HISTORY and kept & _columns(target, "new", name):
                columns = ", ".join(sorted(kept & _columns(target, "new", name)))
                target.execute(
                    f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM new.{name}"
                )
        target.execute("COMMIT")
    owner = book.stat()
    for path in (book, *state.glob(f"{FILE_NAME}-*")):
        path.unlink(missing_ok=True)
    shutil.move(older, book)
    os.chown(book, owner.st_uid, owner.st_gid)
    book.chmod(owner.st_mode & 0o777)
    return newest.down_revision


def _columns(book: sqlite3.Connection, schema: str, table: str) -> set[str]:
    rows = book.execute("SELECT name FROM pragma_table_info(?, ?)", (table, schema))
    return {str(name) for (name,) in rows}


def stamp(state: Path, number: str) -> None:
    """Write another revision into a book, as a version to come would have left it."""
    with closing(sqlite3.connect(state / FILE_NAME)) as book, book:
        book.execute("UPDATE alembic_version SET version_num = ?", (number,))

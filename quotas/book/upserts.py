"""Inserts of many rows, some of which may exist already, in the dialect of each database.

Each statement is built once for a table, because building it costs more than a few rows do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, Insert, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite


def execute_rows(
    connection: Connection, statement: Executable, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Execute a statement once for each row. Without rows it does nothing."""
    each = list(rows)
    if each:
        connection.execute(statement, each)


def insert_or_ignore(connection: Connection, table: Table) -> Insert:
    """An insert that leaves an existing row as it is."""
    return _insert_or_ignore(connection.dialect.name, table)


def insert_or_replace(connection: Connection, table: Table) -> Insert:
    """An insert of whole rows that replaces existing ones."""
    return _insert_or_replace(connection.dialect.name, table)


def insert_or_add(connection: Connection, table: Table, key: str, amount: str) -> Insert:
    """An insert of the parameters `a` and `m`. If key `a` exists, `m` is added to its amount."""
    return _insert_or_add(connection.dialect.name, table, key, amount)


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@cache
def _insert_or_ignore(dialect: str, table: Table) -> Insert:
    return _insert(dialect, table).on_conflict_do_nothing()


@cache
def _insert_or_replace(dialect: str, table: Table) -> Insert:
    statement = _insert(dialect, table)
    keys = [column.name for column in table.primary_key.columns]
    others = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


@cache
def _insert_or_add(dialect: str, table: Table, key: str, amount: str) -> Insert:
    statement = _insert(dialect, table).values({key: bindparam("a"), amount: bindparam("m")})
    total = table.c[amount] + statement.excluded[amount]
    return statement.on_conflict_do_update(index_elements=[key], set_={amount: total})

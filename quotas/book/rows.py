"""Rows as frozen values, filled by place in the order of their fields, and inserts of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from functools import cache
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import Column, ColumnElement, Connection, Executable, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

from quotas.book.schema.records import Row
from quotas.book.schema.tables import INTENT, NOTICE, OVERRIDE, OVERUSE, REQUEST, RUN
from quotas.book.session import rows_of
from quotas.metering.runs import Run
from quotas.state.notices import Intent, Notice
from quotas.state.overrides import Override
from quotas.state.requests import Request
from quotas.state.snapshot import Overuse

Value = TypeVar("Value")
IfKnown = Literal["keep", "replace", "add"]
"""What an insert does with a row whose key exists: nothing, replace it, or add its amounts."""


def columns_of(table: Table, kind: type[Any]) -> tuple[Column[Any], ...]:
    """The columns that fill a value of this kind, in the order of its fields."""
    return tuple(table.c[field.name] for field in fields(kind))


def read_values(
    connection: Connection, kind: Callable[..., Value], query: Executable, **parameters: Any
) -> tuple[Value, ...]:
    """The rows of a query as values, each filled by its columns in order."""
    return tuple(kind(*row) for row in connection.execute(query, parameters))


def add_row(connection: Connection, row: Row) -> None:
    """Write a new row."""
    with rows_of(connection) as rows:
        rows.add(row)


def insert_value(connection: Connection, kind: type[Row], value: Value) -> Value:
    """Write a value as a new row; returns it with the id that the database gave to the row."""
    row: Any = kind(**asdict(cast(Any, value)))
    with rows_of(connection) as rows:
        rows.add(row)
        rows.flush()
        numbered: Value = replace(cast(Any, value), id=row.id)
    return numbered


def execute_rows(
    connection: Connection, statement: Executable, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Execute a statement once for each row. Without rows it does nothing."""
    each = list(rows)
    if each:
        connection.execute(statement, each)


def insert_rows(
    connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]], if_known: IfKnown
) -> None:
    """Insert rows, some of which may exist already."""
    execute_rows(connection, insert_statement(connection.dialect.name, table, if_known), rows)


@cache
def insert_statement(dialect: str, table: Table, if_known: IfKnown) -> Insert:
    """The statement of such an insert, built once: building it costs more than a few rows do."""
    statement = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    if if_known == "keep":
        return statement.on_conflict_do_nothing()
    keys = [column.name for column in table.primary_key.columns]
    after: dict[str, ColumnElement[Any]]
    after = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    if if_known == "add":
        after = {name: table.c[name] + added for name, added in after.items()}
    return statement.on_conflict_do_update(index_elements=keys, set_=after)


RUN_FIELDS = columns_of(RUN, Run)
NOTICE_FIELDS = columns_of(NOTICE, Notice)
INTENT_FIELDS = columns_of(INTENT, Intent)
REQUEST_FIELDS = columns_of(REQUEST, Request)
OVERUSE_FIELDS = columns_of(OVERUSE, Overuse)
OVERRIDE_FIELDS = columns_of(OVERRIDE, Override)

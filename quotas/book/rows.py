"""Rows as frozen values: the fields of a value are selected in order, and fill it by place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar, cast

from sqlalchemy import Column, Connection, Executable, Table

from quotas.book.schema.records import Row
from quotas.book.schema.tables import INTENT, NOTICE, OVERRIDE, OVERUSE, REQUEST, RUN
from quotas.book.session import rows_of
from quotas.metering.runs import Run
from quotas.state.notices import Intent, Notice
from quotas.state.overrides import Override
from quotas.state.requests import Request
from quotas.state.snapshot import Overuse

Value = TypeVar("Value")


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


RUN_FIELDS = columns_of(RUN, Run)
NOTICE_FIELDS = columns_of(NOTICE, Notice)
INTENT_FIELDS = columns_of(INTENT, Intent)
REQUEST_FIELDS = columns_of(REQUEST, Request)
OVERUSE_FIELDS = columns_of(OVERUSE, Overuse)
OVERRIDE_FIELDS = columns_of(OVERRIDE, Override)

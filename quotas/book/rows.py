"""Rows as frozen values: the fields of a value are selected in order, and fill it by place."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Column, Table

from quotas.book.schema.tables import INTENT, NOTICE, OVERUSE, REQUEST, RUN
from quotas.metering.runs import Run
from quotas.state.notices import Intent, Notice
from quotas.state.requests import Request
from quotas.state.snapshot import Overuse


def columns_of(table: Table, kind: type[Any]) -> tuple[Column[Any], ...]:
    """The columns that fill a value of this kind, in the order of its fields."""
    return tuple(table.c[field.name] for field in fields(kind))


RUN_FIELDS = columns_of(RUN, Run)
NOTICE_FIELDS = columns_of(NOTICE, Notice)
INTENT_FIELDS = columns_of(INTENT, Intent)
REQUEST_FIELDS = columns_of(REQUEST, Request)
OVERUSE_FIELDS = columns_of(OVERUSE, Overuse)

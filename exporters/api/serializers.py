"""Rows of the book as response models of the API, where names or forms differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping

from exporters.api.models import (
    Charge,
    Decision,
    Notice,
    StartupRequest,
    StatementAnswer,
    StatementEntry,
)
from quotas.state.requests import QUOTA


def decision_of(row: RowMapping) -> Decision:
    """A row of the decisions."""
    return Decision.of(
        row,
        server=row["server_id"],
        reason=row["reason"],
    )


def notice_of(row: RowMapping) -> Notice:
    """A row of the notices."""
    return Notice.of(
        row,
        server=row["server_id"],
        text=row["text"],
    )


def charge_of(row: RowMapping) -> Charge:
    """A charge's transfer, with the amount of its usage entry."""
    return Charge.of(row, json.loads(row["detail"]), credits=row["amount_ucr"])


def request_of(row: RowMapping) -> StartupRequest:
    """A row of the requests."""
    refused_for = None if row["quota_gpus"] is None else QUOTA
    closed, fulfilled = row["ended_s"], row["met_s"]
    return StartupRequest.of(row, closed=closed, fulfilled=fulfilled, refused_for=refused_for)


def statement_of(found: Mapping[str, Any]) -> StatementAnswer:
    """A whole statement, without the keys of transfers, which name the operator who acted."""
    return StatementAnswer.of(found, lines=[StatementEntry.of(line) for line in found["lines"]])

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
from quotas.messages.catalogue import notice_text, reason_text
from quotas.messages.catalogue.requests import request_detail
from quotas.state.notices import Notice as StoredNotice
from quotas.state.requests import QUOTA, Request


def decision_of(row: RowMapping) -> Decision:
    """A row of the decisions."""
    return Decision.of(
        row,
        server=row["server_id"],
        reason=reason_text(row["rule"], row["verb"], row["inputs"]),
    )


def notice_of(row: RowMapping) -> Notice:
    """A row of the notices."""
    return Notice.of(
        row,
        server=row["server_id"],
        text=notice_text(StoredNotice(**row)),
    )


def charge_of(row: RowMapping) -> Charge:
    """A charge's transfer, with the amount of its usage entry."""
    return Charge.of(row, json.loads(row["detail"]), credits=row["amount_ucr"])


def request_of(row: RowMapping) -> StartupRequest:
    """A row of the requests."""
    refused_for = None if row["quota_gpus"] is None else QUOTA
    return StartupRequest.of(
        row,
        closed=row["ended_s"],
        fulfilled=row["met_s"],
        refused_for=refused_for,
        detail=request_detail(Request(**row)),
    )


def statement_of(found: Mapping[str, Any]) -> StatementAnswer:
    """A whole statement, without the keys of transfers, which name the operator who acted."""
    return StatementAnswer.of(found, lines=[StatementEntry.of(line) for line in found["lines"]])

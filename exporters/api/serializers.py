"""Rows of the book as response models of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from sqlalchemy import RowMapping

from exporters.api.models import (
    Charge,
    Decision,
    DecisionExplanation,
    Notice,
    StartupRequest,
    StatementAnswer,
    StatementEntry,
    StatementSummary,
)
from quotas.messages.catalogue import notice_text, reason_text
from quotas.messages.catalogue.requests import request_detail
from quotas.messages.explain import Explanation
from quotas.model.units import format_credits, format_instant
from quotas.state.notices import Notice as StoredNotice
from quotas.state.requests import QUOTA, Request


def decision_of(row: RowMapping) -> Decision:
    """A row of the decisions."""
    return Decision(
        id=row["id"],
        at=format_instant(row["at_s"]),
        mode=row["mode"],
        verb=row["verb"],
        server=row["server_id"] or None,
        rule=row["rule"],
        reason=reason_text(row["rule"], row["verb"], row["inputs"]),
    )


def notice_of(row: RowMapping) -> Notice:
    """A row of the notices."""
    known_s = row["acknowledged_s"]
    return Notice(
        id=row["id"],
        server=row["server_id"] or None,
        server_name=row["server_name"] or None,
        rule=row["rule"],
        mode=row["mode"],
        state=row["state"],
        opened=format_instant(row["opened_s"]),
        deadline=format_instant(row["deadline_s"]),
        acknowledged=None if known_s is None else format_instant(known_s),
        text=notice_text(StoredNotice(**row)),
    )


def charge_of(row: RowMapping) -> Charge:
    """A charge's transfer, with the amount of its usage entry."""
    detail = json.loads(row["detail"])
    return Charge(
        id=row["id"],
        server=detail["server"],
        flavor=detail["flavor"],
        gpus=detail["gpus"],
        start=format_instant(detail["start_s"]),
        end=format_instant(detail["end_s"]),
        credits=format_credits(row["amount_ucr"]),
    )


def request_of(row: RowMapping) -> StartupRequest:
    """A row of the requests."""
    fulfilled_s, closed_s = row["met_s"], row["ended_s"]
    return StartupRequest(
        id=row["id"],
        pool=row["pool"],
        gpus=row["gpus"],
        duration_s=row["duration_s"],
        reason=row["reason"],
        state=row["state"],
        opened=format_instant(row["opened_s"]),
        fulfilled=None if fulfilled_s is None else format_instant(fulfilled_s),
        closed=None if closed_s is None else format_instant(closed_s),
        detail=request_detail(Request(**row)),
        refused_for=None if row["quota_gpus"] is None else QUOTA,
    )


def explanation_of(id: int, found: Explanation) -> DecisionExplanation:
    """The explanation of a decision."""
    return DecisionExplanation(
        decision=id,
        rule=found.rule,
        verb=found.verb,
        at=format_instant(found.at_s),
        reason=found.reason,
        inputs=dict(found.inputs),
        is_recomputed=found.is_recomputed,
        check=found.check,
        counterfactual=found.counterfactual,
        next_step=found.next_step,
        changed_by=found.who_may_change_it,
        intents=list(found.intents),
    )


def statement_summary(found: Mapping[str, Any]) -> StatementSummary:
    """A statement without its lines."""
    return StatementSummary(**_fields(StatementSummary, found))


def statement_of(found: Mapping[str, Any]) -> StatementAnswer:
    """A whole statement, without the keys of transfers, which name the operator who acted."""
    lines = [StatementEntry(**_fields(StatementEntry, line)) for line in found["lines"]]
    return StatementAnswer(**_fields(StatementSummary, found), lines=lines)


def _fields(model: type[BaseModel], found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in model.model_fields if name in found}

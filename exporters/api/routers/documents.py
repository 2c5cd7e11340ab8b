"""The routes of monthly statements and of explanations of decisions."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from exporters.api.access import StatementViewerDep, Viewer, ViewerDep
from exporters.api.models import DecisionExplanation, StatementAnswer, StatementsAnswer
from exporters.api.problems import Problem
from exporters.api.routers.startup import NO_QUERY, conditional_response, with_etag
from quotas.ledger.statements import csv_text, month_s

router = APIRouter(prefix="/v1", tags=["startup"])
CSV = "text/csv"
Month = Annotated[str, Path(pattern=r"^[0-9]{4}-[0-9]{2}$", examples=["2027-01"])]
Number = Annotated[int, Path(ge=1, le=2**53, examples=[17])]


class Shape(BaseModel):
    """The format of the answer; without it, `Accept` decides."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["json", "csv"] | None = Field(None, description="json or csv")


@router.get(
    "/decisions/{number}/explanation", response_model=DecisionExplanation, dependencies=NO_QUERY
)
async def explanation(request: Request, viewer: ViewerDep, number: Number) -> Response:
    """A decision explained: its inputs, what would change it, what follows, who may act."""
    found = viewer.reads.explanation(viewer.read_model.book(), number)
    if found is None:
        raise Problem(404, "no-such-decision", "You have no such decision: see /v1/decisions.")
    return conditional_response(request, with_etag(found))


@router.get("/statements", response_model=StatementsAnswer, dependencies=NO_QUERY)
async def statements(request: Request, viewer: StatementViewerDep) -> Response:
    """Every UTC month with its opening and closing balance, newest first."""
    found = await asyncio.to_thread(viewer.reads.statements, viewer.read_model.book())
    return conditional_response(request, with_etag(found))


@router.get(
    "/statements/{month}",
    response_model=StatementAnswer,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
async def statement(
    request: Request, viewer: StatementViewerDep, month: Month, shape: Annotated[Shape, Query()]
) -> Response:
    """One UTC month, line by line, as JSON or (`Accept: text/csv`, `format=csv`) as CSV."""
    found = await asyncio.to_thread(_month, viewer, month)
    if shape.format == "csv" or (shape.format is None and _prefers_csv(request)):
        text = csv_text({"startup": viewer.token.startup, **found.model_dump(exclude_none=True)})
        answer = conditional_response(request, with_etag(text), CSV)
    else:
        answer = conditional_response(request, with_etag(found))
    answer.headers["Vary"] = "Authorization, Accept"
    return answer


def _month(viewer: Viewer, month: str) -> StatementAnswer:
    try:
        begins_s = month_s(month)
    except ValueError as error:
        raise Problem(422, "invalid", f"path.month: {error}.") from None
    found = viewer.reads.statement(viewer.read_model.book(), begins_s)
    if found is None:
        raise Problem(404, "no-such-statement", f"You have none for {month}: see /v1/statements.")
    return found


def _prefers_csv(request: Request) -> bool:
    accepted = [
        each.partition(";")[0].strip() for each in request.headers.get("accept", "").split(",")
    ]
    return CSV in accepted and "application/json" not in accepted

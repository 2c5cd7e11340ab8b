"""The routes of operators: every startup, one startup, and the operators' own actions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from exporters.api import models
from exporters.api.problems import Problem
from exporters.api.read_model import CachedStatus, ReadModel
from exporters.api.routers.startup import (
    NO_QUERY,
    LimitQuery,
    Paging,
    conditional_response,
    with_etag,
)
from exporters.api.startup_reads import StartupReads
from quotas.book.reads.overrides import read_operator_actions
from quotas.model.tokens import OPERATOR_SCOPES

router = APIRouter(prefix="/v1/admin", tags=["operators"])


class NamePaging(LimitQuery):
    """The position and the length of a list by name."""

    cursor: str = Field("", max_length=63, pattern=r"^[a-z0-9-]*$")


@dataclass(frozen=True, slots=True)
class StartupForOperator:
    """One startup, as an operator reads it."""

    reads: StartupReads
    cached: CachedStatus
    read_model: ReadModel


def with_scope(*scopes: str) -> Callable[[Request], Awaitable[CachedStatus]]:
    """A dependency that answers the status to a token with one of these scopes."""

    async def check(request: Request) -> CachedStatus:
        request.app.state.access.token(request, *scopes)
        read_model: ReadModel = request.app.state.read_model
        return await read_model.latest()

    return check


OperatorStatus = Annotated[CachedStatus, Depends(with_scope(*sorted(OPERATOR_SCOPES)))]
AuditorStatus = Annotated[CachedStatus, Depends(with_scope("audit"))]
"""Operators do not audit themselves: their actions need a scope of their own."""


async def selected(request: Request, cached: OperatorStatus, name: str) -> StartupForOperator:
    """The reads of one startup, for an operator."""
    if name not in cached.program_status.names:
        raise Problem(404, "no-such-startup", "No startup has that name: see /v1/admin/startups.")
    reads = StartupReads(name, cached.program_status)
    return StartupForOperator(reads, cached, request.app.state.read_model)


SelectedStartup = Annotated[StartupForOperator, Depends(selected)]


@router.get("/startups", response_model=models.PageOf[models.StartupSummary])
async def startups(
    request: Request, cached: OperatorStatus, names: Annotated[NamePaging, Query()]
) -> Response:
    """Every startup by name: level, credits, burn, runway, GPUs."""
    after = [name for name in cached.program_status.names if name > names.cursor]
    page = after[: names.limit]
    following = page[-1] if len(after) > names.limit else None
    answer = models.PageOf[models.StartupSummary](
        items=[_summary(cached, name) for name in page], next=following
    )
    return conditional_response(request, with_etag(answer))


@router.get("/startups/{name}/credits", response_model=models.CreditsAnswer, dependencies=NO_QUERY)
async def startup_credits(request: Request, selected: SelectedStartup) -> Response:
    """The credits of one startup, as the startup sees them."""
    return conditional_response(request, with_etag(selected.reads.credits()))


@router.get("/startups/{name}/decisions", response_model=models.PageOf[models.Decision])
async def startup_decisions(
    request: Request, selected: SelectedStartup, paging: Annotated[Paging, Query()]
) -> Response:
    """The decisions about one startup, newest first."""
    found = selected.reads.decisions(selected.read_model.book(), paging.before, paging.limit)
    return conditional_response(request, with_etag(found))


@router.get(
    "/startups/{name}/statements", response_model=models.StatementsAnswer, dependencies=NO_QUERY
)
async def startup_statements(request: Request, selected: SelectedStartup) -> Response:
    """The months of one startup, newest first."""
    found = await asyncio.to_thread(selected.reads.statements, selected.read_model.book())
    return conditional_response(request, with_etag(found))


@router.get("/actions", response_model=models.OperatorActionsAnswer)
async def actions(
    request: Request, cached: AuditorStatus, latest: Annotated[LimitQuery, Query()]
) -> Response:
    """Actions of operators, newest first: who, when, what, why. Needs scope audit."""
    read_model: ReadModel = request.app.state.read_model
    found = await asyncio.to_thread(read_operator_actions, read_model.book(), latest.limit)
    answer = models.OperatorActionsAnswer(items=[models.OperatorAction.of(row) for row in found])
    return conditional_response(request, with_etag(answer))


def _summary(cached: CachedStatus, name: str) -> models.StartupSummary:
    status = cached.program_status.startup(name)
    return models.StartupSummary.of(
        status,
        status.balance,
        cohort=status.cohort_name or None,
        burn_per_hour=status.balance.burn_ucr_per_h,
        exhausted_at=status.balance.exhausted_s,
    )

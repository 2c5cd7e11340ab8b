"""What do operators ask over the API? Every startup, any one of them, and their own deeds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from exporters.api.access import Access
from exporters.api.models import (
    CreditsAnswer,
    Decision,
    Deed,
    DeedsAnswer,
    PageOf,
    StartupLine,
    StatementsAnswer,
)
from exporters.api.problems import Problem
from exporters.api.read_model import Shown, Source
from exporters.api.routers.startup import PLAIN, Paging, fresh, page_of
from exporters.api.startup_reads import StartupReads, runway_s
from quotas.book.actions.overrides import read_deeds
from quotas.model.tokens import OPERATOR_SCOPES
from quotas.model.units import format_credits, format_instant

router = APIRouter(prefix="/v1/admin", tags=["operators"])


class Names(BaseModel):
    """Where to go on in a list by name."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)
    cursor: str = Field("", max_length=63, pattern=r"^[a-z0-9-]*$")


@dataclass(frozen=True, slots=True)
class Looked:
    """One startup, as an operator looks at it."""

    reads: StartupReads
    shown: Shown
    source: Source


async def operator(request: Request) -> Shown:
    """The board, for a token with scope admin or audit."""
    access: Access = request.app.state.access
    source: Source = request.app.state.source
    access.token(request, *sorted(OPERATOR_SCOPES))
    return await source.newest()


async def auditor(request: Request) -> Shown:
    """The board, for a token with scope audit: who acts is not who looks it over."""
    access: Access = request.app.state.access
    source: Source = request.app.state.source
    access.token(request, "audit")
    return await source.newest()


async def one(request: Request, shown: Annotated[Shown, Depends(operator)], name: str) -> Looked:
    """What one startup is shown, for an operator."""
    if name not in shown.board.names():
        raise Problem(404, "no-such-startup", "No startup has that name: see /v1/admin/startups.")
    return Looked(StartupReads(name, shown.board), shown, request.app.state.source)


Everything = Annotated[Shown, Depends(operator)]
One = Annotated[Looked, Depends(one)]


class Newest(BaseModel):
    """How many to answer."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)


@router.get("/startups", response_model=PageOf[StartupLine])
async def startups(
    request: Request, shown: Everything, names: Annotated[Names, Query()]
) -> Response:
    """Every startup by name: level, credits, burn, runway, GPUs."""
    after = [name for name in shown.board.names() if name > names.cursor]
    page = after[: names.limit]
    following = page[-1] if len(after) > names.limit else None
    answer = PageOf[StartupLine](items=[_line(shown, name) for name in page], next=following)
    return fresh(request, page_of(answer), shown)


@router.get("/startups/{name}/credits", response_model=CreditsAnswer, dependencies=PLAIN)
async def startup_credits(request: Request, one: One) -> Response:
    """The credits of one startup, as it sees them itself."""
    return fresh(request, page_of(one.reads.credits()), one.shown)


@router.get("/startups/{name}/decisions", response_model=PageOf[Decision])
async def startup_decisions(
    request: Request, one: One, paging: Annotated[Paging, Query()]
) -> Response:
    """What was decided about one startup, newest first."""
    found = one.reads.decisions(one.source.book(), paging.before, paging.limit)
    return fresh(request, page_of(found), one.shown)


@router.get("/startups/{name}/statements", response_model=StatementsAnswer, dependencies=PLAIN)
async def startup_statements(request: Request, one: One) -> Response:
    """The months of one startup, newest first."""
    found = await asyncio.to_thread(one.reads.statements, one.source.book())
    return fresh(request, page_of(found), one.shown)


@router.get("/deeds", response_model=DeedsAnswer)
async def deeds(
    request: Request,
    shown: Annotated[Shown, Depends(auditor)],
    newest: Annotated[Newest, Query()],
) -> Response:
    """What operators did, newest first: who, when, what, why. Needs scope audit."""
    source: Source = request.app.state.source
    found = await asyncio.to_thread(read_deeds, source.book(), newest.limit)
    items = [Deed(**{name: row[name] for name in Deed.model_fields}) for row in found]
    return fresh(request, page_of(DeedsAnswer(items=items)), shown)


def _line(shown: Shown, name: str) -> StartupLine:
    own = shown.board.standing(name)
    exhausted_s = own.balance.exhausted_s
    return StartupLine(
        name=name,
        cohort=own.cohort.name if own.cohort else None,
        level=own.level,
        available=format_credits(own.balance.available_ucr),
        burn_per_hour=format_credits(own.balance.burn_ucr_per_h),
        runway_s=runway_s(own),
        exhausted_at=None if exhausted_s is None else format_instant(exhausted_s),
        gpus=sum(run.gpus for run in own.runs),
    )

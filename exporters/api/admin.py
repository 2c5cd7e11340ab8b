"""What do operators ask over the API? Every startup in one list, and one startup's credits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from exporters.api.access import Access, no_query
from exporters.api.models import CreditsAnswer, PageOf, StartupLine
from exporters.api.problems import Problem
from exporters.api.reads import StartupReads, runway_s
from exporters.api.routes import fresh, page_of
from exporters.api.source import Shown, Source
from quotas.tokens import OPERATOR_SCOPES
from quotas.units import format_credits, format_instant

router = APIRouter(prefix="/v1/admin", tags=["operators"])


class Names(BaseModel):
    """Where to go on in a list by name."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)
    cursor: str = Field("", max_length=63, pattern=r"^[a-z0-9-]*$")


async def operator(request: Request) -> Shown:
    """The board, for a token with scope admin or audit."""
    access: Access = request.app.state.access
    source: Source = request.app.state.source
    access.token(request, *sorted(OPERATOR_SCOPES))
    return await source.shown()


Everything = Annotated[Shown, Depends(operator)]


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


@router.get(
    "/startups/{name}/credits", response_model=CreditsAnswer, dependencies=[Depends(no_query)]
)
async def startup_credits(request: Request, shown: Everything, name: str) -> Response:
    """The credits of one startup, as it sees them itself."""
    if name not in shown.board.names():
        raise Problem(404, "no-such-startup", "No startup has that name: see /v1/admin/startups.")
    return fresh(request, page_of(StartupReads(name, shown.board).credits()), shown)


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

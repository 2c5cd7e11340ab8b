"""What does a startup's API answer? One short function for each resource under /v1."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from exporters.api.access import Own, OwnAlone, OwnReads, no_query
from exporters.api.models import (
    Charge,
    CreditsAnswer,
    Decision,
    EventsAnswer,
    Me,
    Notice,
    PageOf,
    QuotaAnswer,
    ServersAnswer,
    UsageAnswer,
)
from exporters.api.problems import Problem
from exporters.api.read_model import Page, Shown
from quotas.model.units import format_instant

router = APIRouter(prefix="/v1", tags=["startup"])
PLAIN = [Depends(no_query)]
LOOK_S = 0.5
LONGEST_WAIT_S = 25
MOST_WAITING = 100


class Paging(BaseModel):
    """Where to go on, and how much to answer."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(
        None, pattern=r"^[0-9]{1,18}$", description="`next` of the last page"
    )

    @property
    def before(self) -> int | None:
        """The row that the last page ended with."""
        return None if self.cursor is None else int(self.cursor)


class NoticePaging(Paging):
    """The same, for live notices alone where asked."""

    live: bool = Field(False, description="only notices that still hold")


class Feed(BaseModel):
    """From where on, and how long to wait for news."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)
    cursor: str = Field("0-0", pattern=r"^[0-9]{1,18}-[0-9]{1,18}$")
    wait: int = Field(0, ge=0, le=LONGEST_WAIT_S, description="seconds to wait for news")

    @property
    def after(self) -> tuple[int, int]:
        """The last decision and the last notice that were seen."""
        decided, _, noticed = self.cursor.partition("-")
        return int(decided), int(noticed)


def fresh(
    request: Request, page: Page, shown: Shown, media_type: str = "application/json"
) -> Response:
    """The page, or 304 where the client has it already; a snapshot says that it is one."""
    tag, body = page
    headers = {"ETag": tag}
    if shown.from_snapshot:
        headers["Cohortd-Snapshot"] = format_instant(shown.board.at_s)
    if_none = request.headers.get("if-none-match")
    if if_none is not None and (if_none.strip() == "*" or tag in _tags(if_none)):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def page_of(answer: BaseModel | str) -> Page:
    """An answer's bytes with their tag."""
    body = (answer if isinstance(answer, str) else answer.model_dump_json()).encode()
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"', body


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


def _kept(own: Own, resource: str, make: Callable[[], BaseModel]) -> Page:
    """A page made once for each board."""
    key = (own.token.startup, resource)
    page = own.shown.pages.get(key)
    if page is None:
        page = own.shown.pages[key] = page_of(make())
    return page


@router.get("/me", response_model=Me)
async def me(request: Request, own: OwnAlone) -> Response:
    """Whose token this is, what it may do, and until when."""
    token, standing = own.token, own.reads.standing()
    cohort = standing.cohort
    answer = Me(
        token=token.id,
        name=token.name,
        scopes=list(token.scopes),
        expires=format_instant(token.expires_s),
        program=own.shown.board.program.name,
        mode=own.shown.board.program.mode,
        startup=token.startup,
        cohort=cohort.name if cohort else None,
        starts=format_instant(cohort.starts_s) if cohort else None,
        ends=format_instant(cohort.ends_s) if cohort else None,
    )
    return fresh(request, page_of(answer), own.shown)


@router.get("/credits", response_model=CreditsAnswer)
async def credits(request: Request, own: OwnAlone) -> Response:
    """How much is left, how fast it burns and how long it lasts, all from one instant."""
    return fresh(request, _kept(own, "credits", own.reads.credits), own.shown)


@router.get("/usage", response_model=UsageAnswer)
async def usage(request: Request, own: OwnAlone) -> Response:
    """GPUs of billable servers now, and what running has cost to date."""
    return fresh(request, _kept(own, "usage", own.reads.usage), own.shown)


@router.get("/servers", response_model=ServersAnswer)
async def servers(request: Request, own: OwnAlone) -> Response:
    """Every billable server, what it costs, and when it will be stopped if it will."""
    return fresh(request, _kept(own, "servers", own.reads.servers), own.shown)


@router.get("/quota", response_model=QuotaAnswer)
async def quota(request: Request, own: OwnAlone) -> Response:
    """GPUs by pool: nominal, share, ceiling, and what limits them."""
    return fresh(request, _kept(own, "quota", own.reads.quota), own.shown)


@router.get("/charges", response_model=PageOf[Charge])
async def charges(request: Request, own: OwnReads, paging: Annotated[Paging, Query()]) -> Response:
    """What was charged, period by period, newest first."""
    found = own.reads.charges(own.source.book(), paging.before, paging.limit)
    return fresh(request, page_of(found), own.shown)


@router.get("/decisions", response_model=PageOf[Decision])
async def decisions(
    request: Request, own: OwnReads, paging: Annotated[Paging, Query()]
) -> Response:
    """What was decided about you and why, newest first."""
    found = own.reads.decisions(own.source.book(), paging.before, paging.limit)
    return fresh(request, page_of(found), own.shown)


@router.get("/notices", response_model=PageOf[Notice])
async def notices(
    request: Request, own: OwnReads, paging: Annotated[NoticePaging, Query()]
) -> Response:
    """What was announced to you, newest first."""
    book = own.source.book()
    found = own.reads.notices(book, paging.before, paging.limit, only_live=paging.live)
    return fresh(request, page_of(found), own.shown)


@router.get("/events", response_model=EventsAnswer)
async def events(request: Request, own: OwnReads, feed: Annotated[Feed, Query()]) -> Response:
    """Decisions and notices since a cursor, oldest first; waits up to `wait` seconds for one."""
    found = own.reads.events(own.source.book(), feed.after, feed.limit)
    if not found.items and feed.wait:
        await _news(request.app.state, own, feed.wait)
        found = own.reads.events(own.source.book(), feed.after, feed.limit)
    return fresh(request, page_of(found), own.shown)


async def _news(state: Any, own: Own, wait_s: int) -> None:
    """Return when the book has changed, or the wait is over."""
    if state.waiting >= MOST_WAITING:
        told = "Too many are waiting for events: ask without 'wait', in a minute."
        raise Problem(503, "too-many-waiting", told, {"Retry-After": "60"})
    state.waiting += 1
    try:
        before = own.source.version()
        for _ in range(int(wait_s / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            if own.source.version() != before:
                return
    finally:
        state.waiting -= 1

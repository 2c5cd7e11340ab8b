"""The read routes of a startup: one short function for each resource under /v1."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from exporters.api.access import Viewer, ViewerDep, ViewerNoQueryDep, no_query
from exporters.api.models import Charge, Decision, EventsAnswer, Me, Notice, PageOf
from exporters.api.problems import Problem
from exporters.api.read_model import TaggedBody
from exporters.api.startup_reads import StartupReads

router = APIRouter(prefix="/v1", tags=["startup"])
NO_QUERY = [Depends(no_query)]
POLL_S = 0.5
MAX_WAIT_S = 25
MAX_LONG_POLLS = 100


class LimitQuery(BaseModel):
    """The length of a list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)


class Paging(LimitQuery):
    """The position and the length of a list."""

    cursor: str | None = Field(
        None, pattern=r"^[0-9]{1,18}$", description="`next` of the last page"
    )

    @property
    def before(self) -> int | None:
        """The row that the last page ended with."""
        return None if self.cursor is None else int(self.cursor)


class NoticePaging(Paging):
    """The same, with an option for live notices only."""

    live: bool = Field(False, description="only notices that still hold")


class EventsQuery(LimitQuery):
    """The position in the events, and how long to wait for news."""

    cursor: str = Field("0-0", pattern=r"^[0-9]{1,18}-[0-9]{1,18}$")
    wait: int = Field(0, ge=0, le=MAX_WAIT_S, description="seconds to wait for news")

    @property
    def after(self) -> tuple[int, int]:
        """The last decision and the last notice that were seen."""
        decided, _, noticed = self.cursor.partition("-")
        return int(decided), int(noticed)


def conditional_response(
    request: Request, page: TaggedBody, media_type: str = "application/json"
) -> Response:
    """The page, or 304 if the client has it, with the age of the view in seconds."""
    tag, body = page
    headers = {"ETag": tag, "Age": str(request.app.state.read_model.age_s())}
    if_none = request.headers.get("if-none-match")
    if if_none is not None:
        tags = [each.strip().removeprefix("W/") for each in if_none.split(",")]
        if if_none.strip() == "*" or tag in tags:
            return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def with_etag(answer: BaseModel | str) -> TaggedBody:
    """The bytes of an answer with their ETag."""
    body = (answer if isinstance(answer, str) else answer.model_dump_json()).encode()
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"', body


@router.get("/me", response_model=Me)
async def me(request: Request, viewer: ViewerNoQueryDep) -> Response:
    """The owner of this token, its scopes and its expiry."""
    program, cohort = viewer.cached.program_status.program, viewer.reads.status().cohort
    answer = Me.of(
        viewer.token,
        token=viewer.token.id,
        program=program.name,
        mode=program.mode,
        cohort=cohort.name if cohort else None,
        starts=cohort.starts_s if cohort else None,
        ends=cohort.ends_s if cohort else None,
    )
    return conditional_response(request, with_etag(answer))


def _add_status_page(read: Callable[[StartupReads], BaseModel]) -> None:
    """Add a page of the status, named and described as its read; it is built once a status."""
    name = read.__name__

    async def status_page(request: Request, viewer: ViewerNoQueryDep) -> Response:
        key = (viewer.token.startup, name)
        page = viewer.cached.pages.get(key)
        if page is None:
            page = viewer.cached.pages[key] = with_etag(read(viewer.reads))
        return conditional_response(request, page)

    model, summary = get_type_hints(read)["return"], read.__doc__
    router.add_api_route(
        f"/{name}", status_page, response_model=model, name=name, description=summary
    )


_add_status_page(StartupReads.credits)
_add_status_page(StartupReads.usage)
_add_status_page(StartupReads.servers)
_add_status_page(StartupReads.quota)


@router.get("/charges", response_model=PageOf[Charge])
async def charges(
    request: Request, viewer: ViewerDep, paging: Annotated[Paging, Query()]
) -> Response:
    """Charges, period by period, newest first."""
    found = viewer.reads.charges(viewer.read_model.book(), paging.before, paging.limit)
    return conditional_response(request, with_etag(found))


@router.get("/decisions", response_model=PageOf[Decision])
async def decisions(
    request: Request, viewer: ViewerDep, paging: Annotated[Paging, Query()]
) -> Response:
    """Decisions about you with their reasons, newest first."""
    found = viewer.reads.decisions(viewer.read_model.book(), paging.before, paging.limit)
    return conditional_response(request, with_etag(found))


@router.get("/notices", response_model=PageOf[Notice])
async def notices(
    request: Request, viewer: ViewerDep, paging: Annotated[NoticePaging, Query()]
) -> Response:
    """Notices to you, newest first."""
    book = viewer.read_model.book()
    found = viewer.reads.notices(book, paging.before, paging.limit, only_live=paging.live)
    return conditional_response(request, with_etag(found))


@router.get("/events", response_model=EventsAnswer)
async def events(
    request: Request, viewer: ViewerDep, query: Annotated[EventsQuery, Query()]
) -> Response:
    """Decisions and notices after a cursor, oldest first; waits up to `wait` seconds for one."""
    found = viewer.reads.events(viewer.read_model.book(), query.after, query.limit)
    if not found.items and query.wait:
        await _wait_for_change(request.app.state, viewer, query.wait)
        found = viewer.reads.events(viewer.read_model.book(), query.after, query.limit)
    return conditional_response(request, with_etag(found))


async def _wait_for_change(state: Any, viewer: Viewer, wait_s: int) -> None:
    """Return when the book has changed, or when the wait is over."""
    if state.long_polls >= MAX_LONG_POLLS:
        detail = "Too many are waiting for events: ask without 'wait', in a minute."
        raise Problem(503, "too-many-waiting", detail, {"Retry-After": "60"})
    state.long_polls += 1
    try:
        before = viewer.read_model.version()
        for _ in range(int(wait_s / POLL_S)):
            await asyncio.sleep(POLL_S)
            if viewer.read_model.version() != before:
                return
    finally:
        state.long_polls -= 1

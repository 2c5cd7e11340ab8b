"""The application of `cohortd serve`: routes, error handlers, and the inbox upkeep."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, RedirectResponse

from exporters.api import problems
from exporters.api.access import Access, RateLimits
from exporters.api.middleware import RequestLimitsMiddleware
from exporters.api.problems import MEDIA_TYPE, Problem, ProblemBody
from exporters.api.read_model import ReadModel
from exporters.api.routers import admin, documents, startup, writes
from exporters.portal.app import build_portal
from quotas.book import Address
from quotas.book.inbox import Inbox, read_answers

log = structlog.get_logger()
TITLE = "cohortd"
DESCRIPTION = (
    "Compute credits and GPU quota of a startup program. Send your token as "
    "`Authorization: Bearer cohortd_…`. Amounts are decimal strings of credits, instants are "
    "RFC 3339 in UTC. A refusal is a problem document (RFC 9457) whose `detail` says what to do."
)
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "content": {MEDIA_TYPE: {}}}
    for status in (400, 401, 403, 404, 422, 429, 503)
}
INBOX_SYNC_EVERY_S = 15


def build_app(
    location: Path | Address,
    inbox: Inbox,
    now_s: Callable[[], int],
    *,
    cycle_s: int = 30,
    rates: RateLimits | None = None,
) -> FastAPI:
    """The application over the view and the inbox in the folder of an address."""
    read_model = ReadModel(location, now_s, cycle_s)
    access = Access(read_model, rates or RateLimits())

    @asynccontextmanager
    async def run_inbox_sync(_app: FastAPI) -> AsyncIterator[None]:
        inbox_task = asyncio.create_task(_sync_inbox(read_model, access, inbox))
        try:
            yield
        finally:
            inbox_task.cancel()
            with suppress(asyncio.CancelledError):
                await inbox_task
            _write_uses(access, inbox)
            read_model.close()

    app = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=run_inbox_sync,
        responses=PROBLEM_RESPONSES,
    )
    app.state.read_model, app.state.access, app.state.inbox = read_model, access, inbox
    app.state.long_polls = 0
    for module in (startup, documents, writes, admin):
        app.include_router(module.router)
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    for path in ("/", "/portal"):
        app.add_route(path, to_portal, include_in_schema=False)
    folder = Address.from_path(location).folder
    app.mount("/portal", build_portal(folder, read_model, access, inbox))
    app.add_middleware(RequestLimitsMiddleware)
    problems.install(app)
    return app


async def healthz() -> Response:
    """Answer that this process is alive."""
    return PlainTextResponse("ok\n")


async def to_portal(_request: Request) -> Response:
    """Redirect to the portal."""
    return RedirectResponse("/portal/")


async def _sync_inbox(read_model: ReadModel, access: Access, inbox: Inbox) -> None:
    """At intervals: settle the writes that the book has answered, and record token uses."""
    while True:
        await asyncio.sleep(INBOX_SYNC_EVERY_S)
        try:
            await asyncio.to_thread(_settle, read_model, inbox)
            _write_uses(access, inbox)
        except (sqlite3.Error, SQLAlchemyError, Problem) as error:
            log.warning("inbox.sync_failed", error=str(error))  # the next round retries


def _settle(read_model: ReadModel, inbox: Inbox) -> None:
    waiting_ids = inbox.waiting_ids()
    answered = read_answers(read_model.book(), waiting_ids) if waiting_ids else ()
    inbox.settle(answered, read_model.now_s())


def _write_uses(access: Access, inbox: Inbox) -> None:
    uses, access.uses = access.uses, {}
    if uses:
        inbox.record_token_uses(uses)

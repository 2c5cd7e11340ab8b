"""What is `cohortd serve` made of? The application, and what it does beside answering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from starlette.responses import PlainTextResponse

from exporters.api import admin, problems, routes
from exporters.api.access import Access, Rates
from exporters.api.guard import Guard
from exporters.api.problems import MEDIA_TYPE, ProblemBody
from exporters.api.source import Source
from quotas.book.inbox import Inbox

TITLE = "cohortd"
ABOUT = (
    "Compute credits and GPU quota of a startup program. Send your token as "
    "`Authorization: Bearer cohortd_…`. Amounts are decimal strings of credits, instants are "
    "RFC 3339 in UTC. A refusal is a problem document (RFC 9457) whose `detail` says what to do."
)
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "content": {MEDIA_TYPE: {}}}
    for status in (400, 401, 403, 404, 422, 429, 503)
}
NOTE_EVERY_S = 30


def build_app(
    state: Path,
    inbox: Inbox,
    now_s: Callable[[], int],
    *,
    cycle_s: int = 30,
    rates: Rates | None = None,
) -> FastAPI:
    """The application over the book and the inbox of a state folder."""
    source = Source(state, inbox, now_s, cycle_s)
    access = Access(source, rates or Rates())

    @asynccontextmanager
    async def beside(_app: FastAPI) -> AsyncIterator[None]:
        notes = asyncio.create_task(_note_uses(access, inbox))
        try:
            yield
        finally:
            notes.cancel()
            with suppress(asyncio.CancelledError):
                await notes
            _write_uses(access, inbox)
            source.close()

    app = FastAPI(
        title=TITLE,
        description=ABOUT,
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=beside,
        responses=REFUSALS,
    )
    app.state.source, app.state.access, app.state.waiting = source, access, 0
    app.include_router(routes.router)
    app.include_router(admin.router)
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    app.add_middleware(Guard)
    problems.install(app)
    return app


async def healthz() -> Response:
    """That this process answers."""
    return PlainTextResponse("ok\n")


async def _note_uses(access: Access, inbox: Inbox) -> None:
    while True:
        await asyncio.sleep(NOTE_EVERY_S)
        _write_uses(access, inbox)


def _write_uses(access: Access, inbox: Inbox) -> None:
    uses, access.uses = access.uses, {}
    if uses:
        inbox.note_uses(uses)

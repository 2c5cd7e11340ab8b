"""The write routes of a startup: writes go to the inbox, and the next cycle decides them.

The id of a write is derived from its startup and its idempotency key, so a repeated write has the
same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt
from starlette.responses import JSONResponse

from exporters.api.access import Access, Viewer, ViewerDep, no_query
from exporters.api.models import Accepted, PageOf, StartupRequest, WriteAnswer
from exporters.api.problems import Problem
from exporters.api.read_model import ReadModel
from exporters.api.routers.startup import Paging, conditional_response, with_etag
from quotas.book.inbox import Inbox, InboxFull, InboxMessage, KeyReused, read_answers
from quotas.model.text import clean
from quotas.model.tokens import ACKNOWLEDGING_SCOPES, Token
from quotas.model.units import parse_credits, parse_duration

router = APIRouter(prefix="/v1", tags=["startup"])
NO_QUERY = [Depends(no_query)]
MAX_INTEGER = 2**31

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Required: 1 to 100 printable letters, a new one for each new write.",
        examples=["order-17"],
    ),
]
Number = Annotated[int, Path(ge=1, le=MAX_INTEGER)]
WriteId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


CleanText = Annotated[str, AfterValidator(clean)]


class NewRequest(BaseModel):
    """GPUs of a pool that you ask for, and for how long."""

    model_config = ConfigDict(extra="forbid")
    pool: str = Field(min_length=1, max_length=63, examples=["h100"])
    gpus: StrictInt = Field(ge=1, le=1_000_000, examples=[8])
    duration: str = Field(max_length=40, examples=["12h"], description="such as 90m, 12h or 7d")
    reason: CleanText = Field("", max_length=500, examples=["fine-tuning run 4"])
    refused_for: Literal["", "quota"] = Field(
        "", description="quota: Scaleway refused your start for the organization's quota"
    )

    def submitted(self) -> dict[str, Any]:
        """The request as the inbox keeps it, its duration in seconds. Raises Problem."""
        duration_s = _seconds("body.duration", self.duration)
        return {**self.model_dump(exclude={"duration"}), "duration_s": duration_s}


class NewSnooze(BaseModel):
    """How much later, and why."""

    model_config = ConfigDict(extra="forbid")
    duration: str = Field(alias="for", max_length=40, examples=["1h"], description="such as 1h")
    reason: CleanText = Field(min_length=1, max_length=500, examples=["the epoch ends at noon"])

    def for_s(self) -> int:
        """The time in seconds. Raises Problem."""
        return _seconds("body.for", self.duration)


class NewAdvance(BaseModel):
    """A part of your next tranche that you want to spend now."""

    model_config = ConfigDict(extra="forbid")
    grant: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        examples=["acme-1"],
        description="the grant; by default the one whose next tranche begins first",
    )
    amount: str | None = Field(
        default=None,
        max_length=40,
        examples=["2500"],
        description="credits; by default all that the program lets you take",
    )

    def amount_ucr(self) -> int | None:
        """The amount in micro-credits. Raises Problem."""
        if self.amount is None:
            return None
        try:
            amount_ucr = parse_credits(self.amount)
        except ValueError as error:
            raise Problem(422, "invalid", f"body.amount: {error}.") from None
        if amount_ucr <= 0:
            raise Problem(422, "invalid", "body.amount: it must be above zero.")
        return amount_ucr


class EmptyBody(BaseModel):
    """An empty object: the address says everything."""

    model_config = ConfigDict(extra="forbid")


def _seconds(field: str, text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Problem(422, "invalid", f"{field}: {error}.") from None
    if not 1 <= seconds <= MAX_INTEGER:
        raise Problem(422, "invalid", f"{field} is out of range: ask for 1s or more.")
    return seconds


@dataclass(frozen=True, slots=True)
class Submitter:
    """Submits the write of a request, whose token may write, under its idempotency key."""

    request: Request
    token: Token
    key: str | None

    async def submit(self, kind: str, body: dict[str, Any]) -> Response:
        """Put a write in the inbox, and answer where its result will be. Raises Problem."""
        key = self.key
        if key is None or not key.isascii() or not key.isprintable() or not 1 <= len(key) <= 100:
            detail = (
                "Send an Idempotency-Key header of 1 to 100 printable letters, new for each write."
            )
            raise Problem(400, "idempotency-key", detail)
        enqueued = await enqueue(self.request, self.token, key, kind, body)
        link = f"/v1/writes/{enqueued.id}"
        answer = Accepted.of(enqueued, submitted=enqueued.at_s, link=link)
        return JSONResponse(answer.model_dump(), 202, {"Location": link})


async def submitter(request: Request, key: IdempotencyKey = None) -> Submitter:
    """The dependency of every route that writes. The token must have the scope for it."""
    access: Access = request.app.state.access
    is_acknowledgement = request.scope["route"].name == "acknowledge"
    scopes = ACKNOWLEDGING_SCOPES if is_acknowledgement else ("request",)
    return Submitter(request, access.token(request, *scopes), key)


SubmitterDep = Annotated[Submitter, Depends(submitter)]
ACCEPTED: dict[str, Any] = {
    "status_code": 202, "response_model": Accepted, "dependencies": NO_QUERY
}  # fmt: skip


@router.get("/requests", response_model=PageOf[StartupRequest])
async def requests(
    request: Request, viewer: ViewerDep, paging: Annotated[Paging, Query()]
) -> Response:
    """Your requests and their states, newest first."""
    found = viewer.reads.requests(viewer.read_model.book(), paging.before, paging.limit)
    return conditional_response(request, with_etag(found))


@router.post("/requests", **ACCEPTED)
async def open_request(write: SubmitterDep, body: Annotated[NewRequest, Body()]) -> Response:
    """Ask for GPUs. The next cycle decides: follow `link`."""
    return await write.submit("request.open", body.submitted())


@router.delete("/requests/{number}", **ACCEPTED)
async def withdraw_request(write: SubmitterDep, number: Number) -> Response:
    """Withdraw a request. The next cycle decides: follow `link`."""
    return await write.submit("request.withdraw", {"request": number})


@router.post("/notices/{number}/acknowledge", **ACCEPTED)
async def acknowledge(
    write: SubmitterDep, number: Number, body: Annotated[EmptyBody | None, Body()] = None
) -> Response:
    """Acknowledge a notice. The next cycle records it: follow `link`."""
    return await write.submit("notice.acknowledge", {"notice": number})


@router.post("/notices/{number}/snooze", **ACCEPTED)
async def snooze(
    write: SubmitterDep, number: Number, body: Annotated[NewSnooze, Body()]
) -> Response:
    """Ask for a later deadline, within the policy's bounds. The next cycle decides."""
    submitted = {"notice": number, "for_s": body.for_s(), "reason": body.reason}
    return await write.submit("notice.snooze", submitted)


@router.post("/advance", **ACCEPTED)
async def advance(
    write: SubmitterDep, body: Annotated[NewAdvance | None, Body()] = None
) -> Response:
    """Take a part of your next tranche ahead, once for each. The next cycle decides."""
    body = body or NewAdvance()
    submitted = {"grant": body.grant, "amount_ucr": body.amount_ucr()}
    return await write.submit("credits.advance", submitted)


@router.get("/writes/{id}", response_model=WriteAnswer, dependencies=NO_QUERY)
async def write(request: Request, viewer: ViewerDep, id: WriteId) -> Response:
    """The result of a write: waiting, done or refused, with the reason."""
    return conditional_response(request, with_etag(write_result(request, viewer, id)))


def write_result(request: Request, viewer: Viewer, id: str) -> WriteAnswer:
    """A write of this startup and its answer. Raises Problem."""
    inbox: Inbox = request.app.state.inbox
    message = inbox.find(id, viewer.token.startup)
    if message is None:
        raise Problem(404, "no-such-write", "No write of yours has that id: 'link' names it.")
    answer = read_answers(viewer.read_model.book(), {id}).get(id)
    if answer is None:
        waits = {"text": "it waits for the next cycle", "decided": None, "reference": None}
        return WriteAnswer.of(message, submitted=message.at_s, state="waiting", **waits)
    return WriteAnswer.of(message, answer, submitted=message.at_s, decided=answer.at_s)


async def enqueue(
    request: Request, token: Token, key: str, kind: str, body: dict[str, Any]
) -> InboxMessage:
    """Put a write in the inbox, once for its key. Raises Problem and stores nothing if it fails."""
    read_model: ReadModel = request.app.state.read_model
    Viewer(token, await read_model.latest(), read_model).check_member()
    inbox: Inbox = request.app.state.inbox
    id = hashlib.sha256(f"{token.startup}\n{key}".encode()).hexdigest()[:32]
    message = InboxMessage(id, kind, token.startup, body, token.id, read_model.now_s())
    try:
        return await asyncio.to_thread(inbox.put, message, key)
    except KeyReused:
        detail = "This Idempotency-Key came with another write before: send a new key."
        raise Problem(422, "key-reused", detail) from None
    except InboxFull:
        detail = "Too many writes of yours wait for a decision: try again after the next cycle."
        raise Problem(429, "too-many-waiting", detail, {"Retry-After": "60"}) from None
    except sqlite3.Error:
        detail = "The write could not be kept: send it again, with the same key, in a minute."
        raise Problem(503, "inbox-unavailable", detail, {"Retry-After": "60"}) from None

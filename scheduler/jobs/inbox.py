"""The inbox job: performs the writes that startups sent to the API, and answers them.

The API process may be compromised, so its file is untrusted input. Each message is checked
from its shape to its token, performed through the book's own functions with the message's id
as key, and answered in the book. A crash in between repeats the action, and its key makes the
repetition harmless.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import structlog
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
)
from pydantic_core import from_json

from quotas.book import Book, BookError
from quotas.book.actions.advances import SelfAdvanceCommand, take_ahead
from quotas.book.actions.notices import acknowledge, snooze
from quotas.book.actions.requests import open_request, withdraw_request
from quotas.book.actions.tokens import list_tokens
from quotas.book.cycle.state import read_program
from quotas.book.inbox import InboxAnswer, InboxBusy, read_answers, waiting_messages, write_answer
from quotas.ledger.corrections import Refused
from quotas.model.text import clean
from quotas.model.tokens import ACKNOWLEDGING_SCOPES, Token
from quotas.model.units import LARGEST_UCR, format_instant
from quotas.state.requests import RequestSpec
from scheduler.jobs.worker import Worker

log = structlog.get_logger()
READ_EVERY_S = 1.0
MAX_READ, MAX_HANDLED = 1_000, 50
"""The most writes read, and performed, in one cycle. The rest waits for the next cycle."""

Text = Annotated[
    str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$"), AfterValidator(clean)
]
Count = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]
"""Values that a row of either database can hold: PostgreSQL's text has no NUL."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Envelope(_Shape):
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    kind: Text
    startup: Text
    body: Annotated[str, StringConstraints(max_length=16_384)]
    token: Text
    at_s: Annotated[StrictInt, Field(ge=0, le=2**40)]

    @property
    def actor(self) -> str:
        """The token that asks, as the book names it."""
        return f"token:{self.token}"

    @property
    def key(self) -> str:
        """The key that makes a repetition of the write harmless."""
        return f"inbox:{self.id}"


class _Body(_Shape, ABC):
    """The body of one kind of message. It performs what it asks for; one of `scopes` permits it."""

    scopes: ClassVar[tuple[str, ...]] = ("request",)

    @abstractmethod
    def perform(self, book: Book, write: _Envelope, now_s: int) -> tuple[str, int | None]:
        """Do it; returns the answer and the number of what was changed. Raises Refused."""


class _Open(_Body):
    pool: Text
    gpus: Count
    duration_s: Count
    reason: Text
    refused_for: Text = ""

    def perform(self, book: Book, write: _Envelope, now_s: int) -> tuple[str, int | None]:
        asked = (write.startup, self.pool, self.gpus, self.duration_s, self.reason)
        ask = RequestSpec(*asked, write.actor, now_s, write.key, self.refused_for)
        request = open_request(book, ask)
        return f"request {request.id} for {request.gpus} GPUs of {request.pool} is open", request.id


class _Withdraw(_Body):
    request: Count

    def perform(self, book: Book, write: _Envelope, now_s: int) -> tuple[str, int | None]:
        why = f"withdrawn by {write.actor}"
        withdraw_request(book, self.request, now_s, why, owner=write.startup)
        return f"request {self.request} is withdrawn", self.request


class _Acknowledge(_Body):
    scopes = ACKNOWLEDGING_SCOPES
    notice: Count

    def perform(self, book: Book, write: _Envelope, now_s: int) -> tuple[str, int | None]:
        acknowledge(book, self.notice, write.actor, now_s, owner=write.startup)
        return f"notice {self.notice} is acknowledged", self.notice


class _Snooze(_Body):
    notice: Count
    for_s: Count
    reason: Annotated[Text, StringConstraints(min_length=1)]

    def perform(self, book: Book, write: _Envelope, now_s: int) -> tuple[str, int | None]:
        asked = (self.notice, self.for_s, self.reason, write.actor, now_s)
        moved = snooze(book, *asked, owner=write.startup, key=write.key)
        return f"notice {self.notice} is due {format_instant(moved.deadline_s)}", self.notice


class _Advance(_Body):
    grant: Text | None = None
    amount_ucr: Annotated[StrictInt, Field(ge=-LARGEST_UCR, le=LARGEST_UCR)] | None = None

    def perform(self, book: Book, write: _Envelope, now_s: int) -> tuple[str, int | None]:
        order = SelfAdvanceCommand(write.startup, self.grant, self.amount_ucr)
        answer = take_ahead(book, order, write.actor, now_s, write.key)
        return str(answer["sentence"]), int(answer["number"])


KINDS: Mapping[str, type[_Body]] = {
    "request.open": _Open,
    "request.withdraw": _Withdraw,
    "notice.acknowledge": _Acknowledge,
    "notice.snooze": _Snooze,
    "credits.advance": _Advance,
}


class InboxReader:
    """Reads the waiting writes of a state folder's inbox, in a thread of its own."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._found: tuple[_Envelope, ...] = ()

    def __call__(self) -> None:
        """Read the inbox. Raises BookError if it is not as our API writes it."""
        try:
            rows = waiting_messages(self._state, MAX_READ)
        except InboxBusy:
            return  # the next look finds it at rest
        except BookError:
            self._found = ()
            raise
        self._found = tuple(each for each in map(_envelope, rows) if each is not None)

    def found(self) -> tuple[_Envelope, ...]:
        """The writes of the last look."""
        return self._found


def inbox_worker(reader: InboxReader) -> Worker:
    """The thread that reads the inbox: a file that hangs its reader delays no cycle."""
    return Worker("inbox", READ_EVERY_S, reader)


class InboxDrain:
    """Performs the waiting writes that a reader found. It opens no file itself."""

    def __init__(self, book: Book, reader: InboxReader) -> None:
        self._book, self._reader = book, reader

    def __call__(self, now_s: int) -> int:
        """Answer waiting writes, within bounds. Returns how many were answered."""
        found = self._reader.found()
        if not found:
            return 0
        known = read_answers(self._book, {each.id for each in found})
        tokens = {token.id: token for token in list_tokens(self._book)}
        with self._book.reading() as connection:
            _, program = read_program(connection)
        members = {each.name for each in program.startups()} if program else set()
        fresh = [each for each in found if each.id not in known][:MAX_HANDLED]
        for each in fresh:
            token = tokens.get(each.token) if each.startup in members else None
            answer = _answer(self._book, each, token, now_s)
            write_answer(self._book, answer)
            log.info("inbox.answered", id=answer.id, state=answer.state, text=answer.text)
        return len(fresh)


def _envelope(row: tuple[Any, ...]) -> _Envelope | None:
    try:
        return _Envelope.model_validate(dict(zip(_Envelope.model_fields, row, strict=True)))
    except ValidationError:
        return None  # our API did not write it, so nobody waits for an answer


def _answer(book: Book, write: _Envelope, token: Token | None, now_s: int) -> InboxAnswer:
    state, reference = "refused", None
    try:
        kind = KINDS.get(write.kind)
        if kind is None:
            raise Refused(f"{write.kind!r} is nothing that can be asked for")
        _check_token(write, kind.scopes, token, now_s)
        body = kind.model_validate(from_json(write.body))
        text, reference = body.perform(book, write, now_s)
        state = "done"
    except ValidationError as error:
        text = "; ".join(f"{_field_path(each)}: {each['msg']}" for each in error.errors()[:3])
    except (Refused, ValueError) as error:
        text = str(error)
    return InboxAnswer(write.id, write.startup, write.kind, now_s, state, text[:500], reference)


def _check_token(
    write: _Envelope, scopes: tuple[str, ...], token: Token | None, now_s: int
) -> None:
    """Raises Refused unless the token is the startup's, with a scope, in force and unrevoked."""
    if token is None or token.startup != write.startup or not set(scopes) & set(token.scopes):
        raise Refused(f"token {write.token} may not ask for {write.startup}")
    asked_s = min(max(write.at_s, token.created_s), now_s)
    if token.revoked_s is not None and token.revoked_s <= now_s:
        raise Refused(f"token {write.token} was revoked before this was decided")
    if token.state(asked_s) != "active":
        raise Refused(f"token {write.token} was {token.state(asked_s)} when this was asked")


def _field_path(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error["loc"]) or "body"

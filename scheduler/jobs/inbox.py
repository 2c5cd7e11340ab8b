"""The inbox job: performs what people asked through the API, and answers it in the book.

The API process may be compromised, so its file is untrusted input. Each message is checked
from its shape to its token, performed through the book's own functions with the message's id
as key, and answered in the book. A crash in between repeats the action, and its key makes the
repetition harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints, ValidationError
from pydantic_core import from_json

from quotas.book import Book, BookError
from quotas.book.actions.advances import SelfAdvanceCommand, take_ahead
from quotas.book.actions.notices import acknowledge, snooze
from quotas.book.actions.requests import open_request, withdraw_request
from quotas.book.actions.tokens import list_tokens
from quotas.book.inbox import InboxAnswer, read_answers, waiting_messages, write_answer
from quotas.ledger.corrections import Refused
from quotas.model.tokens import Token
from quotas.model.units import LARGEST_UCR, format_instant
from quotas.state.requests import RequestSpec

log = structlog.get_logger()
MAX_READ, MAX_HANDLED = 1_000, 50
"""The most writes read, and performed, in one cycle. The rest waits for the next cycle."""

Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Count = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]
"""Values that a row of either database can hold: PostgreSQL's text has no NUL."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(_Shape):
    pool: Text
    gpus: Count
    duration_s: Count
    reason: Text
    refused_for: Text = ""


class _Withdraw(_Shape):
    request: Count


class _Acknowledge(_Shape):
    notice: Count


class _Snooze(_Shape):
    notice: Count
    for_s: Count
    reason: Annotated[Text, StringConstraints(min_length=1)]


class _Advance(_Shape):
    grant: Text | None = None
    amount_ucr: Annotated[StrictInt, Field(ge=-LARGEST_UCR, le=LARGEST_UCR)] | None = None


class _Envelope(_Shape):
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    kind: Text
    startup: Text
    body: Annotated[str, StringConstraints(max_length=16_384)]
    token: Text
    at_s: Annotated[StrictInt, Field(ge=0, le=2**40)]


@dataclass(frozen=True, slots=True)
class _InboxWrite:
    """A write whose envelope and token were accepted."""

    id: str
    startup: str
    body: Any
    actor: str
    now_s: int


def _open(book: Book, write: _InboxWrite) -> tuple[str, int | None]:
    parsed = _Open.model_validate(write.body)
    ask = RequestSpec(
        write.startup,
        parsed.pool,
        parsed.gpus,
        parsed.duration_s,
        parsed.reason,
        write.actor,
        write.now_s,
        f"inbox:{write.id}",
        parsed.refused_for,
    )
    request = open_request(book, ask)
    return f"request {request.id} for {request.gpus} GPUs of {request.pool} is open", request.id


def _withdraw(book: Book, write: _InboxWrite) -> tuple[str, int | None]:
    number = _Withdraw.model_validate(write.body).request
    withdraw_request(book, number, write.now_s, f"withdrawn by {write.actor}", owner=write.startup)
    return f"request {number} is withdrawn", number


def _acknowledge(book: Book, write: _InboxWrite) -> tuple[str, int | None]:
    number = _Acknowledge.model_validate(write.body).notice
    acknowledge(book, number, write.actor, write.now_s, owner=write.startup)
    return f"notice {number} is acknowledged", number


def _snooze(book: Book, write: _InboxWrite) -> tuple[str, int | None]:
    parsed = _Snooze.model_validate(write.body)
    moved = snooze(
        book,
        parsed.notice,
        parsed.for_s,
        parsed.reason,
        write.actor,
        write.now_s,
        owner=write.startup,
        key=f"inbox:{write.id}",
    )
    return f"notice {parsed.notice} is due {format_instant(moved.deadline_s)}", parsed.notice


def _advance(book: Book, write: _InboxWrite) -> tuple[str, int | None]:
    parsed = _Advance.model_validate(write.body)
    order = SelfAdvanceCommand(write.startup, parsed.grant, parsed.amount_ucr)
    answer = take_ahead(book, order, write.actor, write.now_s, f"inbox:{write.id}")
    return str(answer["sentence"]), int(answer["number"])


KINDS: Mapping[str, Callable[[Book, _InboxWrite], tuple[str, int | None]]] = {
    "request.open": _open,
    "request.withdraw": _withdraw,
    "notice.acknowledge": _acknowledge,
    "notice.snooze": _snooze,
    "credits.advance": _advance,
}


class InboxDrain:
    """Performs the waiting writes of a state folder's inbox."""

    def __init__(self, book: Book, state: Path) -> None:
        self._book, self._state = book, state

    def __call__(self, now_s: int) -> int:
        """Answer waiting writes, within bounds. Returns how many were answered."""
        try:
            rows = waiting_messages(self._state, MAX_READ)
        except BookError as error:
            log.warning("inbox.unreadable", error=str(error))
            return 0
        found = [each for each in map(_envelope, rows) if each is not None]
        if not found:
            return 0
        known = read_answers(self._book, {each.id for each in found})
        tokens = {token.id: token for token in list_tokens(self._book)}
        fresh = [each for each in found if each.id not in known][:MAX_HANDLED]
        for each in fresh:
            answer = _answer(self._book, each, tokens.get(each.token), now_s)
            write_answer(self._book, answer)
            log.info("inbox.answered", id=answer.id, state=answer.state, text=answer.text)
        return len(fresh)


def _envelope(row: tuple[Any, ...]) -> _Envelope | None:
    try:
        return _Envelope.model_validate(dict(zip(_Envelope.model_fields, row, strict=True)))
    except ValidationError:
        return None  # our API did not write it, so nobody waits for an answer


def _answer(book: Book, parsed: _Envelope, token: Token | None, now_s: int) -> InboxAnswer:
    state, reference = "refused", None
    try:
        perform = KINDS.get(parsed.kind)
        if perform is None:
            raise Refused(f"{parsed.kind!r} is nothing that can be asked for")
        _check_token(parsed, token, now_s)
        body = from_json(parsed.body)
        write = _InboxWrite(parsed.id, parsed.startup, body, f"token:{parsed.token}", now_s)
        text, reference = perform(book, write)
        state = "done"
    except ValidationError as error:
        text = "; ".join(f"{_field_path(each)}: {each['msg']}" for each in error.errors()[:3])
    except (Refused, ValueError) as error:
        text = str(error)
    return InboxAnswer(parsed.id, parsed.startup, parsed.kind, now_s, state, text[:500], reference)


def _check_token(parsed: _Envelope, token: Token | None, now_s: int) -> None:
    """Raises Refused unless the token is the startup's, with the scope, in force and unrevoked."""
    if token is None or token.startup != parsed.startup or "request" not in token.scopes:
        raise Refused(f"token {parsed.token} may not ask for {parsed.startup}")
    asked_s = min(max(parsed.at_s, token.created_s), now_s)
    if token.revoked_s is not None and token.revoked_s <= now_s:
        raise Refused(f"token {parsed.token} was revoked before this was decided")
    if token.state(asked_s) != "active":
        raise Refused(f"token {parsed.token} was {token.state(asked_s)} when this was asked")


def _field_path(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error["loc"]) or "body"

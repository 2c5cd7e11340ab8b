"""Turns an HTTP reply of Scaleway into JSON or a typed error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime

from quotas.model.text import clean
from scheduler.clouds.base import (
    CloudError,
    Conflict,
    Forbidden,
    KeyRefused,
    Malformed,
    NotFound,
    OutOfStock,
    QuotaExceeded,
    RequestRejected,
    ServerFault,
    Throttled,
)

MAX_DETAIL_LENGTH = 240
"""Most characters of the cloud's own message in an error."""
JSON_ERRORS = (ValueError, ArithmeticError, RecursionError)
"""Errors of reading hostile JSON: bad syntax or text, absurd numbers, endless nesting."""

_BY_TYPE: Mapping[str, type[CloudError]] = {
    "denied_authentication": KeyRefused,
    "quotas_exceeded": QuotaExceeded,
    "out_of_stock": OutOfStock,
    "precondition_failed": Conflict,
    "transient_state": Conflict,
}
_BY_STATUS: Mapping[int, type[CloudError]] = {
    401: KeyRefused,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    429: Throttled,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful reply: its JSON with exact numbers, and the X-Total-Count header."""

    status: int
    body: object
    total_count: str | None


def read_reply(status: int, headers: Mapping[str, str], content: bytes) -> Reply | CloudError:
    """Read a reply by its status first, because an error may have any body or none."""
    if status >= 400:
        return _failure(status, content)
    if not 200 <= status < 300:
        return Malformed(f"HTTP {status}: a redirect, which is not followed")
    try:
        body = _loads(content)
    except JSON_ERRORS:
        return Malformed(f"HTTP {status}: the answer is not JSON")
    return Reply(status, body, headers.get("X-Total-Count"))


def _loads(content: bytes) -> object:
    """Read JSON with every fraction as an exact Decimal."""
    loaded: object = json.loads(content, parse_float=Decimal, parse_constant=Decimal)
    return loaded


def _failure(status: int, content: bytes) -> CloudError:
    """The typed error of a reply with status 400 or more."""
    kind, message = _type_and_message(content)
    words = " ".join(part for part in (f"HTTP {status}", kind, message) if part)
    if status == 403 and "quota exceeded" in message.lower():
        # Scaleway still sends the old form: 403 with the type invalid_request_error.
        return QuotaExceeded(words)
    by_status = ServerFault if status >= 500 else _BY_STATUS.get(status, RequestRejected)
    return _BY_TYPE.get(kind, by_status)(words)


def _type_and_message(content: bytes) -> tuple[str, str]:
    """Type and message of an error body; empty strings if the body has none."""
    with suppress(*JSON_ERRORS):
        if isinstance(body := _loads(content), dict):
            message = body.get("help_message") or body.get("message")
            return _printable(body.get("type")), _printable(message)
    return "", ""


def _printable(value: object) -> str:
    """The cloud's text on one line."""
    return clean(value) if isinstance(value, str) else ""


def redact(words: str, secrets: Iterable[str]) -> str:
    """Remove header values that a cloud echoes, in upper or lower case."""
    for secret in secrets:
        if len(secret) >= 32:
            words = re.sub(re.escape(secret), "[concealed]", words, flags=re.IGNORECASE)
    return words


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by Retry-After: a number, or a date relative to the reply's own Date."""
    asked = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", asked):
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
        now = parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None

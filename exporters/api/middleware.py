"""Limits and headers of every request, applied before routing.

Plain ASGI: a middleware that copies requests would cost more than the routes do.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporters.api.problems import Problem

MAX_BODY_BYTES = 16_384
MAX_QUERY_BYTES = 2_048
BODY_TIMEOUT_S = 10
RESPONSE_TIMEOUT_S = 45
"""Longer than the longest wait of /v1/events."""
SECURITY_HEADERS = [
    (b"cache-control", b"private, no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"vary", b"Authorization"),
    (b"x-content-type-options", b"nosniff"),
]
_SINGLE_HEADERS = frozenset(
    {b"authorization", b"idempotency-key", b"content-type", b"if-none-match"}
)


class RequestLimitsMiddleware:
    """Refuses requests that are too large, too slow or ambiguous, and adds the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False
        limited_body = _LimitedBody(receive)

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            if limited_body.problem is not None and not has_started:
                return  # a response to a truncated body must not be sent
            if message["type"] == "http.response.start":
                has_started = True
                present = {name for name, _ in message["headers"]}
                more = [pair for pair in SECURITY_HEADERS if pair[0] not in present]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        refusal = _refusal(scope)
        try:
            if refusal is None:
                async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                    await self._app(scope, limited_body, send_with_headers)
        except TimeoutError:
            refusal = Problem(503, "too-slow", "The answer took too long: try again in a minute.")
        if limited_body.problem is not None:
            refusal, limited_body.problem = limited_body.problem, None
        if refusal is not None and not has_started:
            await refusal.response()(scope, receive, send_with_headers)


def _refusal(scope: Scope) -> Problem | None:
    single = [name for name, _ in scope["headers"] if name in _SINGLE_HEADERS]
    if len(single) != len(set(single)):
        return Problem(400, "repeated-header", "A header came twice: send each one once.")
    if len(scope["query_string"]) > MAX_QUERY_BYTES:
        return Problem(414, "query-too-long", f"Keep the query below {MAX_QUERY_BYTES} bytes.")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MAX_BODY_BYTES):
            return _too_large()
    return None


def _too_large() -> Problem:
    return Problem(413, "body-too-large", f"Keep the body within {MAX_BODY_BYTES} bytes.")


class _LimitedBody:
    """The body as it arrives, up to the limits of size and time."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._bytes, self._is_whole = receive, 0, False
        self.problem: Problem | None = None

    async def __call__(self) -> Message:
        if self._is_whole:
            return await self._receive()  # waits for the client to leave
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                message = await self._receive()
        except TimeoutError:
            detail = f"The body did not arrive within {BODY_TIMEOUT_S} s: send it again."
            self.problem = Problem(408, "body-too-slow", detail)
            raise self.problem from None
        self._bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._bytes > MAX_BODY_BYTES:
            self.problem = _too_large()
            raise self.problem
        return message

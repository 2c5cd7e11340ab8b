"""What holds for every request, before any route is looked up? Sizes, times, headers.

Plain ASGI: a middleware that copies requests would cost more than the routes do.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporters.api.problems import Problem

MOST_BODY_BYTES = 16_384
MOST_QUERY_BYTES = 2_048
BODY_TIME_S = 10
ANSWER_TIME_S = 45
"""Longer than the longest wait that /v1/events grants."""
SECURITY_HEADERS = [
    (b"cache-control", b"private, no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"vary", b"Authorization"),
    (b"x-content-type-options", b"nosniff"),
]
_ONCE = frozenset({b"authorization", b"idempotency-key", b"content-type", b"if-none-match"})


class Guard:
    """Refuses what is too large, too slow or ambiguous, and marks every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False
        metered = _Metered(receive)

        async def marked(message: Message) -> None:
            nonlocal begun
            if metered.problem is not None and not begun:
                return  # what a route made of half a body is not the answer
            if message["type"] == "http.response.start":
                begun = True
                given = {name for name, _ in message["headers"]}
                more = [pair for pair in SECURITY_HEADERS if pair[0] not in given]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        refusal = _refusal(scope)
        try:
            if refusal is None:
                async with asyncio.timeout(ANSWER_TIME_S):
                    await self._app(scope, metered, marked)
        except TimeoutError:
            refusal = Problem(503, "too-slow", "The answer took too long: try again in a minute.")
        if metered.problem is not None:
            refusal, metered.problem = metered.problem, None
        if refusal is not None and not begun:
            await refusal.response()(scope, receive, marked)


def _refusal(scope: Scope) -> Problem | None:
    seen = [name for name, _ in scope["headers"] if name in _ONCE]
    if len(seen) != len(set(seen)):
        return Problem(400, "repeated-header", "A header came twice: send each one once.")
    if len(scope["query_string"]) > MOST_QUERY_BYTES:
        return Problem(414, "query-too-long", f"Keep the query below {MOST_QUERY_BYTES} bytes.")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MOST_BODY_BYTES):
            return _too_large()
    return None


def _too_large() -> Problem:
    return Problem(413, "body-too-large", f"Keep the body within {MOST_BODY_BYTES} bytes.")


class _Metered:
    """The body as it arrives, up to the limits of size and time."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._bytes, self._is_whole = receive, 0, False
        self.problem: Problem | None = None

    async def __call__(self) -> Message:
        if self._is_whole:
            return await self._receive()  # waits for the client to leave
        try:
            async with asyncio.timeout(BODY_TIME_S):
                message = await self._receive()
        except TimeoutError:
            detail = f"The body did not arrive within {BODY_TIME_S} s: send it again."
            self.problem = Problem(408, "body-too-slow", detail)
            raise self.problem from None
        self._bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._bytes > MOST_BODY_BYTES:
            self.problem = _too_large()
            raise self.problem
        return message

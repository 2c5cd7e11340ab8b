"""The HTTP server of the API: one uvicorn worker in this process."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 1_000
MAX_INCOMPLETE = 500
"""So many connections may be without a whole request; a new one closes the oldest of them."""
REQUEST_S = 15
"""How long a connection may take for a whole request, and an idle one stays open."""
SEND_MS = 30_000
"""How long a client may leave an answer unread. The kernel then drops the connection."""
GRACE_S = 5


class BoundedProtocol(H11Protocol):
    """A connection that must deliver a whole request, head and body, in time.

    uvicorn bounds connections and idle ones after an answer, but waits for ever for a request. A
    thousand connections with one byte each would use up its bound, and all others got 503.
    """

    incomplete_s: float | None = None
    """Since when the connection has owed a request; None while a request is answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP only
        """Begin to wait for a request, and close whoever has waited longest if too many do."""
        super().connection_made(transport)
        self._await_request()
        others: set[Any] = self.connections
        incomplete = [each for each in others if each.incomplete_s is not None]
        if len(incomplete) > MAX_INCOMPLETE:
            min(incomplete, key=lambda each: each.incomplete_s).give_up()

    def data_received(self, data: bytes) -> None:
        """Take what came. A byte now and then does not begin the wait again."""
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self.incomplete_s = None

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it came with the last."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._await_request()

    def _await_request(self) -> None:
        self.incomplete_s = since_s = self.loop.time()
        self.loop.call_later(REQUEST_S, self._close_if_incomplete, since_s)

    def _close_if_incomplete(self, since_s: float) -> None:
        if self.incomplete_s == since_s:
            self.give_up()

    def give_up(self) -> None:
        """Close the connection at once, without an answer."""
        self.incomplete_s = None  # it is counted until asyncio has closed it
        self.transport.abort()


def listener(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    made = socket.create_server((host, port), backlog=512)
    # asyncio does not set it on a socket that it did not create; each answer would wait 40 ms.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_MS)
    return made


def serve(app: ASGIApp, listening: socket.socket, ping: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT, finish the running requests, and return."""
    # uvicorn raises the signal again at its end, and that signal must not kill this process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    ping("READY=1")
    uvicorn.Server(_config(app)).run(sockets=[listening])
    ping("STOPPING=1")


@contextmanager
def serving(app: ASGIApp, listening: socket.socket) -> Iterator[None]:
    """Answer on a thread of its own until the block ends."""
    server = uvicorn.Server(_config(app))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(2 * GRACE_S)


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )

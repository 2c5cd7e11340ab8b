"""The HTTP server of the API: one uvicorn worker in this process."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

MAX_CONNECTIONS = 1_000
GRACE_S = 5


def listener(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    made = socket.create_server((host, port), backlog=512)
    # asyncio does not set it on a socket that it did not create; each answer would wait 40 ms.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )

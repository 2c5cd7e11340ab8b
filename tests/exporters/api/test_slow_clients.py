"""Clients that send one byte, half a request or nothing do not keep others from their answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from exporters.api import server
from exporters.api.server import listener, serving

HEADS = {
    "nothing": b"",
    "one byte": b"G",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    "no body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1",
}
GOOD = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def echo(request: Request) -> PlainTextResponse:
    """The body of a request."""
    return PlainTextResponse(f"took {len(await request.body())}")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with room for 60 connections, 40 of them without a whole request."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 60)
    monkeypatch.setattr(server, "MAX_INCOMPLETE", 40)
    listening = listener("127.0.0.1", 0)
    with serving(Starlette(routes=[Route("/", echo, methods=["GET", "POST"])]), listening):
        yield listening.getsockname()[1]


def connect(port: int, text: bytes) -> socket.socket:
    """A connection that has sent something."""
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(text)
    return made


def answer(made: socket.socket) -> bytes:
    """All that a connection still sends; empty if it was cut."""
    found = b""
    try:
        while part := made.recv(4096):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("sent", HEADS)
def test_many_that_send_no_whole_request_take_no_place(port: int, sent: str) -> None:
    """Twice as many as there is room for: a whole request is answered at once."""
    with ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(connect(port, HEADS[sent]))
        time.sleep(0.3)
        started = time.monotonic()
        with connect(port, GOOD) as good:
            assert answer(good).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("sent", HEADS)
def test_a_request_that_does_not_arrive_in_time_is_cut(
    port: int, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed after the deadline, also if a byte comes now and then."""
    monkeypatch.setattr(server, "REQUEST_S", 1)
    with connect(port, HEADS[sent]) as slow:
        started = time.monotonic()
        slow.settimeout(0.2)
        while time.monotonic() - started < 5:
            try:
                slow.sendall(b"a" if sent in ("half a head", "no body") else b"")
                if slow.recv(10) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - started < 3


def test_a_good_connection_is_kept_between_requests(port: int) -> None:
    """Requests one after the other on one connection, whole or in parts, are all answered."""
    with connect(port, b"") as made:
        for _ in range(3):
            for part in (b"POST / HTTP/1.1\r\nHo", b"st: x\r\nContent-Length: 4\r\n\r\nab", b"cd"):
                made.sendall(part)
                time.sleep(0.05)
            assert b"took 4" in made.recv(4096)

"""Benchmark of the API: requests a second of `GET /v1/credits` and of a constant route.

One worker each, over real sockets: `cohortd serve` with authentication, rate limits and ETag on a
book of 10,000 startups, and a FastAPI application whose route returns a constant.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI

from quotas.book import Address, Book
from quotas.book.cycle.commit import apply_program
from quotas.book.schema.tables import TOKEN
from quotas.book.view_file import publish
from quotas.model.program import Cohort, Grant, Pool, Program, Startup, Tenure
from quotas.model.tokens import fingerprint, write_token

STARTUPS = 10_000
BEARERS = 200
"""Enough tokens that take turns, so that none reaches its limit of 600 a minute."""
CONNECTIONS = 8
REQUESTS = 4_000
ROUNDS = 5
DAY_S = 86_400


def fill(state: Path) -> list[str]:
    """A book of many startups; the tokens of some of them."""
    now_s = int(time.time())
    term = (now_s - DAY_S, now_s + 100 * DAY_S)
    startups = tuple(
        Startup(
            f"startup-{number}",
            "c",
            (Tenure(f"project-{number}", 0),),
            grants=(Grant("g", 10**9, *term),),
        )
        for number in range(STARTUPS)
    )
    pool = Pool("h100", ((0, 40),), flavors=("H100-1-80G@fr-par-2",))
    cohort = Cohort("c", *term, startups)
    book = Book.open(state)
    apply_program(book, Program("bench", 10**16, pools=(pool,), cohorts=(cohort,)), now_s, "bench")
    texts = [write_token(number.to_bytes(32)) for number in range(BEARERS)]
    rows = [
        {
            "id": f"tok-{number}",
            "hash": fingerprint(text),
            "name": "bench",
            "startup": f"startup-{number}",
            "scopes": "read",
            "created_s": now_s,
            "expires_s": now_s + DAY_S,
            "actor": "bench",
        }
        for number, text in enumerate(texts)
    ]
    with book.writing() as connection:
        connection.execute(TOKEN.insert(), rows)
    publish(book, Address(state).view, 0)
    book.close()
    return texts


def serve_constant(port: int) -> None:
    """The baseline: the cost of FastAPI and uvicorn alone."""
    app = FastAPI()

    @app.get("/v1/credits")
    async def constant() -> dict[str, str]:
        return {"available": "41.20"}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error")


@contextmanager
def server(command: list[str], port: int) -> Iterator[None]:
    """A server in a process of its own that already answers."""
    child = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert child.poll() is None, f"{command} ended"
                time.sleep(0.05)
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(10)


def free_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def rate(port: int, tokens: list[str]) -> float:
    """Answers a second over a few connections, each of which waits for its answer."""
    links = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    requests = [
        f"GET /v1/credits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        for token in tokens
    ]
    began = time.perf_counter()
    for number in range(0, REQUESTS, CONNECTIONS):
        for at, link in enumerate(links):
            link.sendall(requests[(number + at) % len(requests)])
        for link in links:
            take(link)
    seconds = time.perf_counter() - began
    for link in links:
        link.close()
    return REQUESTS / seconds


def take(link: socket.socket) -> None:
    """Read one whole answer, which must be good."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += link.recv(65_536)
    head, _, body = text.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), text
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += link.recv(65_536)


def main() -> None:
    """Print the table: the best of some rounds of each, in turns."""
    cohortd = "from scheduler.cli import main; main()"
    with TemporaryDirectory() as folder:
        tokens = fill(Path(folder))
        ours, theirs = free_port(), free_port()
        at = ["serve", "--state", folder, "--listen", f"127.0.0.1:{ours}"]
        constant = f"from bench.api import serve_constant; serve_constant({theirs})"
        os.environ.pop("NOTIFY_SOCKET", None)
        with server(["-c", constant], theirs), server(["-c", cohortd, *at], ours):
            rate(ours, tokens)  # the book is read, the pages are built
            pairs = [(rate(theirs, tokens), rate(ours, tokens)) for _ in range(ROUNDS)]
    base, own = (max(column) for column in zip(*pairs, strict=True))
    print(f"{'':20} {'requests/s':>11} {'ratio':>7}")
    print(f"{'a constant':20} {base:>11.0f} {1:>7.2f}")
    print(f"{'GET /v1/credits':20} {own:>11.0f} {own / base:>7.2f}")


if __name__ == "__main__":
    main()

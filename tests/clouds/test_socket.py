"""The same behaviour over a real socket: timeouts, pooling, redirects, threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from quotas.model.observation import Cause, Complete, Unknown
from scheduler.clouds.base import Malformed, Throttled, Unreachable
from scheduler.clouds.transport import Limits

from .recordings import paths, read
from .scripted_http import ZONE, Clock, Reply, connect, listing, server_id, server_json

Handling = Callable[[BaseHTTPRequestHandler], Reply]
IMPATIENT = Limits(connect_s=0.3, read_s=0.1, attempts=2)


class Far(ThreadingHTTPServer):
    """A server in this process that answers from a function, and counts connections."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, handling: Handling) -> None:
        """Listen on a free port of the loopback."""
        self.handling = handling
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 0.3

    def setup(self) -> None:
        """Count the connection."""
        assert isinstance(self.server, Far)
        self.server.connections += 1
        super().setup()

    def answer(self) -> None:
        """Drain the request and send the scripted reply."""
        far = self.server
        assert isinstance(far, Far)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        far.asked.append((self.path, dict(self.headers)))
        reply = far.handling(self)
        self.send_response(reply.status)
        headers = {"Content-Length": str(len(reply.content)), **reply.headers}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(reply.content)

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@contextmanager
def far_end(handling: Handling | Reply) -> Iterator[Far]:
    """A listening server, whose threads have all ended when the block ends."""
    fixed = handling
    far = Far((lambda request: fixed) if isinstance(fixed, Reply) else fixed)
    thread = threading.Thread(target=far.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield far
    finally:
        far.shutdown()
        thread.join()
        far.server_close()


@pytest.mark.parametrize("path", paths("instance/servers_list")[:3], ids=lambda path: path.stem)
def test_recording_over_a_socket(path: Any) -> None:
    """A recorded listing served by a real server is Complete."""
    recording = read(path)
    assert isinstance(recording.body, dict)
    servers = recording.body["servers"]
    with far_end(recording.reply()) as far:
        cloud = connect(far.url, organization=servers[0]["organization"], clock=Clock())
        sweep = cloud.sweep(recording.zone, 7)
    assert isinstance(sweep, Complete) and len(sweep.servers) == len(servers)


def test_connection_is_kept() -> None:
    """Calls of one thread share a connection."""
    with far_end(listing([])) as far:
        cloud = connect(far.url, clock=Clock())
        for _ in range(5):
            assert isinstance(cloud.sweep(ZONE, 7), Complete)
        assert far.connections == 1 and len(far.asked) == 5


def test_zones_are_swept_in_parallel() -> None:
    """Threads share one cloud: each has its own connection, and each answer is its own."""
    zones = [f"fr-par-{n}" for n in range(8)]

    def handle(request: BaseHTTPRequestHandler) -> Reply:
        zone = request.path.split("/")[4]
        return listing([server_json(int(zone[-1]), zone=zone)])

    with far_end(handle) as far:
        cloud = connect(far.url, clock=Clock())
        with ThreadPoolExecutor(4) as pool:
            sweeps = list(pool.map(lambda zone: cloud.sweep(zone, 7), zones * 5))
        assert far.connections <= 4
    for zone, sweep in zip(zones * 5, sweeps, strict=True):
        assert isinstance(sweep, Complete) and sweep.zone == zone
        assert [server.id for server in sweep.servers] == [server_id(int(zone[-1]))]


def test_hang_is_unreachable() -> None:
    """A server that accepts and never answers ends in the read timeout, twice tried."""
    over = threading.Event()

    def hang(request: BaseHTTPRequestHandler) -> Reply:
        request.close_connection = True
        over.wait(10)
        return Reply()

    with far_end(hang) as far:
        clock = Clock()
        cloud = connect(far.url, clock=clock, limits=IMPATIENT)
        sweep = cloud.sweep(ZONE, 7)
        over.set()
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.UNREACHABLE
    assert "in time" in sweep.detail and clock.slept == [0.5]


def test_hang_inside_the_body_is_unreachable() -> None:
    """A server that stops in the middle of its answer ends in the read timeout."""
    over = threading.Event()

    def stall(request: BaseHTTPRequestHandler) -> Reply:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"{")
        request.wfile.flush()
        request.close_connection = True
        over.wait(10)
        return Reply()

    with far_end(stall) as far:
        with pytest.raises(Unreachable, match="in time"):
            connect(far.url, clock=Clock(), limits=IMPATIENT).server(ZONE, server_id(1))
        over.set()


def test_body_cut_short_is_unreachable() -> None:
    """A connection closed before Content-Length bytes is a broken transport, not an answer."""

    def cut(request: BaseHTTPRequestHandler) -> Reply:
        request.close_connection = True
        return Reply(200, b'{"servers": []}', {"Content-Length": "99", "X-Total-Count": "0"})

    with far_end(cut) as far:
        sweep = connect(far.url, clock=Clock()).sweep(ZONE, 7)
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.UNREACHABLE


def test_chunked_body_is_read_whole() -> None:
    """An answer in chunks is the same answer."""
    content = listing([server_json()]).content
    chunks = b"".join(
        f"{len(part):x}\r\n".encode() + part + b"\r\n"
        for part in (content[:10], content[10:200], content[200:])
    )

    def handle(request: BaseHTTPRequestHandler) -> Reply:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.send_header("X-Total-Count", "1")
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(chunks + b"0\r\n\r\n")
        request.close_connection = True
        return Reply(content=b"")

    with far_end(handle) as far:
        assert isinstance(connect(far.url, clock=Clock()).sweep(ZONE, 7), Complete)


def test_nobody_listens() -> None:
    """A refused connection is Unreachable."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match="connection failed"):
            connect(url, clock=Clock()).server(ZONE, server_id(1))


def test_redirect_takes_the_key_nowhere() -> None:
    """A redirect to another server is not followed, and that server receives no request."""
    with far_end(listing([])) as other:
        there = Reply(307, b"", {"Location": f"{other.url}/stolen"})
        with far_end(there) as far:
            with pytest.raises(Malformed):
                connect(far.url, clock=Clock()).server(ZONE, server_id(1))
            assert len(far.asked) == 1
        assert other.asked == []


def test_environment_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Proxies and a netrc of the environment do not see or change our requests."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    with far_end(Reply(502)) as proxy, far_end(listing([])) as far:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        assert isinstance(connect(far.url, clock=Clock()).sweep(ZONE, 7), Complete)
        assert proxy.asked == [] and "Authorization" not in far.asked[0][1]


def test_empty_429_over_a_socket() -> None:
    """Scaleway's empty 429 is Throttled over a real connection, too."""
    with far_end(Reply(429, b"", {"X-Envoy-Ratelimited": "true"})) as far:
        with pytest.raises(Throttled):
            connect(far.url, clock=Clock()).server(ZONE, server_id(1))
        assert len(far.asked) == 4


def test_path_prefix_in_the_url_is_kept() -> None:
    """An API behind a path prefix is reached under it; a trailing slash does no harm."""
    with far_end(listing([])) as far:
        connect(f"{far.url}/scw/", clock=Clock()).sweep(ZONE, 7)
        assert far.asked[0][0].startswith(f"/scw/instance/v1/zones/{ZONE}/servers?")

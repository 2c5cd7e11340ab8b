"""The HTTP server of /metrics, /healthz and /readyz, on a thread of its own."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST

from exporters.metrics.daemon import Metrics

UNKNOWN_HOST = b"unknown Host: use an address, localhost or this machine's name\n"


class MetricsServer:
    """A small HTTP server on its own thread. It reads no table and accepts no write."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        hosts = frozenset({host.lower(), "localhost", socket.gethostname().lower()})
        handler = type("Handler", (_Handler,), {"metrics": metrics, "hosts": hosts})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """The host:port it listens on; port 0 picks a free port."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    metrics: Metrics
    hosts: frozenset[str]
    timeout = 10

    def do_GET(self) -> None:
        """Answer one of three paths."""
        if not self._is_host_known():
            self._answer(421, UNKNOWN_HOST, "text/plain")
        elif self.path == "/metrics":
            self._answer(200, self.metrics.render(), CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        elif self.path == "/readyz":
            status, body = (200, b"ready\n") if self.metrics.is_ready else (503, b"no cycle yet\n")
            self._answer(status, body, "text/plain")
        else:
            self._answer(404, b"try /metrics, /healthz or /readyz\n", "text/plain")

    def _is_host_known(self) -> bool:
        """Whether the request names this server by an address or by a name that it has.

        A page that a browser loaded from elsewhere can point its own name at this server.
        """
        try:
            name = (urlsplit(f"//{self.headers.get('Host', '')}").hostname or "").rstrip(".")
        except ValueError:
            return False
        try:
            return ip_address(name) is not None
        except ValueError:
            return name in self.hosts

    def log_message(self, format: str, *args: object) -> None:
        """Log no scrape."""

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
